"""A whole new selection in the background, while arrivals are placed beside what runs.

In a fleet with many running queries a decision holds those and places what is new. Whether a selection of everything
would do better takes seconds to find out: that is found out here, of the last decision, and offered if it is worth the
changes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from circinus.errors import CircinusError
from circinus.events import event, warning
from circinus.model.plan import Selection
from circinus.model.query import QueryId
from cloud_planner.bell import Bell
from cloud_planner.core.planning import PlanResult
from cloud_planner.core.problem import Problem
from cloud_planner.solving import Planning


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldPolicy:
    """When running queries are held, and what is worth disturbing them.

    ``from_running``: with fewer running queries everything is selected anew each time. ``new_ratio``: nothing is held
    if more than this part of all queries is new. ``goodput_ratio`` and ``cost_ratio``: gains that are worth changes.
    ``pause_cost_ratio``: a lower cost that is worth changes for which running queries pause.
    """

    from_running: int = 40
    new_ratio: float = 0.2
    goodput_ratio: float = 0.005
    cost_ratio: float = 0.02
    pause_cost_ratio: float = 0.1

    def held(self, problem: Problem) -> frozenset[QueryId]:
        """The queries that a decision leaves alone."""
        running = {plan.query_id for plan in problem.running}
        new = sum(1 for query in problem.queries if query.id not in running)
        if len(running) < self.from_running or new > self.new_ratio * len(problem.queries):
            return frozenset()
        return frozenset(running)

    def worth_it(self, before: Selection, after: Selection) -> bool:
        """Whether a selection is so much better that plans may change for it."""
        gain = _gain(before, after)
        if gain > self.goodput_ratio * max(before.goodput_per_s, 1e-12):
            return True
        return gain >= 0.0 and before.cost_per_h - after.cost_per_h > self.cost_ratio * before.cost_per_h

    def worth_pausing(self, before: Selection, after: Selection) -> bool:
        """Whether a selection is so much better that running queries may pause for it: it serves one more, say."""
        served = {plan.query_id for plan in before.plans}
        gain = _gain(before, after)
        if gain > 0.0 or any(plan.query_id not in served for plan in after.plans):
            return True
        return gain >= 0.0 and before.cost_per_h - after.cost_per_h > self.pause_cost_ratio * before.cost_per_h


def within(selection: Selection, whole: Selection) -> Selection:
    """A selection of some of the plans that ``whole`` was selected of, at no less goodput: with that one's bounds."""
    cost, cost_bound = selection.cost_per_h, min(selection.cost_per_h, whole.cost_bound_per_h)
    bound = max(selection.goodput_per_s, whole.goodput_bound_per_s)
    return replace(
        selection,
        goodput_bound_per_s=bound,
        gap_ratio=(bound - selection.goodput_per_s) / bound if bound > 0.0 else 0.0,
        cost_bound_per_h=cost_bound,
        cost_gap_ratio=(cost - cost_bound) / cost if cost > 0.0 else 0.0,
    )


def _gain(before: Selection, after: Selection) -> float:
    """How much more goodput there is, a second; what is less than a solver can tell is none."""
    gain = after.goodput_per_s - before.goodput_per_s
    return 0.0 if abs(gain) <= 1e-9 * max(before.goodput_per_s, 1.0) else gain


class Background:
    """Selects everything anew for the last decision that held queries."""

    def __init__(self, planning: Planning, replan: Bell, policy: HoldPolicy | None = None) -> None:
        self.policy = policy if policy is not None else HoldPolicy()
        self._planning = planning
        self._replan = replan
        self._asked = asyncio.Event()
        self._last: tuple[Problem, PlanResult] | None = None
        self._better: tuple[Problem, PlanResult] | None = None

    def consider(self, problem: Problem, result: PlanResult) -> None:
        """Looks for something better than this decision, unless that was done for the very same one."""
        if self._last is None or self._last[0] != problem:
            self._last = (problem, result)
            self._asked.set()

    def better(self, problem: Problem) -> PlanResult | None:
        """What was found for a problem, if it is still the present one; it is offered once."""
        found, self._better = self._better, None
        return found[1] if found is not None and found[0] == problem else None

    async def run(self) -> None:
        """Looks whenever it is asked to, for ever."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self.attempt()

    async def attempt(self) -> None:
        """One look, at the last decision."""
        if self._last is None:
            return
        problem, before = self._last
        try:
            found = await self._planning.plan(problem)
        except CircinusError as error:
            warning("background_planning_failed", reason=error.message)
            return
        worth_it = not found.findings and self.policy.worth_it(before.selection, found.selection)
        changed = _changed(before.selection, found.selection)
        event(
            "background_planned",
            goodput_per_s=found.selection.goodput_per_s,
            bound_per_s=found.selection.goodput_bound_per_s,
            cost_per_h=found.selection.cost_per_h,
            plans_changed=changed,
            taken=worth_it,
        )
        if worth_it:
            self._better = (problem, found)
            self._replan.ring()


def _changed(before: Selection, after: Selection) -> int:
    """How many running plans would change or end."""
    now = {plan.query_id: (plan.configuration, plan.operators) for plan in after.plans}
    return sum(1 for plan in before.plans if now.get(plan.query_id) != (plan.configuration, plan.operators))
