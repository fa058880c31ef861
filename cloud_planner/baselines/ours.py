"""Our own search, on the meter that its rivals have. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from cloud_planner.baselines.task import REFUSED, Found, Task
from cloud_planner.core.precision import Array
from cloud_planner.core.search import CandidateSearch
from cloud_planner.core.search_terms import (
    QUICK,
    Phase,
    Prospects,
    SearchPolicy,
)
from cloud_planner.core.similarity import neighbours_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """The search of core/search.py; ``share``: other contents of the pipeline say where to begin."""

    policy: SearchPolicy = QUICK
    share: bool = True
    name: str = "circinus quick"

    def __call__(self, task: Task) -> Found:
        """Asks, runs and tells until the search has nothing more to ask."""
        meter, book = task.meter, task.book
        content, known = content_of(task), self._known(task)
        search = CandidateSearch(
            meter.space.model,
            pool=meter.pool,
            bound_ratio=task.slo.accuracy_ratio,
            policy=self.policy,
            neighbours=neighbours_of(content, known),
            scores=[meter.known_scores(index) for index in range(meter.count)],
        )
        if not meter.seen.any():
            for index in meter.space.model.spread():
                search.tell(index, meter.run(index, [0]))
        prospects = prospects_of(task)
        while (asked := search.ask(prospects)) is not None:
            search.tell(
                asked.configuration, meter.run(asked.configuration, range(asked.first, asked.first + asked.count))
            )
            prospects = prospects_of(task)
        answer = search.answer(prospects)
        known.pop(content, None)
        known[content] = search.believed_mean()
        if answer.phase is not Phase.CERTIFIED or answer.configuration is None:
            return REFUSED
        return Found(configuration=answer.configuration, plan=book.plan(answer.configuration))

    def _known(self, task: Task) -> dict[str, Array]:
        """By content, what was believed of its accuracies at last; lasts as long as the task's memory."""
        if not self.share:
            return {}
        known = task.memory.setdefault("contents", {})
        assert isinstance(known, dict)
        return known


def content_of(task: Task) -> str:
    """A name for the task's content: equal for equal scores."""
    scores = task.meter.table.scores
    return sha256(str(scores.shape).encode() + scores.tobytes()).hexdigest()[:16]


def prospects_of(task: Task) -> Prospects:
    """What configurations would cost, as far as the task's meter knows their times."""
    cost, chance = task.book.costs(hopeful=True)
    return Prospects(
        cost_per_h=cost,
        possible_ratio=chance,
        sample_s=task.meter.sample_s(),
        low_cost_per_h=task.book.low_costs(),
    )
