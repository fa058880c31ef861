"""Whether shares are explained by ways that have links, meet the SLO and fit into what links carry. PURE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from itertools import islice, product
from math import isclose

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array, vstack

from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.plan import OperatorPlan
from cloud_planner.core.audit_sharing import lives_in_process, merged_steps
from cloud_planner.core.audited import TOLERANCE, Audit, Placed
from cloud_planner.core.estimate import dominant_share_ratio, items_ratio, percentile_ms, stay_of
from cloud_planner.core.moment import START, Moment, later_of
from cloud_planner.core.network import SECONDS_PER_H, Hop
from cloud_planner.core.problem import Candidate, Option, QueryProblem, Step

#: More ways through a split plan than this are not looked at; the finding says so.
_MOST_WAYS = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """One option for each step: what it costs in traffic and puts on links if all items go this way.

    ``own_cost_per_h``: of its bytes if nothing of it ran for another query as well.
    """

    options: tuple[Option, ...]
    own_cost_per_h: float
    traffic_cost_per_h: float
    bits_per_s: Mapping[tuple[DeviceId, DeviceId], float]
    latency_ms: float


def _bytes_of(candidate: Candidate, name: OperatorId) -> tuple[float, float]:
    """Items and bytes per item of an input."""
    if name == SOURCE:
        return 1.0, candidate.source_bytes
    step = next(step for step in candidate.steps if step.operator_id == name)
    return step.items_per_item, step.output_bytes


def _way(
    work: Audit, entry: Placed, chosen: tuple[tuple[OperatorPlan, Option], ...], merged: Container[OperatorId]
) -> _Way | None:
    """A way through the plan, worked out step by step; None where a link is missing.

    ``merged``: steps that run already, so that nothing needs to be sent to them.
    """
    query, candidate = entry.query, entry.candidate
    options = {step.operator_id: option for step, (_, option) in zip(candidate.steps, chosen, strict=True)}
    bits: dict[tuple[DeviceId, DeviceId], float] = defaultdict(float)
    cost = own = 0.0
    ends: dict[OperatorId, _End] = {SOURCE: _End(at=START, cv2=query.arrival_cv2, back_ms=0.0, passed=(SOURCE,))}
    for step, (operator, option) in zip(candidate.steps, chosen, strict=True):
        arrivals = []
        for name in step.inputs:
            hop = work.network.hop(query.source if name == SOURCE else options[name].machine, option.machine)
            if hop is None or _leaves_site(work, entry, step, name, options):
                return None
            items, size = _bytes_of(candidate, name)
            price = hop.price_per_byte * query.rate_per_s * items * size * SECONDS_PER_H
            own += price
            if step.operator_id not in merged:
                cost += price
            if hop.wire is not None and step.operator_id not in merged:
                bits[hop.wire.source, hop.wire.target] += query.rate_per_s * items * size * 8.0
            arrivals.append(_arrival(query, ends[name], hop, hop.delay_ms + _sending_ms(work, hop, size)))
        ends[step.operator_id] = _served(work, entry, step, option, operator, _joined(arrivals, ends))
    answer = _joined([replace(ends[n], at=ends[n].at.later(ends[n].back_ms)) for n in candidate.outputs], ends).at
    latency = percentile_ms(
        answer.mean_ms, answer.total_ms2(candidate.stage_correlation_ratio), query.slo.percentile_ratio
    )
    return _Way(
        options=tuple(option for _, option in chosen),
        own_cost_per_h=own,
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


def _leaves_site(
    work: Audit, entry: Placed, step: Step, name: OperatorId, options: Mapping[OperatorId, Option]
) -> bool:
    """Whether a step gets items from another site that may not leave theirs."""
    start = entry.query.source if name == SOURCE else options[name].machine
    target = options[step.operator_id].machine
    if name not in step.site_inputs or start is None or start == target:
        return False
    machines = work.network.machines
    return start not in machines or machines[start].site != machines[target].site


def _sending_ms(work: Audit, hop: Hop, size: float) -> float:
    """How long an item's bytes take at the narrowest of a link and its uplinks."""
    if hop.wire is None:
        return 0.0
    ends = (hop.wire.source, hop.wire.target)
    widths = [uplink.bandwidth_bit_per_s for uplink in work.problem.uplinks if ends in uplink.wires]
    if hop.wire.bandwidth_bit_per_s:
        widths.append(hop.wire.bandwidth_bit_per_s)
    return max((size * 8e3 / width for width in widths), default=0.0)


def _arrival(query: QueryProblem, sent: _End, hop: Hop, transfer_ms: float) -> _End:
    back = hop.back_ms if query.answer_to_source and query.source is not None else 0.0
    return replace(sent, at=sent.at.later(transfer_ms), back_ms=sent.back_ms + back)


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


def _served(work: Audit, entry: Placed, step: Step, option: Option, operator: OperatorPlan, arrival: _End) -> _End:
    query, candidate = entry.query, entry.candidate
    cap = work.problem.replica_utilization_cap
    rate = query.rate_per_s * step.items_per_item / operator.replicas
    steady = query.splittable or lives_in_process(work, query, step, work.network.machines[option.machine])
    stay, departure = stay_of(
        option,
        cap * option.capacity_per_s if steady else rate,
        work.problem.waiting,
        replicas=1 if steady else operator.replicas,
        items_ratio=items_ratio(candidate, step),
    ).moment(arrival.cv2, candidate.stage_correlation_ratio, arrival.at.deviation_ms)
    return _End(
        at=arrival.at.then(stay),
        cv2=float(departure),
        back_ms=arrival.back_ms,
        passed=(*arrival.passed, step.operator_id),
    )


