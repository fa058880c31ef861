"""Plan and directives -> what each source device runs by itself while the rest of a query's plan is out of reach. PURE.

A stand-by is all local: every operator on the source device. It is looked for after the selection, in what that left
of the device, so that no query's plan is worse for it:

- Memory and accelerators are reserved, beside all that is planned there, since its processes are kept warm. A process
  that the plan has on the device anyway, with the same knobs and the same share, is used for both.
- Of the cores it may have those that nobody has, and those of its own query's operators on the device: while it
  serves, these get no items. Nobody else's are touched.

Only configurations whose accuracy was measured are promised. Of those that fit and keep the bound on latency the one
that falls short of the bound on accuracy least; if none keeps it, the fastest. What was chosen before stays while it is
nearly as good: a stand-by that changes with each sample would be a new generation each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from circinus.model.device import Device, DeviceId, Digest
from circinus.model.directive import Directive, ReplicaSet, StandBy
from circinus.model.pipeline import Configuration, RegisteredPipeline, configuration_key
from circinus.model.plan import Interval, Plan
from circinus.model.query import Query, QueryId
from cloud_planner.core.decompose import Choice, Fleet, content_of, decompose, memory_limit_bytes
from cloud_planner.core.live_search import sample_order
from cloud_planner.core.network import Network
from cloud_planner.core.precision import accuracy_interval
from cloud_planner.core.problem import Candidate, Problem, QueryProblem
from cloud_planner.core.select.assignment import from_route
from cloud_planner.core.select.finish import plan_of
from cloud_planner.core.stand_by_room import Room, beside, own_cores, own_sets, shares
from cloud_planner.core.stand_by_sets import replica_set, routes_of, same_process
from cloud_planner.core.templates import Enumeration, template

#: Configurations that are tried for one query at most, the best first.
_MOST_TRIED = 24
_MOST_FASTEST = 4
#: One that is chosen already stays unless another is better by so much, in accuracy.
_WORTH_CHANGING_RATIO = 0.03
#: Figures that moved by less than this part are told as they were told before.
_TOLD_RATIO = 0.2
_LEVEL = 0.05
_SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class StandByChoice:
    """A query's stand-by, or the reason why it has none; both empty: it needs none."""

    query_id: QueryId
    stand_by: StandBy | None = None
    reason: str = ""


@dataclass(slots=True, kw_only=True)
class StandByMemo:
    """What was found by query, with all that it was made from; and configurations by bundle and key."""

    found: dict[QueryId, tuple[object, StandByChoice]] = field(default_factory=dict)
    configurations: dict[Digest, dict[str, Configuration]] = field(default_factory=dict)

    def configurations_of(self, registered: RegisteredPipeline) -> dict[str, Configuration]:
        """A pipeline's configurations by key."""
        known = self.configurations.get(registered.bundle_digest)
        if known is None:
            known = {configuration_key(one): one for one in registered.pipeline.configurations()}
            self.configurations[registered.bundle_digest] = known
        return known


