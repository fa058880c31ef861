"""``circinus plan --offline FOLDER``: files in, selection out.

Standard output has the selection and nothing else, the same bytes each time; times and what the solver did go
to standard error or the report file. Work is limited by what is done, never by the clock.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Sequence
from enum import Enum
from importlib.resources import files
from pathlib import Path
from typing import Any, TextIO

from circinus.model.plan import Selection
from circinus.model.query import QueryId
from cloud_planner.offline.answer import document, number, to_json, to_yaml
from cloud_planner.offline.assemble import Assembly, assemble
from cloud_planner.offline.ending import OK, OUTPUTS, UNPLACED, guarded
from cloud_planner.offline.folder import read_folder
from cloud_planner.offline.plan_text import plan_text
from cloud_planner.offline.selected import selected
from cloud_planner.record import Record, dump_record

#: Plans of which it is told what was not chosen, and queries with which that is told.
_EXPLAINED = 3
_MOST_QUERIES = 100


def run(
    folder: Path,
    *,
    report: Path | None = None,
    output: str = "json",
    error_document: bool = False,
    record: Path | None = None,
) -> int:
    """Plans what the files in ``folder`` say and prints the selection.

    Args:
        folder: where the files are; see docs/offline.md.
        report: where the report goes; None: to standard error.
        output: json, yaml or table.
        error_document: what goes wrong is also written to standard output, as one JSON document.
        record: where problem and selection go as one document; see docs/run.md.

    Returns:
        0 if every query is placed, 3 if any is not, 2 if the files are wrong (everything that is, on standard
        error), 1 if planning failed.
    """
    return guarded(lambda: _plan(folder, report, output, record), output, error_document=error_document)


def _plan(folder: Path, report: Path | None, output: str, record: Path | None) -> int:
    start_s = time.perf_counter()
    assembly = assemble(read_folder(folder))
    loaded_s = time.perf_counter()
    result = selected(assembly.problem)
    selected_s = time.perf_counter()
    answer = document(result.selection, assembly)
    formats: dict[str, Callable[[], str]] = {
        "json": lambda: to_json(answer),
        "yaml": lambda: to_yaml(answer),
        "table": lambda: plan_text(result.selection, assembly, _explained(assembly, result.selection)),
    }
    sys.stdout.write(formats[output]())
    sys.stdout.flush()
    if record is not None:
        made = Record(problem=assembly.problem, selection=result.selection)
        record.write_text(dump_record(made), encoding="utf-8")
    facts = _facts(assembly, result.report, loaded_s - start_s, selected_s - loaded_s)
    if report is None:
        _write_report(facts, sys.stderr)
    else:
        with report.open("w", encoding="utf-8") as file:
            _write_report(facts, file)
    return UNPLACED if result.selection.unplaced else OK


def _explained(assembly: Assembly, selection: Selection) -> dict[QueryId, dict[str, Any]]:
    """Of the first few plans what was not chosen, and why; of many queries nothing: each takes the whole problem."""
    from cloud_planner.core.explain import explain
    from cloud_planner.offline.explained import explanation_document
    from cloud_planner.solver import ThoroughSolver
    from cloud_planner.solver_process import warm_solver

    if len(assembly.problem.queries) > _MOST_QUERIES:
        return {}
    first = sorted(plan.query_id for plan in selection.plans)[:_EXPLAINED]
    solver = warm_solver(ThoroughSolver)
    return {
        name: explanation_document(
            explain(assembly.problem, selection, name, solver), has_accuracy=assembly.has_accuracy[name]
        )
        for name in first
    }


def _facts(assembly: Assembly, report: object, load_s: float, plan_s: float) -> dict[str, Any]:
    problem = assembly.problem
    return {
        "load_s": round(load_s, 3),
        "plan_s": round(plan_s, 3),
        "machines": len(problem.machines),
        "links": len(problem.wires),
        "queries": len(problem.queries),
        "candidates": assembly.candidates,
        "unused_service_rows": len(assembly.unused_rows),
        "unused_service_row_places": list(assembly.unused_rows[:20]),
        "select": _plain(report),
    }


def _plain(value: object) -> Any:
    """A report value as JSON can hold it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(entry) for entry in value]
    if isinstance(value, float):
        return number(value)
    return value if isinstance(value, int | str) or value is None else str(value)


def _write_report(facts: dict[str, Any], file: TextIO) -> None:
    json.dump(facts, file, indent=2, sort_keys=True, ensure_ascii=False)
    file.write("\n")


def schema(name: str) -> str:
    """The JSON schema of the files (``problem``) or of the answer (``selection``)."""
    return (files("cloud_planner.offline") / "schema" / f"{name}.schema.json").read_text(encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """``python -m cloud_planner.offline``."""
    parser = argparse.ArgumentParser(prog="python -m cloud_planner.offline", description="Plans from files.")
    parser.add_argument("folder", nargs="?", type=Path, help="folder with the files; see docs/offline.md")
    parser.add_argument("--report", type=Path, help="file for the report; standard error without it")
    parser.add_argument("-o", "--output", choices=OUTPUTS, help="json, if not given")
    parser.add_argument("--schema", choices=("problem", "selection"), help="print a JSON schema and stop")
    given = parser.parse_args(arguments)
    if given.schema is not None:
        sys.stdout.write(schema(given.schema))
        return OK
    if given.folder is None:
        parser.error("name a folder")
    return run(given.folder, report=given.report, output=given.output or "json", error_document=given.output == "json")


__all__ = ["OK", "OUTPUTS", "UNPLACED", "main", "run", "schema"]
