"""A checker of directives that does not trust who wrote them. PURE.

It starts from a selection's plans and what stands in the directives alone: every replica of every plan stands in
exactly one device's directive and nothing else does, all are of one generation which no device has passed, and the
wiring leads each operator's items where the plan says.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isclose

from circinus.model.device import DeviceId
from circinus.model.directive import Directive, Generation, ReplicaSet, Route, Target
from circinus.model.pipeline import SOURCE, OperatorId, knobs_of
from circinus.model.plan import OperatorPlan, Plan, Selection
from circinus.model.query import QueryId
from cloud_planner.core.audit_selectors import directive_breaches
from cloud_planner.core.audit_shared_runs import SharedWiring, check_leaders, check_planned, check_processes
from cloud_planner.core.audited import Finding
from cloud_planner.core.problem import Problem

_SHARE_TOLERANCE = 1e-6


@dataclass(slots=True, kw_only=True)
class _Wiring:
    """The directives, by what is looked up in them. ``makes``: the devices on which an operator's output comes up."""

    by_device: Mapping[DeviceId, Directive]
    plans: Mapping[QueryId, Plan]
    sources: dict[QueryId, DeviceId] = field(default_factory=dict)
    inputs: dict[tuple[QueryId, OperatorId], tuple[OperatorId, ...]] = field(default_factory=dict)
    outputs: dict[QueryId, tuple[OperatorId, ...]] = field(default_factory=dict)
    each: set[tuple[QueryId, OperatorId]] = field(default_factory=set)
    shared: SharedWiring
    findings: list[Finding] = field(default_factory=list)

    def say(self, subject: str, message: str) -> None:
        self.findings.append(Finding(subject=subject, message=message))

    def makes(self, query_id: QueryId, operator_id: OperatorId) -> set[DeviceId]:
        if operator_id == SOURCE:
            return {self.sources[query_id]} if query_id in self.sources else set()
        return {part.device_id for part in self.plans[query_id].operators if part.operator_id == operator_id}


def audit_directives(
    selection: Selection,
    directives: Sequence[Directive],
    newest: Mapping[DeviceId, Generation],
    problem: Problem | None = None,
) -> tuple[Finding, ...]:
    """All that is wrong with the directives of a selection; empty if nothing is.

    Args:
        selection: What is to be served.
        directives: What devices are told to serve; who isn't told anything stops.
        newest: The generation that each device accepted last.
        problem: What the selection is of, for what it counts once; None: that is not checked.
    """
    plans = {plan.query_id: plan for plan in selection.plans}
    inputs: dict[tuple[QueryId, OperatorId], tuple[OperatorId, ...]] = {}
    shared = SharedWiring.of(plans, directives, inputs)
    work = _Wiring(
        by_device={directive.device_id: directive for directive in directives},
        plans=plans,
        inputs=inputs,
        shared=shared,
    )
    work.findings += audit_generations(directives, newest)
    _replicas(work, directives)
    _sources(work, directives)
    wanted = _wanted_routes(work)
    _routes(work, directives, wanted)
    _peers(work, directives, wanted)
    check_leaders(shared)
    check_processes(shared, directives)
    if problem is not None:
        check_planned(shared, problem, selection)
        work.findings += directive_breaches(problem, directives)
    return (*work.findings, *shared.findings)


def audit_generations(directives: Sequence[Directive], newest: Mapping[DeviceId, Generation]) -> tuple[Finding, ...]:
    """Whether each device is told one thing, all of one generation, and none is told what it has passed."""
    found = [
        Finding(subject=device_id, message=f"has {times} directives")
        for device_id, times in Counter(directive.device_id for directive in directives).items()
        if times > 1
    ]
    generations = sorted({directive.generation for directive in directives})
    if len(generations) > 1:
        told = ", ".join(f"{generation.epoch}.{generation.number}" for generation in generations)
        found.append(Finding(subject="", message=f"the directives are of several generations: {told}"))
    for directive in directives:
        accepted, generation = newest.get(directive.device_id), directive.generation
        if accepted is not None and generation < accepted:
            said = (
                f"its directive {generation.epoch}.{generation.number} is older than "
                f"{accepted.epoch}.{accepted.number}, which it accepted"
            )
            found.append(Finding(subject=directive.device_id, message=said))
    return tuple(found)