@dataclass(frozen=True, slots=True, kw_only=True)
class _Case:
    """One query whose plan leaves its source device."""

    query: Query
    registered: RegisteredPipeline
    plan: Plan
    device: Device
    directive: Directive | None
    needs: tuple[DeviceId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    stand_by: StandBy
    shortfall_ratio: float
    in_time: bool


def stand_bys(
    fleet: Fleet,
    queries: Sequence[Query],
    plans: Sequence[Plan],
    directives: Sequence[Directive],
    *,
    before: Mapping[QueryId, StandBy] | None = None,
    memo: StandByMemo | None = None,
) -> tuple[StandByChoice, ...]:
    """The stand-by of each planned query that allows one, by query.

    Args:
        fleet: Devices, tables and what searches chose.
        queries: The queries of the plans.
        plans: The selection.
        directives: What its devices run, without stand-bys.
        before: The stand-bys in force.
        memo: Keeps what was found, for as long as nothing that it depends on changes.

    Complexity: an enumeration on one device for each configuration tried, for each query whose state changed.
    """
    by_id = {plan.query_id: plan for plan in plans}
    wanted = [query for query in queries if query.stand_by and query.id in by_id]
    if not wanted:
        return ()
    told = {directive.device_id: directive for directive in directives}
    rooms: dict[DeviceId, Room] = {}
    found: dict[QueryId, StandByChoice] = {}
    cases: list[_Case] = []
    for query in wanted:
        plan, device = by_id[query.id], fleet.device(query.source_device_id)
        needs = needs_of(query, plan)
        if not needs:
            found[query.id] = StandByChoice(query_id=query.id)
        elif device is None:
            found[query.id] = StandByChoice(query_id=query.id, reason=f"{query.source_device_id} is not there")
        elif receivers := _given(query.id, directives):
            reason = f"{', '.join(receivers)} has what it runs first from it, and would get nothing meanwhile"
            found[query.id] = StandByChoice(query_id=query.id, reason=reason)
        else:
            rooms.setdefault(device.id, Room.of(device, told.get(device.id)))
            registered = fleet.pipelines[query.pipeline_id]
            cases.append(
                _Case(
                    query=query,
                    registered=registered,
                    plan=plan,
                    device=device,
                    directive=told.get(device.id),
                    needs=needs,
                )
            )
    memo = StandByMemo() if memo is None else memo
    choices = {case.query.id: _choices(fleet, case, memo) for case in cases}
    # What is worth most chooses first.
    cases.sort(key=lambda case: (-case.query.weight * case.query.rate_per_s, case.query.id))
    problem, local = _problems(fleet, cases, choices)
    for case in cases:
        room = rooms[case.device.id]
        kept = (before or {}).get(case.query.id)
        key = (case, replace(room), local[case.query.id], kept)
        known = memo.found.get(case.query.id)
        choice = known[1] if known is not None and known[0] == key else _choose(case, room, problem, key[2], kept)
        memo.found[case.query.id] = (key, choice)
        if choice.stand_by is not None:
            sets = choice.stand_by.replica_sets
            rooms[case.device.id] = beside(room, case.directive, case.query.id, sets)
        found[case.query.id] = choice
    for gone in memo.found.keys() - found.keys():
        del memo.found[gone]
    return tuple(found[query_id] for query_id in sorted(found))


def needs_of(query: Query, plan: Plan) -> tuple[DeviceId, ...]:
    """The devices beside its own without which a plan can't be served."""
    return tuple(sorted({placed.device_id for placed in plan.operators} - {query.source_device_id}))


def with_stand_bys(directives: Sequence[Directive], chosen: Sequence[StandByChoice]) -> tuple[Directive, ...]:
    """The directives with the stand-bys of the queries whose sources they have."""
    found = {choice.query_id: choice.stand_by for choice in chosen if choice.stand_by is not None}
    return tuple(
        replace(
            directive,
            stand_bys=tuple(
                stand_by
                for query_id in sorted({source.query_id for source in directive.sources})
                if (stand_by := found.get(query_id)) is not None
            ),
        )
        for directive in directives
    )


def _given(query_id: QueryId, directives: Sequence[Directive]) -> list[QueryId]:
    """The queries that a query's run of common operators gives inputs to."""
    receivers = {
        receiver
        for directive in directives
        for given_by, receiver in (
            *((route.given_by, route.query_id) for route in directive.routes),
            *((source.given_by, source.query_id) for source in directive.sources),
        )
        if query_id in given_by.values() and receiver != query_id
    }
    return sorted(receivers)


def _choices(fleet: Fleet, case: _Case, memo: StandByMemo) -> tuple[Choice, ...]:
    """What is known to be so and so accurate: what the search chose, and all else that was scored."""
    chosen = {configuration_key(one.configuration): one for one in fleet.choices.get(case.query.id, ())}
    content = content_of(case.registered, case.query.content)
    table = fleet.table(case.registered, content)
    found = {key: replace(one, certified=False) for key, one in chosen.items()}
    order = sample_order(content)
    configurations = memo.configurations_of(case.registered)
    for key, known in table.scores.items() if table is not None else ():
        configuration = configurations.get(key)
        seen = [known[index] for index in order if index in known]
        if key in found or configuration is None or not seen:
            continue
        interval = accuracy_interval(np.array(seen), content.samples, _LEVEL, case.query.guarantee)
        found[key] = Choice(configuration=configuration, accuracy=interval, certified=False)
    return tuple(found[key] for key in sorted(found))


def _problems(
    fleet: Fleet, cases: Sequence[_Case], choices: Mapping[QueryId, tuple[Choice, ...]]
) -> tuple[Problem, dict[QueryId, QueryProblem]]:
    """What the queries could run on their source devices alone."""
    problem = decompose(replace(fleet, choices=choices), [case.query for case in cases])
    device_of = {case.query.id: case.device.id for case in cases}
    local: dict[QueryId, QueryProblem] = {}
    for query in problem.queries:
        candidates = [_at(candidate, device_of[query.id]) for candidate in query.candidates]
        local[query.id] = replace(
            query,
            slo=replace(query.slo, accuracy_ratio=None, cost_per_h=None),
            candidates=tuple(one for one in candidates if all(step.options for step in one.steps)),
            stream="",
        )
    return problem, local


def _at(candidate: Candidate, device_id: DeviceId) -> Candidate:
    """A candidate on one device alone; what has no known memory can't be deployed."""
    unknown = memory_limit_bytes(0)
    return replace(
        candidate,
        steps=tuple(
            replace(
                step,
                share_key="",
                options=tuple(one for one in step.options if one.machine == device_id and one.memory_bytes > unknown),
            )
            for step in candidate.steps
        ),
    )


def _choose(case: _Case, room: Room, problem: Problem, local: QueryProblem, kept: StandBy | None) -> StandByChoice:
    if not local.candidates:
        selected = f" with its selector {case.query.selector!r}" if case.query.selector else ""
        reason = f"no configuration that was measured can run on {case.device.id} alone{selected}"
        return StandByChoice(query_id=case.query.id, reason=reason)
    bound = case.query.slo.accuracy_ratio
    best: _Found | None = None
    for candidate in _to_try(case, room, problem, local, kept):
        if best is not None and best.in_time:
            stays = kept is not None and best.stand_by.configuration == kept.configuration
            wanted = best.shortfall_ratio - (_WORTH_CHANGING_RATIO if stays else 0.0)
            if _shortfall(candidate.accuracy, bound) >= wanted - _SLACK:
                continue
        found = _on_device(case, room, problem, replace(local, candidates=(candidate,)))
        if found is not None and (best is None or _better(found, best)):
            best = found
    if best is not None:
        return StandByChoice(query_id=case.query.id, stand_by=_told(best.stand_by, kept))
    free = max(0.0, room.cores) + own_cores(case.directive, case.query.id)
    reason = (
        f"no room on {case.device.id} for any of {len(local.candidates)} measured configurations: "
        f"{free:.3g} cores and {max(0, room.memory_bytes) / 2**20:.0f} MiB are left for it"
    )
    return StandByChoice(query_id=case.query.id, reason=reason)


def _to_try(case: _Case, room: Room, problem: Problem, local: QueryProblem, kept: StandBy | None) -> list[Candidate]:
    """What is in force, then the nearest to the bound on accuracy, then the fastest."""
    bound = case.query.slo.accuracy_ratio
    fitting = [one for one in local.candidates if _may_fit(one, local, case, room, problem)]
    fitting.sort(
        key=lambda one: (_shortfall(one.accuracy, bound), _least_ms(one), configuration_key(one.configuration))
    )
    now = [one for one in fitting if kept is not None and one.configuration == kept.configuration]
    fastest = sorted(fitting[_MOST_TRIED:], key=_least_ms)[:_MOST_FASTEST]
    tried = [*now, *fitting[:_MOST_TRIED], *fastest]
    return [one for place, one in enumerate(tried) if one not in tried[:place]]


def _better(found: _Found, best: _Found) -> bool:
    if found.in_time != best.in_time:
        return found.in_time
    if not found.in_time:
        return found.stand_by.latency_ms.value < best.stand_by.latency_ms.value
    return found.shortfall_ratio < best.shortfall_ratio - _SLACK


def _shortfall(accuracy: Interval, bound: float | None) -> float:
    """How far an accuracy is below its bound; without one, below 1."""
    return max(0.0, (1.0 if bound is None else bound) - accuracy.value)


def _least_ms(candidate: Candidate) -> float:
    return sum(min((o.service.mean_ms for o in step.options), default=inf) for step in candidate.steps)


def _may_fit(candidate: Candidate, query: QueryProblem, case: _Case, room: Room, problem: Problem) -> bool:
    """Whether its least needs fit: cheap, so that only few are enumerated."""
    cores = 0.0
    for step in candidate.steps:
        load = query.rate_per_s * step.items_per_item / problem.replica_utilization_cap
        cores += min(option.cores * max(1.0, load / option.capacity_per_s) for option in step.options)
    return cores <= max(0.0, room.cores) + own_cores(case.directive, case.query.id) + _SLACK


def _on_device(case: _Case, room: Room, problem: Problem, query: QueryProblem) -> _Found | None:
    """One configuration on the device: in time if it can be, else as fast as it can be; None: no room."""
    for in_time in (True, False) if query.slo.latency_ms is not None else (True,):
        slo = query.slo if in_time else replace(query.slo, latency_ms=None)
        asked = replace(query, slo=slo)
        alone = replace(problem, queries=(asked,))
        network = Network.of(alone)
        own = _own_sets_room(case, room)
        left = shares(case.device, own)
        if any(value < -_SLACK for value in left.values()):
            return None
        routes = template(network, alone, asked, left, Enumeration(candidates=(0,), slo=slo)).routes
        if not in_time:
            routes = tuple(sorted(routes, key=lambda route: route.percentile_ms))
        for route in routes:
            plan = plan_of(network, alone, from_route(0, route))
            found = _as_found(case, room, plan, in_time)
            if found is not None:
                return found
    return None


def _own_sets_room(case: _Case, room: Room) -> Room:
    """The room with what the query's own operators have: what it reuses it need not be given twice."""
    own = own_sets(case.directive, case.query.id)
    return Room(
        cores=max(0.0, room.cores) + own_cores(case.directive, case.query.id),
        memory_bytes=room.memory_bytes + sum(one.replicas * one.memory_bytes for one in own),
        slots=room.slots + sum(one.replicas * one.accelerator_slots for one in own),
        accelerator_memory_bytes=room.accelerator_memory_bytes
        + sum(one.replicas * one.accelerator_memory_bytes for one in own),
    )


def _as_found(case: _Case, room: Room, plan: Plan, in_time: bool) -> _Found | None:
    """A local plan as a stand-by; None: its processes do not fit beside the others after all."""
    own = own_sets(case.directive, case.query.id)
    sets: list[ReplicaSet] = []
    for placed in plan.operators:
        one = replica_set(case.query, case.registered, plan, placed)
        same = next((other for other in own if same_process(one, other)), None)
        sets.append(same or one)
    if not beside(room, case.directive, case.query.id, sets).holds:
        return None
    stand_by = StandBy(
        query_id=case.query.id,
        configuration=plan.configuration,
        replica_sets=tuple(sets),
        routes=routes_of(case.query, case.registered),
        needs=case.needs,
        latency_ms=_rounded(plan.latency_ms, 1),
        accuracy_ratio=_rounded(plan.accuracy_ratio, 3),
    )
    shortfall = _shortfall(plan.accuracy_ratio, case.query.slo.accuracy_ratio)
    return _Found(stand_by=stand_by, shortfall_ratio=shortfall, in_time=in_time)


def _rounded(interval: Interval, digits: int) -> Interval:
    return Interval(
        value=round(interval.value, digits), low=round(interval.low, digits), high=round(interval.high, digits)
    )


def _told(found: StandBy, kept: StandBy | None) -> StandBy:
    """With the figures that were told before, if nothing else changed and they are about the same."""
    if kept is None or _without_figures(found) != _without_figures(kept):
        return found
    near = all(
        abs(a - b) <= _TOLD_RATIO * max(abs(a), abs(b))
        for one, other in ((found.latency_ms, kept.latency_ms), (found.accuracy_ratio, kept.accuracy_ratio))
        for a, b in ((one.value, other.value), (one.low, other.low), (one.high, other.high))
    )
    return kept if near else found


def _without_figures(one: StandBy) -> StandBy:
    sets = tuple(
        replace(each, uses=tuple(replace(use, after_ms=0.0) for use in each.uses)) for each in one.replica_sets
    )
    nothing = Interval(value=0.0, low=0.0, high=0.0)
    return replace(one, replica_sets=sets, latency_ms=nothing, accuracy_ratio=nothing)


__all__ = ["StandByChoice", "StandByMemo", "needs_of", "stand_bys", "with_stand_bys"]
