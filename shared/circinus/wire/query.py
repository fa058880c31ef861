"""Queries and their SLOs."""

from __future__ import annotations

from circinus.errors import InvalidInput, Violation
from circinus.model.device import DeviceId
from circinus.model.pipeline import PipelineId
from circinus.model.query import DEFAULT_PERCENTILE_RATIO, Budget, Guarantee, Query, QueryId, Slo
from circinus.v1 import types_pb2
from circinus.wire import check

_MAX_RATE_PER_S = 1e6
_MAX_BUDGET = 1e12
_GUARANTEE_TO_MESSAGE = {
    Guarantee.POOL: types_pb2.GUARANTEE_POOL,
    Guarantee.POPULATION: types_pb2.GUARANTEE_POPULATION,
}
_GUARANTEE_FROM_MESSAGE = {
    types_pb2.GUARANTEE_UNSPECIFIED: Guarantee.POOL,
    **{message: guarantee for guarantee, message in _GUARANTEE_TO_MESSAGE.items()},
}


def slo_to_message(slo: Slo) -> types_pb2.Slo:
    """An SLO's message."""
    return types_pb2.Slo(
        latency_ms=slo.latency_ms,
        percentile_ratio=slo.percentile_ratio,
        accuracy_ratio=slo.accuracy_ratio,
        accuracy_margin_ratio=slo.accuracy_margin_ratio,
        cost_per_h=slo.cost_per_h,
    )


def slo_from_message(message: types_pb2.Slo) -> Slo:
    """The SLO in a message.

    Raises:
        InvalidInput: a bound is not a number, or not above zero, or a ratio is too large.
    """

    def bound(name: str, high: float) -> float | None:
        if not message.HasField(name):
            return None
        value: float = getattr(message, name)
        if value <= 0.0:
            raise InvalidInput(
                f"slo.{name}: {value!r} can't be met by anything; give a bound above 0, or leave it out",
                (Violation(field=f"slo.{name}", message="must be above 0"),),
            )
        return check.number(f"slo.{name}", value, high=high)

    percentile_ratio = bound("percentile_ratio", 0.9999)
    return Slo(
        latency_ms=bound("latency_ms", 1e9),
        percentile_ratio=DEFAULT_PERCENTILE_RATIO if percentile_ratio is None else percentile_ratio,
        accuracy_ratio=bound("accuracy_ratio", 1.0),
        accuracy_margin_ratio=check.ratio("slo.accuracy_margin_ratio", message.accuracy_margin_ratio),
        cost_per_h=bound("cost_per_h", 1e9),
    )


def budget_to_message(budget: Budget) -> types_pb2.Budget:
    """A budget's message."""
    return types_pb2.Budget(samples=budget.samples, seconds=budget.seconds, cost=budget.cost)


def budget_from_message(message: types_pb2.Budget) -> Budget:
    """The budget in a message.

    Raises:
        InvalidInput: a limit is not a number, or not above zero.
    """

    def limit(name: str) -> float | None:
        if not message.HasField(name):
            return None
        value: float = getattr(message, name)
        if value <= 0:
            raise InvalidInput(
                f"budget.{name}: {value!r} leaves nothing to profile with; give a limit above 0, or leave it out",
                (Violation(field=f"budget.{name}", message="must be above 0"),),
            )
        return check.number(f"budget.{name}", value, high=_MAX_BUDGET)

    samples = limit("samples")
    return Budget(samples=None if samples is None else int(samples), seconds=limit("seconds"), cost=limit("cost"))


def _guarantee_from_message(message: types_pb2.Guarantee) -> Guarantee:
    # A promise that isn't understood must not be made weaker than it was meant.
    if message not in _GUARANTEE_FROM_MESSAGE:
        raise InvalidInput(
            f"guarantee: {message} is unknown here; use a planner of the client's version",
            (Violation(field="guarantee", message="is unknown"),),
        )
    return _GUARANTEE_FROM_MESSAGE[message]


def query_to_message(query: Query) -> types_pb2.Query:
    """A query's message."""
    return types_pb2.Query(
        id=query.id,
        pipeline_id=query.pipeline_id,
        content=query.content,
        source_device_id=query.source_device_id,
        rate_per_s=query.rate_per_s,
        weight=query.weight,
        slo=slo_to_message(query.slo),
        guarantee=_GUARANTEE_TO_MESSAGE[query.guarantee],
        budget=budget_to_message(query.budget),
        input=query.input,
        stand_by=query.stand_by,
        sink=query.sink,
        selector=query.selector,
    )


def query_from_message(message: types_pb2.Query) -> Query:
    """The query in a message; its id may be empty.

    Raises:
        InvalidInput: a field is bad.
    """
    return Query(
        id=QueryId(check.name("id", message.id, empty=True)),
        pipeline_id=PipelineId(check.name("pipeline_id", message.pipeline_id)),
        content=check.name("content", message.content),
        source_device_id=DeviceId(check.name("source_device_id", message.source_device_id)),
        rate_per_s=check.number("rate_per_s", message.rate_per_s, low=1e-6, high=_MAX_RATE_PER_S),
        weight=check.number("weight", message.weight or 1.0, low=1e-6, high=1e6),
        slo=slo_from_message(message.slo),
        guarantee=_guarantee_from_message(message.guarantee),
        budget=budget_from_message(message.budget),
        input=check.uri("input", message.input),
        stand_by=message.stand_by,
        sink=check.sink("sink", message.sink),
        selector=check.selector("selector", message.selector),
    )
