"""One step of a query's candidate search in a running fleet: what is known, what to measure next. PURE.

All that a step needs stands in its ``SearchTask``: profile tables, the attempts so far, what was spent. So a search
goes on where it was after a crash of the planner or of an agent: it is asked again, and asks again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from math import log
from typing import Final

import numpy as np
from scipy.special import ndtr

from circinus.model.device import DeviceClass, Digest
from circinus.model.pipeline import Configuration, ContentRef, RegisteredPipeline, configuration_key
from circinus.model.plan import Interval
from circinus.model.profile import ProfileTable
from circinus.model.query import Query
from circinus.model.search import SearchPhase
from cloud_planner.core.believed_times import relative_error
from cloud_planner.core.cost_memo import CostMemo, in_steps
from cloud_planner.core.decompose import (
    Choice,
    Fleet,
    StatisticsMemo,
    content_of,
    content_statistics,
    problem_of_choices,
)
from cloud_planner.core.knob_model import KnobModel
from cloud_planner.core.least_cost import least_costs
from cloud_planner.core.network import Network
from cloud_planner.core.precision import Array
from cloud_planner.core.profiles import ClassStatistics
from cloud_planner.core.search import CandidateSearch
from cloud_planner.core.search_terms import (
    Answer,
    Attempt,
    Neighbour,
    Phase,
    Prospects,
    SearchPolicy,
)
from cloud_planner.core.similarity import neighbours_of

#: Times may be shorter than believed by these factors; see Prospects.possible_ratio.
_HOPEFUL_RATIOS: Final = (0.75, 0.5, 0.25)
#: Where times are only believed, there is at least so much hope.
_DOUBT_CHANCE: Final = 0.03
#: So many samples of a configuration are timed as serving will find them; of further ones only the scores count.
TIMED_SAMPLES: Final = 24
#: What is told of a plan's accuracy rests on at least so many samples, where there are so many.
_REPORTED_SAMPLES: Final = 48
#: What costs are written to, where a plan costs nothing.
_LEAST_COST: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What profiling for a query took so far: samples, seconds of operators, money."""

    samples: int = 0
    operator_s: float = 0.0
    cost: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchTask:
    """All that a step is made from. ``fleet`` has the tables of every content of the query's pipeline.

    ``failed``: keys of configurations that can't be run. ``chosen``: key of the configuration that the query may be
    served with already, on belief.
    """

    fleet: Fleet
    query: Query
    attempts: tuple[Attempt, ...] = ()
    spent: Spent = field(default_factory=Spent)
    failed: frozenset[str] = frozenset()
    chosen: str = ""
    policy: SearchPolicy = field(default_factory=SearchPolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Samples that the search asks for: every configuration on every sample; ``timed``: as serving will find them."""

    configurations: tuple[Configuration, ...]
    sample_indices: tuple[int, ...]
    timed: bool
    memory: bool = False


def begun(wanted: Wanted, table: ProfileTable | None) -> bool:
    """Whether any sample that was asked for has its score."""
    known = table.scores if table is not None else {}
    every = [known.get(configuration_key(one), {}) for one in wanted.configurations]
    return any(index in scores for scores in every for index in wanted.sample_indices)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchStepResult:
    """What a step found. ``wanted`` None: there is nothing more to ask; ``stopped`` says why if it might have.

    ``choices`` are the configurations that may be planned now, cheapest first.
    """

    phase: SearchPhase
    wanted: Wanted | None
    choices: tuple[Choice, ...]
    attempts: tuple[Attempt, ...]
    configuration: Configuration | None = None
    probability_ratio: float = 0.0
    accuracy: Interval | None = None
    cost_per_h: float | None = None
    candidates_left: int = 0
    eta_s: float | None = None
    stopped: str = ""


def sample_order(content: ContentRef) -> tuple[int, ...]:
    """The one random order in which a content's samples are drawn: by a hash of its digest and the index."""
    return tuple(
        sorted(range(content.samples), key=lambda index: sha256(f"{content.digest}:{index}".encode()).digest())
    )


def over_budget(query: Query, spent: Spent) -> str:
    """Which part of its profiling budget a query has used up; empty: none."""
    budget = query.budget
    if budget.samples is not None and spent.samples >= budget.samples:
        return f"its budget of {budget.samples} profile samples is used up"
    if budget.seconds is not None and spent.operator_s >= budget.seconds:
        return f"its budget of {budget.seconds:g} profile seconds is used up"
    if budget.cost is not None and spent.cost >= budget.cost:
        return f"its budget of {budget.cost:g} for profiling is used up"
    return ""


@dataclass(slots=True)
class StepMemo:
    """What steps may keep for later ones; all of it follows from tables and pipelines, and is made again without."""

    statistics: StatisticsMemo = field(default_factory=dict)
    models: dict[Digest, KnobModel] = field(default_factory=dict)
    means: dict[tuple[Digest, Digest], tuple[ProfileTable, Array]] = field(default_factory=dict)
    costs: CostMemo = field(default_factory=CostMemo)


def search_step(task: SearchTask, memo: StepMemo | None = None) -> SearchStepResult:
    """What is known of a query's configurations now, and what to measure next."""
    return _Step(task, StepMemo() if memo is None else memo).result()


class _Step:
    """One step; holds what its parts share."""

    def __init__(self, task: SearchTask, memo: StepMemo) -> None:
        self.task, self.query, self.memo = task, task.query, memo
        self.registered: RegisteredPipeline = task.fleet.pipelines[task.query.pipeline_id]
        pipeline = self.registered.pipeline
        self.content = content_of(self.registered, task.query.content)
        self.configurations = tuple(pipeline.configurations())
        self.keys = [configuration_key(one) for one in self.configurations]
        self.order = sample_order(self.content)
        tables = task.fleet.tables
        self.table = task.fleet.table(self.registered, self.content)
        self.others = [
            (other, tables[self.registered.bundle_digest, other.digest])
            for other in self.registered.contents
            if other.digest != self.content.digest and (self.registered.bundle_digest, other.digest) in tables
        ]
        self.model = self._model()
        self.failed = np.array([at for at, key in enumerate(self.keys) if key in task.failed], dtype=np.intp)
        self.search = CandidateSearch(
            self.model,
            pool=self.content.samples,
            bound_ratio=task.query.slo.accuracy_ratio,
            policy=task.policy,
            neighbours=self._neighbours(),
            scores=[self._scores(self.table, key, self.order) for key in self.keys],
            attempts=task.attempts,
        )

    def _scores(self, table: ProfileTable | None, key: str, order: Sequence[int]) -> Array:
        """A configuration's scores in the pool's order, up to the first that is missing."""
        known: Mapping[int, float] = table.scores.get(key, {}) if table is not None else {}
        found: list[float] = []
        for index in order:
            if index not in known:
                break
            found.append(known[index])
        return np.array(found)

    def _model(self) -> KnobModel:
        models, bundle = self.memo.models, self.registered.bundle_digest
        if bundle not in models:
            monotone = {
                f"{operator.id}.{knob.name}": True
                for operator in self.registered.pipeline.operators
                for knob in operator.knobs
                if knob.monotone
            }
            models[bundle] = KnobModel(self.configurations, monotone=monotone)
        return models[bundle]

    def _neighbours(self) -> tuple[Neighbour, ...]:
        known: dict[str, Array] = {}
        for content, table in self.others:
            place = (self.registered.bundle_digest, content.digest)
            kept = self.memo.means.get(place)
            if kept is None or kept[0] is not table:
                order = sample_order(content)
                scores = [self._scores(table, key, order) for key in self.keys]
                if not any(len(one) for one in scores):
                    continue
                search = CandidateSearch(self.model, pool=content.samples, bound_ratio=0.5, scores=scores)
                kept = self.memo.means[place] = (table, search.believed_mean())
            known[content.digest] = kept[1]
        return neighbours_of(self.content.digest, known)

    def result(self) -> SearchStepResult:
        """What the step found."""
        statistics = self._statistics()
        if not statistics:
            return self._opening()
        prospects = self._prospects(statistics)
        asked = self.search.ask(prospects)
        answer = self.search.answer(prospects)
        stopped = over_budget(self.query, self.task.spent) if asked is not None else ""
        index = answer.configuration
        choices = self._choices(prospects, answer, statistics)
        wanted = None
        if index is not None and not self._memory_known(index, statistics):
            # Nothing can be deployed whose memory is unknown.
            wanted = Wanted(
                configurations=(self.configurations[index],), sample_indices=self.order[:2], timed=True, memory=True
            )
        elif asked is not None and not stopped:
            first = asked.first
            indices = self.order[first : first + asked.count]
            wanted = Wanted(
                configurations=(self.configurations[asked.configuration],),
                sample_indices=indices,
                timed=first < TIMED_SAMPLES,
            )
        elif asked is None and index is not None and answer.phase is Phase.CERTIFIED:
            wanted = self._reported(index)
        there = index is not None and np.isfinite(prospects.cost_per_h[index])
        return SearchStepResult(
            phase=SearchPhase(answer.phase.value),
            wanted=wanted,
            choices=choices,
            attempts=tuple(self.search.attempts),
            configuration=self.configurations[index] if index is not None else None,
            probability_ratio=answer.probability_ratio,
            accuracy=answer.accuracy if index is not None and len(self.search.scores[index]) else None,
            cost_per_h=float(prospects.cost_per_h[index]) if index is not None and there else None,
            candidates_left=self.search.candidates_left(prospects),
            eta_s=self.search.eta_s(prospects) if wanted is not None else None,
            stopped=stopped,
        )

    def _reported(self, index: int) -> Wanted | None:
        """Further samples of what was certified early, so that the accuracy and times that are told mean something."""
        first = len(self.search.scores[index])
        left = min(_REPORTED_SAMPLES, self.content.samples) - first
        if left <= 0 or over_budget(self.query, self.task.spent):
            return None
        indices = self.order[first : first + min(left, self.task.policy.most_batch)]
        return Wanted(configurations=(self.configurations[index],), sample_indices=indices, timed=first < TIMED_SAMPLES)

    def _opening(self) -> SearchStepResult:
        """Nothing was measured of some operator on any content: a sample through a few configurations."""
        stopped = over_budget(self.query, self.task.spent)
        able = [index for index in range(len(self.keys)) if self.keys[index] not in self.task.failed]
        spread = tuple(self.configurations[index] for index in self.model.spread() if index in able)
        if not spread and not able:
            return self._none_runs()
        spread = spread or (self.configurations[able[0]],)
        wanted = Wanted(configurations=spread, sample_indices=self.order[:1], timed=True, memory=True)
        return SearchStepResult(
            phase=SearchPhase.UNKNOWN,
            wanted=None if stopped else wanted,
            choices=(),
            attempts=self.task.attempts,
            candidates_left=len(self.configurations),
            stopped=stopped,
        )

    def _none_runs(self) -> SearchStepResult:
        return SearchStepResult(
            phase=SearchPhase.REFUSED,
            wanted=None,
            choices=(),
            attempts=self.task.attempts,
            stopped="none of its configurations could be run",
        )

    def _statistics(self) -> dict[DeviceClass, ClassStatistics]:
        return content_statistics(self.task.fleet, self.query, self.memo.statistics)

    def _memory_known(self, index: int, statistics: Mapping[DeviceClass, ClassStatistics]) -> bool:
        pipeline, configuration = self.registered.pipeline, self.configurations[index]
        return all(
            any(
                (service := known.service(pipeline, operator.id, configuration)) is not None and service.memory_bytes
                for known in statistics.values()
            )
            for operator in pipeline.operators
        )

    def _prospects(self, statistics: Mapping[DeviceClass, ClassStatistics]) -> Prospects:
        pipeline = self.registered.pipeline
        errors, seconds = np.zeros(len(self.configurations)), np.zeros(len(self.configurations))
        clip = pipeline.content(self.content.name).items
        for at, configuration in enumerate(self.configurations):
            for known in statistics.values():
                services = [known.service(pipeline, operator.id, configuration) for operator in pipeline.operators]
                there = [service for service in services if service is not None]
                total_ms = sum(service.mean_ms for service in there)
                off = sum((relative_error(service) * service.mean_ms) ** 2 for service in there) ** 0.5
                errors[at] = max(errors[at], off / max(total_ms, 1e-9))
                # The fastest class profiles.
                quickest = total_ms * clip / 1e3
                seconds[at] = quickest if seconds[at] == 0.0 else min(seconds[at], quickest)
        cost = self._costs(statistics, range(len(self.configurations)), 1.0)
        chance = np.ones(len(cost))
        for ratio in _HOPEFUL_RATIOS:
            lacking = np.flatnonzero(np.isinf(cost) & (errors > _HOPE_ERROR))
            if not len(lacking):
                break
            hoped = self._costs(statistics, lacking.tolist(), ratio)
            better = lacking[np.isfinite(hoped)]
            cost[better] = hoped[np.isfinite(hoped)]
            chance[better] = np.maximum(ndtr(log(ratio) / np.maximum(errors[better], 1e-9)), _DOUBT_CHANCE)
        cost[self.failed] = np.inf
        return Prospects(cost_per_h=cost, possible_ratio=chance, sample_s=np.maximum(seconds, 1e-6))

    def _costs(self, statistics: Mapping[DeviceClass, ClassStatistics], wanted: Sequence[int], ratio: float) -> Array:
        """The least cost of each of these configurations, if times were so many times as long; inf: no plan."""
        choices = tuple(Choice(configuration=self.configurations[at], accuracy=_CERTAIN) for at in wanted)
        problem = problem_of_choices(self.task.fleet, self.query, choices, in_steps(statistics), time_ratio=ratio)
        query = problem.queries[0]
        kept = self.memo.costs.of(problem)
        unknown = [
            place
            for place, at in enumerate(wanted)
            if (known := kept.get((at, ratio))) is None or known[0] != query.candidates[place]
        ]
        if unknown:
            asked = replace(query, candidates=tuple(query.candidates[place] for place in unknown))
            for place, route in zip(unknown, least_costs(Network.of(problem), problem, asked), strict=True):
                cost = np.inf if route is None else max(route.cost_per_h, _LEAST_COST)
                kept[wanted[place], ratio] = (query.candidates[place], cost)
        return np.array([kept[at, ratio][1] for at in wanted])

    def _choices(
        self, prospects: Prospects, answer: Answer, statistics: Mapping[DeviceClass, ClassStatistics]
    ) -> tuple[Choice, ...]:
        """What may be planned now."""
        if answer.phase is Phase.CERTIFIED:
            return tuple(
                Choice(configuration=self.configurations[at], accuracy=self.search.certified_interval(at))
                for at in self.search.certified(prospects)
                if self._memory_known(at, statistics)
            )
        if answer.phase is Phase.REFUSED:
            # None has a plan: they are named so that planning says what stands in the way of the nearest ones.
            return tuple(
                Choice(configuration=self.configurations[at], accuracy=interval)
                for at, interval in self.search.nearest(prospects, _NEAREST)
            )
        index = self._provisional(prospects, answer)
        if index is None or not self._memory_known(index, statistics):
            return ()
        return (
            Choice(
                configuration=self.configurations[index],
                accuracy=self.search.interval(index),
                certified=False,
                probability_ratio=self.search.meets_ratio(index, prospects),
            ),
        )

    def _provisional(self, prospects: Prospects, answer: Answer) -> int | None:
        """What to serve on belief: what is served already, as long as it rather meets the bound than not."""
        if self.task.chosen in self.keys:
            chosen = self.keys.index(self.task.chosen)
            if prospects.planned[chosen] and self.search.meets_ratio(chosen, prospects) >= 0.5:
                return chosen
        return answer.configuration


#: So many configurations are named of a query that is refused.
_NEAREST: Final = 8
#: Below this relative error there is no hope that times are much shorter than believed.
_HOPE_ERROR: Final = 0.02
_CERTAIN: Final = Interval(value=1.0, low=1.0, high=1.0)
