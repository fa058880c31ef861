"""``circinus explain --offline FOLDER [QUERY]``: plans what files say, and tells why it came out so."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from circinus.cli.explain_table import explanation_text, fleet_text
from circinus.errors import InvalidInput
from circinus.model.query import QueryId
from cloud_planner.offline.answer import Json, to_json, to_yaml
from cloud_planner.offline.assemble import Assembly, assemble
from cloud_planner.offline.ending import OK, UNPLACED, guarded
from cloud_planner.offline.fields import suggestion
from cloud_planner.offline.folder import read_folder
from cloud_planner.offline.selected import selected

#: Queries without a plan whose conflict is told of a whole fleet.
_MOST_CONFLICTS = 50


def explain_offline(
    folder: Path, query: str | None = None, *, output: str = "table", error_document: bool = False
) -> int:
    """Explains one query of the plan for a folder, or with no query what binds in the fleet.

    Args:
        folder: where the files are; see docs/offline.md.
        query: the query's id.
        output: json, yaml or table.
        error_document: what goes wrong is also written to standard output, as one JSON document.

    Returns:
        0; 3 if the query (or, of the fleet, any query) has no plan; 2 if the files are wrong (everything that is, on
        standard error) or there is no such query; 1 if planning failed.
    """
    return guarded(lambda: _explain(folder, query, output), output, error_document=error_document)


def _explain(folder: Path, query: str | None, output: str) -> int:
    assembly = assemble(read_folder(folder))
    known = [entry.id for entry in assembly.problem.queries]
    if query is None:
        return _fleet(assembly, output)
    if query not in known:
        raise InvalidInput(f"{folder}: there is no query {query!r}{suggestion(query, known)}")
    return _query(assembly, QueryId(query), output)


def _query(assembly: Assembly, query: QueryId, output: str) -> int:
    # Solver and numerics take a while to import: bad files are told without them.
    from cloud_planner.core.explain import explain
    from cloud_planner.offline.explained import explanation_document
    from cloud_planner.solver import ThoroughSolver
    from cloud_planner.solver_process import warm_solver

    selection = selected(assembly.problem).selection
    found = explain(assembly.problem, selection, query, warm_solver(ThoroughSolver))
    _write(output, explanation_document(found, has_accuracy=assembly.has_accuracy[query]), explanation_text)
    return OK if found.plan is not None else UNPLACED


def _fleet(assembly: Assembly, output: str) -> int:
    from cloud_planner.core.explain import explain
    from cloud_planner.core.select.prices import fleet_values
    from cloud_planner.offline.explained import fleet_document
    from cloud_planner.solver import ThoroughSolver
    from cloud_planner.solver_pool import warm_pool
    from cloud_planner.solver_process import warm_solver

    problem, solver = assembly.problem, warm_solver(ThoroughSolver)
    selection = selected(problem).selection
    told = [explain(problem, selection, each.query_id, solver) for each in selection.unplaced[:_MOST_CONFLICTS]]
    values = fleet_values(problem, warm_pool().masters)
    _write(output, fleet_document(problem, selection, told, values), fleet_text)
    return UNPLACED if selection.unplaced else OK


def _write(output: str, document: dict[str, Json], text: Callable[[dict[str, Json]], str]) -> None:
    write = {"json": to_json, "yaml": to_yaml, "table": text}[output]
    sys.stdout.write(write(document))
    sys.stdout.flush()
