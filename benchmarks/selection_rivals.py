"""What column generation is compared with: one naive programme over all columns, and a greedy selection.

The naive programme has a column for each plan of each query. It maximises goodput; where it gets done before its time
is over, it then minimises cost at no less goodput. Its building is not counted.
"""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path

import mip
import numpy as np
from scipy.sparse import csr_array
from selection_curves import Point

from cloud_planner.core.column_generation.space import NONE, Array, Indices, SelectionSpace
from cloud_planner.solver import silent

CBC, HIGHS = "naive programme, CBC", "naive programme, HiGHS"
GREEDY = "greedy"
_SOLVER = {CBC: mip.CBC, HIGHS: mip.HIGHS}
_SEED = 1
_ENORMOUS = 1e15
#: A line of HiGHS's search: bound, best, gap, cuts, rows, conflicts, iterations, time.
_HIGHS_LINE = re.compile(r"\s(\S+)\s+(\S+)\s+(?:\S+%|inf|Large)\s+\d+\s+\d+\s+\d+\s+\d+\s+(\d+\.\d+)s\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A selection, how it came about, how long all took and how long the building before it; what went wrong."""

    choice: Indices
    points: tuple[Point, ...]
    elapsed_s: float
    building_s: float = 0.0
    notes: tuple[str, ...] = ()


# Greedy


def greedy(space: SelectionSpace) -> Found:
    """Most worth for the scarcest share first; each takes the plan whose scarcest share is least, of those that fit."""
    began_s = time.perf_counter()
    capacity = np.append(space.capacity, inf)
    ranked: list[Indices] = [np.zeros(0, dtype=np.intp)] * space.members
    density = np.zeros(space.members)
    for kind, members, slots in space.groups():
        for member, rows in zip(members.tolist(), slots, strict=True):
            share = (kind.use / capacity[rows]).max(axis=1)
            order = np.argsort(share, kind="stable")
            ranked[member] = order
            density[member] = space.worth[member] / max(float(share[order[0]]), 1e-12)
    left = capacity.copy()
    choice = np.full(space.members, NONE, dtype=np.intp)
    for member in np.argsort(-density, kind="stable").tolist():
        kind = space.kinds[space.kind[member]]
        rows = space.slots[member, : kind.use.shape[1]]
        fits = (kind.use[ranked[member]] <= left[rows]).all(axis=1)
        if fits.any():
            plan = int(ranked[member][int(fits.argmax())])
            choice[member] = plan
            left[rows] -= kind.use[plan]
    elapsed_s = time.perf_counter() - began_s
    point = Point(elapsed_s=elapsed_s, goodput_per_s=space.goodput_per_s(choice), cost_per_h=space.cost_per_h(choice))
    return Found(choice=choice, points=(point,), elapsed_s=elapsed_s)


# The naive programme


def naive(space: SelectionSpace, method: str, seconds: float, threads: int) -> Found:
    """All columns at once, with as many threads as ours has processes."""
    began_s = time.perf_counter()
    built = _Naive(space, method, threads)
    building_s = time.perf_counter() - began_s
    with silent():
        return built.run(seconds, building_s)


class _Naive:
    def __init__(self, space: SelectionSpace, method: str, threads: int) -> None:
        self.space, self.method = space, method
        counts = np.array([len(kind.cost_per_h) for kind in space.kinds])[space.kind]
        self.members = np.repeat(np.arange(space.members), counts)
        starts = np.cumsum(counts) - counts
        self.plans = np.arange(len(self.members)) - np.repeat(starts, counts)
        self.model = model = mip.Model(sense=mip.MAXIMIZE, solver_name=_SOLVER[method])
        model.verbose, model.threads, model.seed = 0, threads, _SEED
        # CBC's integer preprocessing calls optimal what is not.
        model.preprocess = 0
        model.max_mip_gap = 1e-6
        self.costs = space.costs(self.members, self.plans)
        worth = space.worth[self.members].tolist()
        made = [model.add_var(obj=one, var_type=mip.BINARY) for one in worth]
        for start, count in zip(starts.tolist(), counts.tolist(), strict=True):
            model.add_constr(mip.LinExpr(made[start : start + count], [1.0] * count, -1.0, "<"))
        use = csr_array(space.columns(self.members, self.plans))
        for row, there in enumerate(space.capacity.tolist()):
            begin, end = use.indptr[row], use.indptr[row + 1]
            taking = [made[column] for column in use.indices[begin:end].tolist()]
            if taking:
                model.add_constr(mip.LinExpr(taking, use.data[begin:end].tolist(), -there, "<"))
        self.choice = np.full(space.members, NONE, dtype=np.intp)
        self.notes: list[str] = []

    def run(self, seconds: float, building_s: float) -> Found:
        began_s = time.perf_counter()
        points, done = self._goodput(seconds)
        left_s = seconds - (time.perf_counter() - began_s)
        if done and left_s > 0.1:
            points.append(self._cost(points[-1], left_s, began_s))
        return Found(
            choice=self.choice,
            points=tuple(points),
            elapsed_s=time.perf_counter() - began_s,
            building_s=building_s,
            notes=tuple(self.notes),
        )

    def _goodput(self, seconds: float) -> tuple[list[Point], bool]:
        """Of CBC only the end is known: its callback for progress crashes it."""
        model, began_s = self.model, time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            if self.method == HIGHS:
                model.solver._set_string_option_value("log_file", str(log))
                model.solver._set_bool_option_value("log_to_console", 0)
                model.verbose = 1
            status = model.optimize(max_seconds=seconds)
            elapsed_s = time.perf_counter() - began_s
            steps = highs_steps(log.read_text(encoding="utf-8").splitlines() if log.exists() else [])
        points = _rising(steps)
        known = _bound(model, inf)
        if not self._take():
            self.notes.append(f"no selection: {status.name.lower()}")
        points.append(self._point(elapsed_s, known))
        return points, status is mip.OptimizationStatus.OPTIMAL

    def _cost(self, before: Point, left_s: float, began_s: float) -> Point:
        model, space = self.model, self.space
        variables = model.vars
        least = before.goodput_per_s * (1.0 - 1e-9)
        worth = space.worth[self.members].tolist()
        model.add_constr(mip.LinExpr(list(variables), worth, -least, ">"))
        start = [(variables[column], 1.0) for column in self._columns().tolist()]
        model.objective = mip.minimize(mip.LinExpr(list(variables), self.costs.tolist()))
        model.start = start
        model.optimize(max_seconds=left_s)
        choice = self.choice.copy()
        if not self._take() or space.cost_per_h(self.choice) > before.cost_per_h:
            self.choice = choice
        return self._point(time.perf_counter() - began_s, before.bound_per_s, max(_bound(model, 0.0), 0.0))

    def _columns(self) -> Indices:
        """The columns of what is chosen."""
        return np.flatnonzero(self.choice[self.members] == self.plans)

    def _take(self) -> bool:
        """Reads the selection off the columns; whether there is one."""
        if not self.model.num_solutions:
            return False
        values: Array = np.array([variable.x for variable in self.model.vars], dtype=float)
        taken = np.flatnonzero(values > 0.5)
        self.choice = np.full(self.space.members, NONE, dtype=np.intp)
        self.choice[self.members[taken]] = self.plans[taken]
        return True

    def _point(self, elapsed_s: float, bound_per_s: float, cost_bound_per_h: float = 0.0) -> Point:
        return Point(
            elapsed_s=elapsed_s,
            goodput_per_s=self.space.goodput_per_s(self.choice),
            cost_per_h=self.space.cost_per_h(self.choice),
            bound_per_s=bound_per_s,
            cost_bound_per_h=cost_bound_per_h,
        )


def _bound(model: mip.Model, unknown: float) -> float:
    """What the solver proved; before it proved anything it says an enormous number of either sign."""
    bound = model.objective_bound
    return unknown if bound is None or not abs(float(bound)) < _ENORMOUS else float(bound)


def highs_steps(lines: Sequence[str]) -> list[tuple[float, float, float]]:
    """(seconds, best, bound) of each line of HiGHS's search."""
    found = []
    for line in lines:
        match = _HIGHS_LINE.search(line)
        if match is not None:
            bound, best = (_number(text) for text in match.group(1, 2))
            found.append((float(match.group(3)), best, bound))
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return inf


def _rising(steps: Sequence[tuple[float, float, float]]) -> list[Point]:
    """Solvers log what is known at some times; goodput only rises and bounds only fall. The cost is not logged."""
    points: list[Point] = []
    most, bound = 0.0, inf
    for elapsed_s, best, known in sorted(steps):
        most = max(most, best) if isfinite(best) and abs(best) < _ENORMOUS else most
        bound = min(bound, known) if isfinite(known) and 0.0 < known < _ENORMOUS else bound
        points.append(Point(elapsed_s=elapsed_s, goodput_per_s=most, cost_per_h=0.0, bound_per_s=bound))
    return points
