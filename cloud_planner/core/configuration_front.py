"""What each configuration of a pipeline is good for: accuracy against latency and cost, on a fleet. PURE.

For people who want to see what there is to choose from. Accuracies are measured where any sample was scored, and
believed elsewhere, as the search believes them (accuracy_mixture.py). Latency and cost are those of the cheapest plan
that meets the query's bounds on both, with the fleet to itself; a configuration that has none is shown with the
cheapest plan under a looser bound, and is on no front.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Final

import numpy as np

from circinus.model.pipeline import Configuration, RegisteredPipeline, configuration_key
from circinus.model.plan import Interval, Plan
from circinus.model.profile import ProfileTable
from circinus.model.query import Query
from cloud_planner.core.accuracy_mixture import PRIOR_VARIANCE, mean_variance, mixture, score_variance
from cloud_planner.core.decompose import Choice, Fleet, content_of, content_statistics, decompose, impossibility
from cloud_planner.core.estimate import Z95
from cloud_planner.core.knob_model import KnobModel
from cloud_planner.core.least_cost import least_costs
from cloud_planner.core.live_search import sample_order
from cloud_planner.core.needs import ProfilePolicy, unmeasured
from cloud_planner.core.network import Network
from cloud_planner.core.precision import Array, Guarantee, accuracy_interval
from cloud_planner.core.problem import Problem
from cloud_planner.core.search import CandidateSearch
from cloud_planner.core.select.assignment import from_route
from cloud_planner.core.select.finish import plan_of
from cloud_planner.core.similarity import neighbours_of

#: How often an interval of accuracy is to hold.
_LEVEL: Final = 0.05
#: Of fewer scores than these the mean is not taken at its word.
_FEW_SCORES: Final = 8
#: Latency bounds that are tried, in turn, for what has no plan within the query's own.
_LOOSER: Final = (1.5, 2.5, 5.0, 25.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One configuration.

    ``scored``: the samples that its accuracy was measured on; 0: it is predicted; of few it is what is believed, within
    the interval that was measured. ``plan``: the cheapest; None: there is none, whatever the latency. ``within``: it
    meets the query's bounds on latency and cost. ``timed``: every time that it rests on was measured where it runs.
    ``cost_front``: within, and none is as accurate and as cheap and better in one; ``latency_front``: likewise with
    latency.
    """

    configuration: Configuration
    accuracy: Interval
    scored: int
    plan: Plan | None
    within: bool
    timed: bool
    cost_front: bool
    latency_front: bool

    @property
    def dominated(self) -> bool:
        """Whether there is no reason to choose it."""
        return not (self.cost_front or self.latency_front)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationFront:
    """All configurations, in their order. ``samples``: how many the content has. ``impossible``: why none can run."""

    points: tuple[FrontPoint, ...]
    samples: int
    impossible: str = ""


def configuration_front(fleet: Fleet, query: Query) -> ConfigurationFront:
    """The configurations of a query's pipeline on its content. Complexity: as least_costs.

    Args:
        fleet: Devices, the pipeline and the tables of its contents; choices are not looked at.
        query: Source, rate and bounds that plans are made for; its bound on accuracy keeps nothing out.
    """
    registered = fleet.pipelines[query.pipeline_id]
    content = content_of(registered, query.content)
    configurations = tuple(registered.pipeline.configurations())
    accuracies, scored = _accuracies(fleet, query, registered, configurations)
    impossible = impossibility(fleet, query)
    if not impossible and not content_statistics(fleet, query):
        impossible = f"nothing of {query.pipeline_id} was measured yet: its times are not known"
    plans: list[Plan | None] = [None] * len(configurations)
    within = np.zeros(len(configurations), dtype=bool)
    if not impossible:
        for at, (plan, meets) in _plans(fleet, query, configurations, accuracies).items():
            plans[at], within[at] = plan, meets
    cost_front = _front(accuracies, [None if one is None else one.cost_per_h for one in plans], within)
    latency_front = _front(accuracies, [None if one is None else one.latency_ms.value for one in plans], within)
    policy = ProfilePolicy()
    return ConfigurationFront(
        points=tuple(
            FrontPoint(
                configuration=configuration,
                accuracy=accuracies[at],
                scored=scored[at],
                plan=plan,
                within=bool(within[at]),
                timed=plan is not None and not unmeasured(fleet, query, plan, policy),
                cost_front=bool(cost_front[at]),
                latency_front=bool(latency_front[at]),
            )
            for at, (configuration, plan) in enumerate(zip(configurations, plans, strict=True))
        ),
        samples=content.samples,
        impossible=impossible,
    )


def _scores(table: ProfileTable | None, key: str, order: Sequence[int]) -> Array:
    """A configuration's scores in the pool's order, up to the first that is missing."""
    known: Mapping[int, float] = table.scores.get(key, {}) if table is not None else {}
    found: list[float] = []
    for index in order:
        if index not in known:
            break
        found.append(known[index])
    return np.array(found)