def _replicas(work: _Wiring, directives: Sequence[Directive]) -> None:
    """Each operator of each plan is served where its plan says, unless another query's run is its run, too."""
    wanted: Counter[tuple[Hashable, ...]] = Counter(
        (part.device_id, plan.query_id, part.operator_id, _knobs(_own_knobs(plan, part)))
        for plan in work.plans.values()
        for part in plan.operators
        if work.shared.runs(plan.query_id, part.operator_id) == plan.query_id
    )
    told: Counter[tuple[Hashable, ...]] = Counter()
    for directive in directives:
        keys: dict[str, ReplicaSet] = {}
        for part in directive.replica_sets:
            if keys.setdefault(part.key, part) != part:
                work.say(directive.device_id, f"two different replica sets have the key {part.key}")
            for use in part.served:
                told[directive.device_id, use.query_id, use.operator_id, _knobs(part.knobs)] += 1
                known = work.inputs.setdefault((use.query_id, use.operator_id), use.inputs)
                if known != use.inputs:
                    work.say(use.query_id, f"{use.operator_id} reads different inputs on different devices")
                if part.each:
                    work.each.add((use.query_id, use.operator_id))
    for missing in wanted - told:
        work.say(str(missing[1]), f"{missing[2]} has no replicas on {missing[0]} as its plan says")
    for extra in told - wanted:
        work.say(str(extra[1]), f"{extra[2]} has replicas on {extra[0]} that no plan asks for")


def _own_knobs(plan: Plan, part: OperatorPlan) -> Mapping[str, object]:
    return knobs_of(plan.configuration, part.operator_id)


def _knobs(knobs: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, repr(value)) for name, value in knobs.items()))


def _sources(work: _Wiring, directives: Sequence[Directive]) -> None:
    """Each planned query has one source, and no other has."""
    for directive in directives:
        for source in directive.sources:
            if source.query_id not in work.plans:
                work.say(source.query_id, f"has a source on {directive.device_id} and no plan")
            elif source.query_id in work.sources:
                work.say(source.query_id, f"has sources on {work.sources[source.query_id]} and {directive.device_id}")
            else:
                work.sources[source.query_id] = directive.device_id
                work.outputs[source.query_id] = source.output_operator_ids
    for query_id in work.plans:
        if query_id not in work.sources:
            work.say(query_id, "has a plan and no source")


def _wanted_routes(work: _Wiring) -> dict[tuple[DeviceId, QueryId, OperatorId], Route]:
    """The routes that plans ask for, by the device that must know them."""
    wanted: dict[tuple[DeviceId, QueryId, OperatorId], Route] = {}
    for query_id, plan in work.plans.items():
        shares: dict[OperatorId, dict[DeviceId, float]] = defaultdict(dict)
        for part in plan.operators:
            there = shares[part.operator_id]
            there[part.device_id] = there.get(part.device_id, 0.0) + part.share_ratio
        for operator_id, targets in shares.items():
            if work.shared.runs(query_id, operator_id) != query_id:
                continue
            inputs = work.inputs.get((query_id, operator_id), ())
            route = replace(
                _route(query_id, operator_id, inputs, targets),
                given_by=work.shared.given(query_id, inputs),
                earlier_ms=work.shared.earlier_ms(query_id, operator_id),
                each=(query_id, operator_id) in work.each,
            )
            for name in inputs:
                for device_id in work.makes(query_id, name):
                    wanted[device_id, query_id, operator_id] = route
        source, outputs = work.sources.get(query_id), work.outputs.get(query_id, ())
        if source is not None:
            answer = _route(query_id, SOURCE, outputs, {source: 1.0})
            for name in outputs:
                for device_id in work.makes(query_id, name) if work.shared.runs(query_id, name) == query_id else ():
                    wanted[device_id, query_id, SOURCE] = answer
    return wanted


