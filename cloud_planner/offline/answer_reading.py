"""A printed answer back into the selection that it tells. PURE.

The answer has nine digits. Where a figure of the tables, rounded, is what the answer says, the table's own is taken:
what was printed from a selection gives that selection again, and what was changed stays changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf

from circinus.model.device import DeviceId
from circinus.model.pipeline import Configuration, KnobValue, OperatorId
from circinus.model.plan import Interval, MachineUse, OperatorPlan, Plan, Selection, UnplacedQuery
from circinus.model.query import QueryId
from cloud_planner.core.audited import Finding
from cloud_planner.core.problem import Candidate, Objective, Option, QueryProblem
from cloud_planner.offline.answer import VERSION, number
from cloud_planner.offline.assemble import Assembly
from cloud_planner.record_values import Reader

#: What rounding to nine digits may do to a ratio of two figures.
_ROUNDING = 2e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class _Interval:
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operator:
    operator: OperatorId
    machine: DeviceId
    replicas: int
    share_ratio: float
    cores: float
    batch: int
    memory_mb: float
    accelerator_slots: int
    accelerator_memory_mb: float
    service_ms: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    query: QueryId
    rate_per_s: float
    weight: float
    configuration: Mapping[str, KnobValue]
    operators: tuple[_Operator, ...]
    latency_ms: _Interval
    latency_percentile: float
    latency_p50_ms: float | None
    accuracy: _Interval | None
    cost_per_h: float
    billed_per_h: float
    slo_probability_ratio: float
    item_goodput_per_s: float | None
    runner_up: str
    runner_up_cost_per_h: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unplaced:
    query: QueryId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    machine: DeviceId
    machines: int
    cores: float
    cost_per_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    version: int
    objective: Objective
    plans: tuple[_Plan, ...]
    unplaced: tuple[_Unplaced, ...]
    machines: tuple[_Machine, ...]
    traffic_cost_per_h: float
    goodput_per_s: float
    goodput_bound_per_s: float
    gap_ratio: float
    cost_per_h: float
    cost_bound_per_h: float
    cost_gap_ratio: float
    solver_status: str


def read_answer(document: object, assembly: Assembly) -> tuple[Selection, tuple[Finding, ...]]:
    """The selection that a decoded answer tells, and what it says of its problem that isn't so.

    Raises:
        InvalidInput: the document is no answer; its violations say where what is wrong.
    """
    reader = Reader()
    answer = reader.read(_Answer, document, "answer")
    reader.done()
    queries = {query.id: query for query in assembly.problem.queries}
    findings = [finding for plan in answer.plans if plan.query in queries for finding in _said(plan, queries, assembly)]
    if answer.version != VERSION:
        findings.append(Finding(subject="", message=f"version {answer.version} is not {VERSION}"))
    if answer.objective is not assembly.problem.objective:
        said = f"the objective is {assembly.problem.objective}, {answer.objective} is claimed"
        findings.append(Finding(subject="", message=said))
    selection = Selection(
        plans=tuple(_plan(plan, queries.get(plan.query), assembly) for plan in answer.plans),
        unplaced=tuple(UnplacedQuery(query_id=entry.query, reason=entry.reason) for entry in answer.unplaced),
        machines=tuple(
            MachineUse(device_id=use.machine, machines=use.machines, cores=use.cores, cost_per_h=use.cost_per_h)
            for use in answer.machines
        ),
        traffic_cost_per_h=answer.traffic_cost_per_h,
        goodput_per_s=answer.goodput_per_s,
        goodput_bound_per_s=answer.goodput_bound_per_s,
        gap_ratio=_gap(answer.gap_ratio, answer.goodput_bound_per_s - answer.goodput_per_s, answer.goodput_bound_per_s),
        cost_per_h=answer.cost_per_h,
        cost_bound_per_h=answer.cost_bound_per_h,
        cost_gap_ratio=_gap(answer.cost_gap_ratio, answer.cost_per_h - answer.cost_bound_per_h, answer.cost_per_h),
        solver_status=answer.solver_status,
    )
    return selection, tuple(findings)


def _gap(said: float, distance: float, whole: float) -> float:
    """A gap, worked out again from rounded figures where it differs by no more than rounding may do."""
    right = distance / whole if whole > 0.0 else 0.0
    return right if abs(right - said) <= _ROUNDING else said


def _said(plan: _Plan, queries: Mapping[QueryId, QueryProblem], assembly: Assembly) -> Iterable[Finding]:
    """What a plan says of its query."""
    query = queries[plan.query]
    told = {
        "rate": (number(query.rate_per_s), plan.rate_per_s),
        "weight": (number(query.weight), plan.weight),
        "percentile": (number(query.slo.percentile_ratio), plan.latency_percentile),
    }
    for name, (right, claimed) in told.items():
        if right != claimed:
            yield Finding(subject=query.id, message=f"its {name} is {right:.9g}, {claimed:.9g} is claimed")
    if (plan.accuracy is not None) != assembly.has_accuracy[query.id]:
        yield Finding(subject=query.id, message="accuracy is told of a pipeline without, or not of one with")
    if (plan.item_goodput_per_s is not None) != assembly.is_ratio[query.id]:
        yield Finding(subject=query.id, message="item goodput is told where accuracy is no ratio, or not where it is")


def _plan(plan: _Plan, query: QueryProblem | None, assembly: Assembly) -> Plan:
    candidates = query.candidates if query is not None else ()
    matching = [candidate for candidate in candidates if _same(candidate.configuration, plan.configuration)]
    accuracy = _interval(plan.accuracy)
    candidate = next(
        (one for one in matching if plan.accuracy is None or _rounded(one.accuracy) == accuracy),
        matching[0] if matching else None,
    )
    if candidate is not None and (plan.accuracy is None or _rounded(candidate.accuracy) == accuracy):
        accuracy = candidate.accuracy
    found = Plan(
        query_id=plan.query,
        configuration=plan.configuration if candidate is None else candidate.configuration,
        operators=tuple(_operator(part, candidate) for part in plan.operators),
        latency_ms=_interval(plan.latency_ms),
        latency_p50_ms=inf if plan.latency_p50_ms is None else plan.latency_p50_ms,
        accuracy_ratio=accuracy,
        cost_per_h=plan.cost_per_h,
        billed_per_h=plan.billed_per_h,
        slo_probability_ratio=plan.slo_probability_ratio,
        item_goodput_per_s=plan.item_goodput_per_s or 0.0,
        runner_up=plan.runner_up,
        runner_up_cost_per_h=plan.runner_up_cost_per_h,
    )
    if query is not None and candidate is not None and not assembly.is_ratio[query.id]:
        return replace(found, item_goodput_per_s=_untold_item_goodput(query, candidate))
    return found


def _untold_item_goodput(query: QueryProblem, candidate: Candidate) -> float:
    """Item goodput means nothing where accuracy is no ratio, and is not printed: any figure will do."""
    return query.weight * query.rate_per_s * candidate.accuracy.value


def _same(configuration: Configuration, printed: Configuration) -> bool:
    """Whether a configuration prints so; 1, 1.0 and true are different values."""
    if set(configuration) != set(printed):
        return False
    return all(_knob(value) == _knob(printed[name]) for name, value in configuration.items())


def _knob(value: KnobValue) -> tuple[bool, KnobValue | None]:
    # YAML and JSON may write 2.0 as 2.
    return isinstance(value, bool), number(float(value)) if isinstance(value, (int, float)) else value


def _interval(interval: _Interval | None) -> Interval:
    if interval is None:
        return Interval(value=0.0, low=0.0, high=0.0)
    value, low, high = (inf if end is None else end for end in (interval.value, interval.low, interval.high))
    return Interval(value=value, low=low, high=high)


def _rounded(interval: Interval) -> Interval:
    value, low, high = (number(end) for end in (interval.value, interval.low, interval.high))
    return _interval(_Interval(value=value, low=low, high=high))


def _operator(part: _Operator, candidate: Candidate | None) -> OperatorPlan:
    steps = candidate.steps if candidate is not None else ()
    option = next(
        (o for step in steps if step.operator_id == part.operator for o in step.options if _prints(o, part)), None
    )
    return OperatorPlan(
        operator_id=part.operator,
        device_id=part.machine,
        replicas=part.replicas,
        share_ratio=part.share_ratio,
        cores=option.cores if option is not None else part.cores,
        accelerator_slots=part.accelerator_slots,
        accelerator_memory_bytes=option.accelerator_memory_bytes
        if option is not None
        else round(part.accelerator_memory_mb * 1e6),
        memory_bytes=option.memory_bytes if option is not None else round(part.memory_mb * 1e6),
        batch=part.batch,
        service_ms=option.service.mean_ms if option is not None else part.service_ms,
    )


def _prints(option: Option, part: _Operator) -> bool:
    return (
        option.machine == part.machine
        and option.batch == part.batch
        and option.accelerator_slots == part.accelerator_slots
        and number(option.cores) == part.cores
        and number(option.memory_bytes / 1e6) == part.memory_mb
        and number(option.accelerator_memory_bytes / 1e6) == part.accelerator_memory_mb
        and number(option.service.mean_ms) == part.service_ms
    )