def check_traffic(work: Audit, placed: list[Placed]) -> None:
    """Shares are explained by ways that meet the SLO, within links and the claimed traffic cost."""
    columns: list[tuple[int, _Way]] = []
    merged = merged_steps(work, placed)
    for number, entry in enumerate(placed):
        here: Container[OperatorId] = merged.get(entry.query.id, frozenset[OperatorId]())
        ways = [_way(work, entry, chosen, here) for chosen in islice(product(*entry.loads), _MOST_WAYS)]
        bound = entry.query.slo.latency_ms
        fitting = [w for w in ways if w is not None and (bound is None or w.latency_ms <= bound * (1.0 + TOLERANCE))]
        if not fitting:
            why = "has links, keeps data at its site where it must, and meets the bound on latency"
            work.say(entry.query.id, f"no way through its machines {why}")
        if not entry.query.splittable and fitting:
            _claimed(work, entry, fitting[0])
        columns += [(number, way) for way in fitting]
    if not columns or len({number for number, _ in columns}) < len(placed):
        return
    solved = _explained(work, placed, columns)
    if solved is None:
        work.say("", "no routes explain the shares within the capacity of links and uplinks")
        return
    claimed = work.selection.traffic_cost_per_h
    if solved > claimed + TOLERANCE * max(1.0, claimed):
        work.say("", f"traffic costs {solved:.9g} per hour at least, {claimed:.9g} is claimed")
    unsplit = not any(entry.query.splittable for entry in placed)
    if unsplit and not isclose(solved, claimed, rel_tol=1e-5, abs_tol=1e-9):
        work.say("", f"traffic costs {solved:.9g} per hour, {claimed:.9g} is claimed")


def _claimed(work: Audit, entry: Placed, way: _Way) -> None:
    """An unsplit plan's own latency and cost."""
    claimed = entry.plan.latency_ms.value
    if claimed < 1e11 and not isclose(claimed, way.latency_ms, rel_tol=TOLERANCE, abs_tol=TOLERANCE):
        work.say(entry.query.id, f"takes {way.latency_ms:.6g} ms, {claimed:.6g} is claimed")
    own = way.own_cost_per_h
    for operator, option in (load for loads in entry.loads for load in loads):
        machine = work.network.machines[option.machine]
        own += machine.price_per_h * dominant_share_ratio(machine, option) * operator.replicas
    if not isclose(own, entry.plan.cost_per_h, rel_tol=TOLERANCE, abs_tol=1e-9):
        work.say(entry.query.id, f"costs {own:.9g} per hour by its shares, {entry.plan.cost_per_h:.9g} is claimed")


def _explained(work: Audit, placed: list[Placed], columns: list[tuple[int, _Way]]) -> float | None:
    """The least traffic cost of routes that give every operator plan its share; None if links do not carry them."""
    equal, below = _Rows(), _Rows()
    own: dict[int, list[int]] = defaultdict(list)
    crossing: dict[tuple[DeviceId, DeviceId], dict[int, float]] = defaultdict(dict)
    for index, (number, way) in enumerate(columns):
        own[number].append(index)
        for ends, bits in way.bits_per_s.items():
            crossing[ends][index] = bits
    for number, entry in enumerate(placed):
        for place, loads in enumerate(entry.loads):
            for operator, option in loads:
                taking = {index: 1.0 for index in own[number] if columns[index][1].options[place] is option}
                equal.add(taking, operator.share_ratio)
    for key, wire in work.network.wires.items():
        if wire.bandwidth_bit_per_s and any(crossing[key].values()):
            most = work.problem.link_utilization_cap * wire.bandwidth_bit_per_s
            below.add({index: bits / most for index, bits in crossing[key].items()}, 1.0 + TOLERANCE)
    for uplink in work.problem.uplinks:
        load: dict[int, float] = defaultdict(float)
        for ends in set(uplink.wires):
            for index, bits in crossing[ends].items():
                load[index] += bits
        if any(load.values()):
            most = work.problem.link_utilization_cap * uplink.bandwidth_bit_per_s
            below.add({index: bits / most for index, bits in load.items()}, 1.0 + TOLERANCE)
    matrix, right = equal.matrix(len(columns)), np.array(equal.limits)
    solved = linprog(
        [way.traffic_cost_per_h for _, way in columns],
        A_ub=vstack([matrix, -matrix, below.matrix(len(columns))], format="csc"),
        b_ub=np.concatenate([right + TOLERANCE, TOLERANCE - right, np.array(below.limits)]),
        bounds=(0.0, None),
        method="highs",
    )
    return float(solved.fun) if solved.status == 0 else None


class _Rows:
    """Rows of a sparse matrix, each with its limit."""

    def __init__(self) -> None:
        self.limits: list[float] = []
        self._row: list[int] = []
        self._column: list[int] = []
        self._value: list[float] = []

    def add(self, terms: Mapping[int, float], limit: float) -> None:
        self._row += [len(self.limits)] * len(terms)
        self._column += terms.keys()
        self._value += terms.values()
        self.limits.append(limit)

    def matrix(self, columns: int) -> csr_array:
        return csr_array((self._value, (self._row, self._column)), shape=(len(self.limits), columns), dtype=float)