def _route(
    query_id: QueryId, operator_id: OperatorId, inputs: tuple[OperatorId, ...], targets: Mapping[DeviceId, float]
) -> Route:
    return Route(
        query_id=query_id,
        operator_id=operator_id,
        inputs=inputs,
        targets=tuple(Target(device_id=name, share_ratio=share) for name, share in sorted(targets.items())),
    )


def _routes(
    work: _Wiring, directives: Sequence[Directive], wanted: Mapping[tuple[DeviceId, QueryId, OperatorId], Route]
) -> None:
    seen: set[tuple[DeviceId, QueryId, OperatorId]] = set()
    for directive in directives:
        for route in directive.routes:
            key = (directive.device_id, route.query_id, route.operator_id)
            right = wanted.get(key)
            if key in seen:
                work.say(route.query_id, f"has two routes to {route.operator_id} on {directive.device_id}")
            elif right is None:
                work.say(route.query_id, f"has a route to {route.operator_id} on {directive.device_id} for nothing")
            elif not _same(route, right):
                where = ", ".join(f"{target.device_id} {target.share_ratio:.6g}" for target in route.targets)
                work.say(route.query_id, f"its route to {route.operator_id} on {directive.device_id} is wrong: {where}")
            seen.add(key)
    for device_id, query_id, operator_id in sorted(set(wanted) - seen):
        work.say(query_id, f"{device_id} has no route to {operator_id}, whose input is made there")


def _same(one: Route, other: Route) -> bool:
    return (
        one.inputs == other.inputs
        and one.each == other.each
        and dict(one.given_by) == dict(other.given_by)
        and isclose(one.earlier_ms, other.earlier_ms, abs_tol=_SHARE_TOLERANCE)
        and [target.device_id for target in one.targets] == [target.device_id for target in other.targets]
        and all(
            isclose(a.share_ratio, b.share_ratio, abs_tol=_SHARE_TOLERANCE)
            for a, b in zip(one.targets, other.targets, strict=True)
        )
    )


def _peers(
    work: _Wiring, directives: Sequence[Directive], wanted: Mapping[tuple[DeviceId, QueryId, OperatorId], Route]
) -> None:
    """Devices that exchange items are connected by exactly one of them, and no others are."""
    pairs = {
        frozenset((device_id, target.device_id))
        for (device_id, _, operator_id), route in wanted.items()
        for target in route.targets
        # Answers go back the way their items came.
        if operator_id != SOURCE and target.device_id != device_id
    }
    dials: Counter[frozenset[DeviceId]] = Counter()
    for directive in directives:
        for peer in directive.peers:
            dials[frozenset((directive.device_id, peer.device_id))] += 1
            if not peer.address:
                work.say(directive.device_id, f"is to dial {peer.device_id} and isn't told where")
    dialled = {(peer.device_id, one.device_id) for one in directives for peer in one.peers}
    let_in = {(one.device_id, peer.device_id) for one in directives for peer in one.dialled_by}
    for device_id, caller in sorted(dialled - let_in):
        work.say(device_id, f"is dialled by {caller} and isn't told to let it in")
    for device_id, caller in sorted(let_in - dialled):
        work.say(device_id, f"is told to let in {caller}, which does not dial it")
    for pair in _ordered(pairs - set(dials)):
        work.say(pair[0], f"exchanges items with {pair[-1]}, and neither dials the other")
    for pair in _ordered(set(dials) - pairs):
        work.say(pair[0], f"is to be connected with {pair[-1]} for nothing")
    for pair in _ordered(pair for pair, times in dials.items() if times > 1):
        work.say(pair[0], f"and {pair[-1]} are connected twice")


def _ordered(pairs: Iterable[frozenset[DeviceId]]) -> list[list[DeviceId]]:
    return sorted(sorted(pair) for pair in pairs)
