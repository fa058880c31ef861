"""A checker of selections that does not trust the planner. PURE.

It starts from the problem and the published selection alone, finds each plan's options in the tables again, and
works out by plain sums what templates and programme claim: that replicas fit machine by machine, that links and
replicas stay under their caps, that every SLO holds by the latency model (estimate.py), and that the figures add up.
For split plans, which publish shares and not routes, it looks for routes that explain them within the links and the
claimed traffic cost.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import islice, product
from math import isclose

import numpy as np
from scipy.optimize import linprog

from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.plan import OperatorPlan, Plan, Selection
from cloud_planner.core.estimate import (
    accuracy_probability_ratio,
    dominant_share_ratio,
    items_ratio,
    percentile_ms,
    slo_probability,
    stay_of,
)
from cloud_planner.core.moment import START, Moment, later_of
from cloud_planner.core.network import SECONDS_PER_H, Hop, Network
from cloud_planner.core.packing import machines_needed
from cloud_planner.core.problem import Billing, Candidate, Option, Problem, QueryProblem, Step

_TOLERANCE = 1e-6
#: More ways through a split plan than this are not looked at; the finding says so.
_MOST_WAYS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something wrong: of which query or machine ("" of the whole), and what."""

    subject: str
    message: str


@dataclass(slots=True, kw_only=True)
class _Placed:
    """A plan found again in the tables. ``loads``: by step, its operator plans with their options."""

    query: QueryProblem
    candidate: Candidate
    plan: Plan
    loads: list[list[tuple[OperatorPlan, Option]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """One option for each step: what it costs in traffic and puts on links if all items go this way."""

    options: tuple[Option, ...]
    traffic_cost_per_h: float
    bits_per_s: Mapping[tuple[DeviceId, DeviceId], float]
    latency_ms: float


@dataclass(slots=True, kw_only=True)
class _Audit:
    problem: Problem
    selection: Selection
    network: Network
    findings: list[Finding] = field(default_factory=list)

    def say(self, subject: str, message: str) -> None:
        self.findings.append(Finding(subject=subject, message=message))


def audit(problem: Problem, selection: Selection) -> tuple[Finding, ...]:
    """All that is wrong with a selection; empty if nothing is."""
    work = _Audit(problem=problem, selection=selection, network=Network.of(problem))
    placed = _placed(work)
    _once(work)
    for entry in placed:
        _slo(work, entry)
    _replicas(work, placed)
    machine_cost = _machines(work, placed)
    _traffic(work, placed)
    _totals(work, placed, machine_cost)
    return tuple(work.findings)


def _once(work: _Audit) -> None:
    """Each query is either placed once or unplaced once."""
    seen: dict[str, int] = defaultdict(int)
    named: list[str] = [plan.query_id for plan in work.selection.plans]
    named += [unplaced.query_id for unplaced in work.selection.unplaced]
    for query_id in named:
        seen[query_id] += 1
    for query in work.problem.queries:
        if seen.pop(query.id, 0) != 1:
            work.say(query.id, "stands neither once among the plans nor once among the unplaced")
    for query_id in seen:
        work.say(query_id, "there is no such query")
    for unplaced in work.selection.unplaced:
        if not unplaced.reason:
            work.say(unplaced.query_id, "is unplaced without a reason")


def _placed(work: _Audit) -> list[_Placed]:
    queries = {query.id: query for query in work.problem.queries}
    placed = []
    for plan in work.selection.plans:
        query = queries.get(plan.query_id)
        if query is None:
            continue
        entry = next(
            (
                entry
                for candidate in query.candidates
                if dict(candidate.configuration) == dict(plan.configuration)
                and (entry := _matched(query, candidate, plan)) is not None
            ),
            None,
        )
        if entry is None:
            work.say(plan.query_id, "its plan is not in the tables")
        else:
            placed.append(entry)
    return placed


def _matched(query: QueryProblem, candidate: Candidate, plan: Plan) -> _Placed | None:
    if candidate.accuracy != plan.accuracy_ratio:
        return None
    names = [step.operator_id for step in candidate.steps]
    loads: list[list[tuple[OperatorPlan, Option]]] = [[] for _ in names]
    for operator in plan.operators:
        if operator.operator_id not in names:
            return None
        index = names.index(operator.operator_id)
        option = next((o for o in candidate.steps[index].options if _same(o, operator)), None)
        if option is None:
            return None
        loads[index].append((operator, option))
    return _Placed(query=query, candidate=candidate, plan=plan, loads=loads)


def _same(option: Option, placed: OperatorPlan) -> bool:
    return (
        option.machine == placed.device_id
        and option.cores == placed.cores
        and option.memory_bytes == placed.memory_bytes
        and option.accelerator_slots == placed.accelerator_slots
        and option.accelerator_memory_bytes == placed.accelerator_memory_bytes
        and option.batch == placed.batch
        and option.service.mean_ms == placed.service_ms
    )


def _replicas(work: _Audit, placed: list[_Placed]) -> None:
    """Shares sum to 1, and each set of replicas carries its share under the cap."""
    cap = work.problem.replica_utilization_cap
    for entry in placed:
        for step, loads in zip(entry.candidate.steps, entry.loads, strict=True):
            total = sum(operator.share_ratio for operator, _ in loads)
            if not isclose(total, 1.0, abs_tol=_TOLERANCE):
                work.say(entry.query.id, f"shares of {step.operator_id} sum to {total:.9g}")
            if len(loads) > 1 and not entry.query.splittable:
                work.say(entry.query.id, f"{step.operator_id} is split, which the query does not allow")
            if step.single and sum(operator.replicas for operator, _ in loads) > 1:
                work.say(entry.query.id, f"{step.operator_id} carries state and has more than one replica")
            for operator, option in loads:
                flow = entry.query.rate_per_s * step.items_per_item * operator.share_ratio
                most = cap * option.capacity_per_s * operator.replicas
                if flow > most * (1.0 + _TOLERANCE) or operator.replicas < 1:
                    work.say(
                        entry.query.id, f"{step.operator_id} gets {flow:.6g} items/s, its replicas may do {most:.6g}"
                    )


def _machines(work: _Audit, placed: list[_Placed]) -> dict[DeviceId, float]:
    """Replicas fit machine by machine; cost by machine."""
    held: dict[DeviceId, dict[str, dict[tuple[float, int, int, int], int]]] = defaultdict(dict)
    shares: dict[DeviceId, float] = defaultdict(float)
    cores: dict[DeviceId, float] = defaultdict(float)
    for entry in placed:
        for operator, option in (load for loads in entry.loads for load in loads):
            machine = work.network.machines[option.machine]
            owner = f"{entry.query.id}/{operator.operator_id}" if machine.exclusive else ""
            shape = (option.cores, option.memory_bytes, option.accelerator_slots, option.accelerator_memory_bytes)
            there = held[machine.id].setdefault(owner, {})
            there[shape] = there.get(shape, 0) + operator.replicas
            shares[machine.id] += dominant_share_ratio(machine, option) * operator.replicas
            cores[machine.id] += option.cores * operator.replicas
    claimed = {use.device_id: use for use in work.selection.machines}
    cost: dict[DeviceId, float] = {}
    for name, owners in held.items():
        machine = work.network.machines[name]
        size = (machine.cores, machine.memory_bytes, machine.accelerator_slots, machine.accelerator_memory_bytes)
        try:
            needed = sum(machines_needed(shapes, size) for shapes in owners.values())
        except ValueError as error:
            work.say(name, str(error))
            continue
        use = claimed.get(name)
        if machine.count is not None and needed > machine.count:
            work.say(name, f"replicas need {needed} machines, there are {machine.count}")
        if use is None or use.machines < needed:
            work.say(name, f"replicas need {needed} machines, {use.machines if use else 0} are claimed")
        if use is not None and not isclose(use.cores, cores[name], rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
            work.say(name, f"{cores[name]:.6g} cores are used, {use.cores:.6g} are claimed")
        whole = machine.billing is Billing.WHOLE
        cost[name] = machine.price_per_h * ((use.machines if use else needed) if whole else shares[name])
        if use is not None and not isclose(use.cost_per_h, cost[name], rel_tol=_TOLERANCE, abs_tol=1e-12):
            work.say(name, f"costs {cost[name]:.9g} per hour, {use.cost_per_h:.9g} is claimed")
    for name in claimed:
        if name not in held:
            work.say(name, "is said to be used and is not")
    return cost


def _bytes_of(candidate: Candidate, name: OperatorId) -> tuple[float, float]:
    """Items and bytes per item of an input."""
    if name == SOURCE:
        return 1.0, candidate.source_bytes
    step = next(step for step in candidate.steps if step.operator_id == name)
    return step.items_per_item, step.output_bytes


def _way(work: _Audit, entry: _Placed, chosen: tuple[tuple[OperatorPlan, Option], ...]) -> _Way | None:
    """A way through the plan, worked out step by step; None where a link is missing."""
    query, candidate = entry.query, entry.candidate
    options = {step.operator_id: option for step, (_, option) in zip(candidate.steps, chosen, strict=True)}
    bits: dict[tuple[DeviceId, DeviceId], float] = defaultdict(float)
    cost = 0.0
    ends: dict[OperatorId, _End] = {SOURCE: _End(at=START, cv2=query.arrival_cv2, back_ms=0.0, passed=(SOURCE,))}
    for step, (operator, option) in zip(candidate.steps, chosen, strict=True):
        arrivals = []
        for name in step.inputs:
            hop = work.network.hop(query.source if name == SOURCE else options[name].machine, option.machine)
            if hop is None:
                return None
            items, size = _bytes_of(candidate, name)
            cost += hop.price_per_byte * query.rate_per_s * items * size * SECONDS_PER_H
            if hop.wire is not None:
                bits[hop.wire.source, hop.wire.target] += query.rate_per_s * items * size * 8.0
            arrivals.append(_arrival(query, ends[name], hop, size))
        ends[step.operator_id] = _served(work, entry, step, option, operator, _joined(arrivals, ends))
    answer = _joined([replace(ends[n], at=ends[n].at.later(ends[n].back_ms)) for n in candidate.outputs], ends).at
    latency = percentile_ms(
        answer.mean_ms, answer.total_ms2(candidate.stage_correlation_ratio), query.slo.percentile_ratio
    )
    return _Way(
        options=tuple(option for _, option in chosen),
        traffic_cost_per_h=cost,
        bits_per_s=bits,
        latency_ms=float(latency),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _End:
    """The end of an operator, or an arrival from it. ``passed``: operators that every way to it passes, in order."""

    at: Moment
    cv2: float
    back_ms: float
    passed: tuple[OperatorId, ...]


def _arrival(query: QueryProblem, sent: _End, hop: Hop, size: float) -> _End:
    back = hop.back_ms if query.answer_to_source and query.source is not None else 0.0
    return replace(sent, at=sent.at.later(hop.transfer_ms(size)), back_ms=sent.back_ms + back)


def _joined(arrivals: list[_End], ends: Mapping[OperatorId, _End]) -> _End:
    """The latest of some arrivals."""
    last = arrivals[0]
    for other in arrivals[1:]:
        passed = tuple(name for name in last.passed if name in other.passed)
        last = _End(
            at=later_of(last.at, other.at, ends[passed[-1]].at),
            cv2=max(last.cv2, other.cv2),
            back_ms=max(last.back_ms, other.back_ms),
            passed=passed,
        )
    return last


def _served(work: _Audit, entry: _Placed, step: Step, option: Option, operator: OperatorPlan, arrival: _End) -> _End:
    query, candidate = entry.query, entry.candidate
    cap = work.problem.replica_utilization_cap
    rate = query.rate_per_s * step.items_per_item / operator.replicas
    stay, departure = stay_of(
        option,
        cap * option.capacity_per_s if query.splittable else rate,
        work.problem.waiting,
        replicas=1 if query.splittable else operator.replicas,
        items_ratio=items_ratio(candidate, step),
    ).moment(arrival.cv2, candidate.stage_correlation_ratio, arrival.at.deviation_ms)
    return _End(
        at=arrival.at.then(stay),
        cv2=float(departure),
        back_ms=arrival.back_ms,
        passed=(*arrival.passed, step.operator_id),
    )


def _slo(work: _Audit, entry: _Placed) -> None:
    """Bounds on accuracy and cost, and the probability asked for; latency is checked with the ways."""
    slo, plan, query = entry.query.slo, entry.plan, entry.query
    if slo.accuracy_ratio is not None and entry.candidate.accuracy.low < slo.accuracy_ratio:
        work.say(query.id, f"accuracy may be {entry.candidate.accuracy.low:.6g}, the bound is {slo.accuracy_ratio:.6g}")
    if slo.cost_per_h is not None and plan.cost_per_h > slo.cost_per_h * (1.0 + _TOLERANCE):
        work.say(query.id, f"costs {plan.cost_per_h:.6g} per hour, the bound is {slo.cost_per_h:.6g}")
    if slo.latency_ms is not None and plan.latency_ms.value > slo.latency_ms * (1.0 + _TOLERANCE):
        work.say(query.id, f"takes {plan.latency_ms.value:.6g} ms, the bound is {slo.latency_ms:.6g}")
    probability = slo_probability(query, entry.candidate, plan.latency_ms.value)
    asked = work.problem.slo_probability_ratio if slo.latency_ms is not None or slo.accuracy_ratio is not None else 0.0
    if probability < asked - _TOLERANCE or accuracy_probability_ratio(query, entry.candidate) < asked - _TOLERANCE:
        work.say(query.id, f"meets its SLO with probability {probability:.6g} only")
    if not isclose(probability, plan.slo_probability_ratio, abs_tol=_TOLERANCE):
        work.say(query.id, f"probability {plan.slo_probability_ratio:.6g} is claimed, it is {probability:.6g}")


def _traffic(work: _Audit, placed: list[_Placed]) -> None:
    """Shares are explained by ways that meet the SLO, within links and the claimed traffic cost."""
    columns: list[tuple[int, _Way]] = []
    for number, entry in enumerate(placed):
        ways = [_way(work, entry, chosen) for chosen in islice(product(*entry.loads), _MOST_WAYS)]
        bound = entry.query.slo.latency_ms
        fitting = [w for w in ways if w is not None and (bound is None or w.latency_ms <= bound * (1.0 + _TOLERANCE))]
        if not fitting:
            work.say(entry.query.id, "no way through its machines has links and meets the bound on latency")
        if not entry.query.splittable and fitting:
            _claimed(work, entry, fitting[0])
        columns += [(number, way) for way in fitting]
    if not columns or len({number for number, _ in columns}) < len(placed):
        return
    solved = _explained(work, placed, columns)
    if solved is None:
        work.say("", "no routes explain the shares within the capacity of the links")
        return
    claimed = work.selection.traffic_cost_per_h
    if solved > claimed + _TOLERANCE * max(1.0, claimed):
        work.say("", f"traffic costs {solved:.9g} per hour at least, {claimed:.9g} is claimed")
    unsplit = not any(entry.query.splittable for entry in placed)
    if unsplit and not isclose(solved, claimed, rel_tol=1e-5, abs_tol=1e-9):
        work.say("", f"traffic costs {solved:.9g} per hour, {claimed:.9g} is claimed")


def _claimed(work: _Audit, entry: _Placed, way: _Way) -> None:
    """An unsplit plan's own latency and cost."""
    claimed = entry.plan.latency_ms.value
    if claimed < 1e11 and not isclose(claimed, way.latency_ms, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE):
        work.say(entry.query.id, f"takes {way.latency_ms:.6g} ms, {claimed:.6g} is claimed")
    own = way.traffic_cost_per_h
    for operator, option in (load for loads in entry.loads for load in loads):
        machine = work.network.machines[option.machine]
        own += machine.price_per_h * dominant_share_ratio(machine, option) * operator.replicas
    if not isclose(own, entry.plan.cost_per_h, rel_tol=_TOLERANCE, abs_tol=1e-9):
        work.say(entry.query.id, f"costs {own:.9g} per hour by its shares, {entry.plan.cost_per_h:.9g} is claimed")


def _explained(work: _Audit, placed: list[_Placed], columns: list[tuple[int, _Way]]) -> float | None:
    """The least traffic cost of routes that give every operator plan its share; None if links do not carry them."""
    equal, shares = [], []
    for number, entry in enumerate(placed):
        for place, loads in enumerate(entry.loads):
            for operator, option in loads:
                equal.append([float(n == number and way.options[place] is option) for n, way in columns])
                shares.append(operator.share_ratio)
    rows, limits = [], []
    for key, wire in work.network.wires.items():
        load = [way.bits_per_s.get(key, 0.0) for _, way in columns]
        if wire.bandwidth_bit_per_s and any(load):
            most = work.problem.link_utilization_cap * wire.bandwidth_bit_per_s
            rows.append([value / most for value in load])
            limits.append(1.0 + _TOLERANCE)
    matrix, right = np.array(equal), np.array(shares)
    solved = linprog(
        [way.traffic_cost_per_h for _, way in columns],
        A_ub=np.vstack([matrix, -matrix, *([np.array(rows)] if rows else [])]),
        b_ub=np.concatenate([right + _TOLERANCE, _TOLERANCE - right, np.array(limits)]),
        bounds=(0.0, None),
        method="highs",
    )
    return float(solved.fun) if solved.status == 0 else None


def _totals(work: _Audit, placed: list[_Placed], machine_cost: Mapping[DeviceId, float]) -> None:
    """Goodput, cost, bounds and gaps add up."""
    selection = work.selection
    goodput = sum(entry.query.weight * entry.query.rate_per_s for entry in placed)
    checks = [
        ("goodput", goodput, selection.goodput_per_s),
        ("cost", sum(machine_cost.values()) + selection.traffic_cost_per_h, selection.cost_per_h),
        ("gap", _gap(selection.goodput_bound_per_s, selection.goodput_per_s), selection.gap_ratio),
        ("cost gap", _cost_gap(selection), selection.cost_gap_ratio),
    ]
    for name, right, claimed in checks:
        if not isclose(right, claimed, rel_tol=_TOLERANCE, abs_tol=1e-9):
            work.say("", f"{name} is {right:.9g}, {claimed:.9g} is claimed")
    if selection.goodput_bound_per_s < selection.goodput_per_s * (1.0 - 1e-9):
        work.say("", f"goodput {selection.goodput_per_s:.9g} is above its bound {selection.goodput_bound_per_s:.9g}")
    if selection.cost_bound_per_h > selection.cost_per_h * (1.0 + 1e-9) + 1e-12:
        work.say("", f"cost {selection.cost_per_h:.9g} is below its bound {selection.cost_bound_per_h:.9g}")


def _gap(bound: float, reached: float) -> float:
    return (bound - reached) / bound if bound > 0.0 else 0.0


def _cost_gap(selection: Selection) -> float:
    if selection.cost_per_h <= 0.0:
        return 0.0
    return (selection.cost_per_h - selection.cost_bound_per_h) / selection.cost_per_h
