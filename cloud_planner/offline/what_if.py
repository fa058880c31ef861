"""``circinus what-if --offline`` and ``circinus plan --offline --diff``: two selections from files, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from circinus.model.pipeline import OperatorId
from circinus.model.plan_diff import PlanDiff
from circinus.model.query import QueryId
from circinus.model.what_if import WhatIf
from cloud_planner.core.diff import diff
from cloud_planner.core.what_if import change_problem
from cloud_planner.core.what_if_devices import Kin
from cloud_planner.offline.assemble import assemble
from cloud_planner.offline.audited import earlier_selection
from cloud_planner.offline.case import Case
from cloud_planner.offline.folder import read_folder
from cloud_planner.offline.selected import selected


def what_if(folder: Path, changes: Sequence[WhatIf]) -> tuple[tuple[str, ...], PlanDiff]:
    """What was changed, and the selections before and after; nothing is written.

    Raises:
        InvalidInput: the files are wrong, or a change names what is not there.
    """
    case = read_folder(folder)
    problem = assemble(case).problem
    changed = change_problem(problem, changes, kin_of(case))
    return changed.told, diff(selected(problem).selection, selected(changed.problem).selection)


def against(folder: Path, file: Path) -> PlanDiff:
    """What changes from an earlier answer or record to what the files say now.

    Raises:
        InvalidInput: the files are wrong.
    """
    assembly = assemble(read_folder(folder, apart_from=file))
    return diff(earlier_selection(file, assembly), selected(assembly.problem).selection)


def kin_of(case: Case) -> Kin:
    """What files say of machines and operators beyond the problem."""
    return Kin(
        classes={entry.machine.id: entry.device_class for entry in case.machines}, pinned=frozenset(_pinned(case))
    )


def _pinned(case: Case) -> Iterator[tuple[QueryId, OperatorId]]:
    """Operators that a new machine may not run: those for which machines are named one by one."""
    shared = {entry.device_class for entry in case.machines if entry.device_class != entry.machine.id}
    for query in case.queries:
        for operator in case.pipelines[query.pipeline].operators:
            named = operator.allowed_machines
            if operator.pinned or (named and not shared.intersection(named)):
                yield query.id, operator.id