def _accuracies(
    fleet: Fleet, query: Query, registered: RegisteredPipeline, configurations: Sequence[Configuration]
) -> tuple[list[Interval], list[int]]:
    """Each configuration's accuracy with its 95% interval, and how many samples that rests on."""
    content = content_of(registered, query.content)
    keys = [configuration_key(one) for one in configurations]
    order = sample_order(content)
    table = fleet.table(registered, content)
    scores = [_scores(table, key, order) for key in keys]
    model = KnobModel(configurations, monotone=_monotone(registered))
    known: dict[str, Array] = {}
    for other in registered.contents:
        if other.digest == content.digest:
            continue
        theirs = fleet.table(registered, other)
        seen = [_scores(theirs, key, sample_order(other)) for key in keys]
        if any(len(one) for one in seen):
            search = CandidateSearch(model, pool=other.samples, bound_ratio=0.5, scores=seen)
            known[other.digest] = search.believed_mean()
    pool = content.samples if query.guarantee is Guarantee.POOL else None
    measured = np.array([at for at, one in enumerate(scores) if len(one)], dtype=np.intp)
    believed = mixture(
        model,
        [neighbour.mean for neighbour in neighbours_of(content.digest, known)],
        _sample_s(fleet, query, configurations),
        measured,
        np.array([float(np.mean(scores[at])) for at in measured]),
        np.array([mean_variance(score_variance(scores[at]), len(scores[at]), pool) for at in measured]),
    )
    # A few scores say less than what they and all the others together make one believe.
    likely = [
        min(1.0, max(0.0, float(mean))) if len(one) < _FEW_SCORES else float(np.mean(one))
        for one, mean in zip(scores, believed.mean, strict=True)
    ]
    half = Z95 * np.maximum(believed.deviation, PRIOR_VARIANCE**0.5 / 10.0)
    found = [
        _measured(one, likely[at], content.samples, query.guarantee)
        if len(one)
        else _interval(float(believed.mean[at]), float(half[at]))
        for at, one in enumerate(scores)
    ]
    return found, [len(one) for one in scores]


def _measured(scores: Array, likely: float, pool: int, guarantee: Guarantee) -> Interval:
    interval = accuracy_interval(scores, pool, _LEVEL, guarantee)
    return replace(interval, value=min(interval.high, max(interval.low, likely)))


def _interval(value: float, half: float) -> Interval:
    middle = min(1.0, max(0.0, value))
    return Interval(value=middle, low=max(0.0, middle - half), high=min(1.0, middle + half))


def _monotone(registered: RegisteredPipeline) -> dict[str, bool]:
    return {
        f"{operator.id}.{knob.name}": True
        for operator in registered.pipeline.operators
        for knob in operator.knobs
        if knob.monotone
    }


def _sample_s(fleet: Fleet, query: Query, configurations: Sequence[Configuration]) -> Array:
    """(configurations,): seconds of a sample on the fastest class; ones if nothing is known."""
    pipeline = fleet.pipelines[query.pipeline_id].pipeline
    statistics = content_statistics(fleet, query)
    found = []
    for configuration in configurations:
        totals = []
        for known in statistics.values():
            services = [known.service(pipeline, operator.id, configuration) for operator in pipeline.operators]
            totals.append(sum(service.mean_ms for service in services if service is not None))
        found.append(max(1e-6, min((total for total in totals if total > 0.0), default=1e3) / 1e3))
    return np.array(found)


def _plans(
    fleet: Fleet, query: Query, configurations: Sequence[Configuration], accuracies: Sequence[Interval]
) -> dict[int, tuple[Plan, bool]]:
    """The cheapest plan of each configuration that has any, and whether it meets the bounds."""
    choices = tuple(
        Choice(configuration=configuration, accuracy=accuracy, certified=False)
        for configuration, accuracy in zip(configurations, accuracies, strict=True)
    )
    problem = decompose(replace(fleet, choices={query.id: choices}), [query])
    number = {configuration_key(one): at for at, one in enumerate(configurations)}
    places = [number[configuration_key(one.configuration)] for one in problem.queries[0].candidates]
    found: dict[int, tuple[Plan, bool]] = {}
    for factor in (1.0, *_LOOSER):
        left = [at for at, place in enumerate(places) if place not in found]
        if not left or (factor > 1.0 and query.slo.latency_ms is None and query.slo.cost_per_h is None):
            break
        for at, plan in _cheapest(problem, query, left, factor):
            found[places[at]] = (plan, factor == 1.0)
    return found


def _cheapest(problem: Problem, query: Query, left: Sequence[int], factor: float) -> list[tuple[int, Plan]]:
    """For each of these candidates its cheapest plan with a latency bound so many times as long."""
    slo, mine = query.slo, problem.queries[0]
    bound = None if slo.latency_ms is None else slo.latency_ms * factor
    loose = replace(slo, accuracy_ratio=None, latency_ms=bound, cost_per_h=slo.cost_per_h if factor == 1.0 else None)
    asked = replace(mine, slo=loose, candidates=tuple(mine.candidates[at] for at in left))
    # Told of the query's own bounds, not of those that it was looked for with.
    told = replace(problem, queries=(replace(asked, slo=slo),))
    network = Network.of(told)
    routes = least_costs(network, replace(problem, queries=(asked,)), asked)
    return [
        (at, plan_of(network, told, from_route(0, route)))
        for at, route in zip(left, routes, strict=True)
        if route is not None and isfinite(route.percentile_ms)
    ]


def _front(accuracies: Sequence[Interval], figures: Sequence[float | None], within: Array) -> Array:
    """(configurations,): which of those within the bounds no other beats in accuracy and a figure; of equals all."""
    rows = [
        (-accuracy.value, figure, at)
        for at, (accuracy, figure) in enumerate(zip(accuracies, figures, strict=True))
        if figure is not None and within[at]
    ]
    found = np.zeros(len(figures), dtype=bool)
    least, best = inf, (inf, inf)
    for accuracy, figure, at in sorted(rows):
        if figure < least or (accuracy, figure) == best:
            found[at], least, best = True, figure, (accuracy, figure)
    return found
