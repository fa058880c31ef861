"""A plan on one device -> the processes that are kept warm for it, and the way of items through them. PURE."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

from circinus.model.directive import ReplicaSet, Route, Target, Use
from circinus.model.pipeline import SOURCE, OperatorId, RegisteredPipeline, knobs_of
from circinus.model.plan import OperatorPlan, Plan
from circinus.model.query import Query


def replica_set(query: Query, registered: RegisteredPipeline, plan: Plan, placed: OperatorPlan) -> ReplicaSet:
    """What runs one operator of a local plan."""
    operator = next(one for one in registered.pipeline.operators if one.id == placed.operator_id)
    one = ReplicaSet(
        key="",
        query_id=query.id,
        pipeline_id=registered.pipeline.id,
        operator_id=operator.id,
        bundle_digest=registered.bundle_digest,
        environment_digest=registered.environment_digest,
        entry_point=operator.entry_point,
        knobs=knobs_of(plan.configuration, operator.id),
        replicas=placed.replicas,
        cores=placed.cores,
        accelerator_slots=placed.accelerator_slots,
        accelerator_memory_bytes=placed.accelerator_memory_bytes,
        memory_bytes=placed.memory_bytes,
        batch=placed.batch,
        hang_ms=operator.hang_ms,
        inputs=operator.inputs,
        uses=(
            Use(
                query_id=query.id,
                operator_id=operator.id,
                inputs=operator.inputs,
                rate_per_s=query.rate_per_s,
                weight=query.weight,
                after_ms=round(_after_ms(registered, plan, operator.id), 1),
                deadline_ms=query.slo.latency_ms or 0.0,
            ),
        ),
        split_by=registered.pipeline.split_by(operator.id),
        each=operator.each,
    )
    return replace(one, key=_key(one))


def _key(one: ReplicaSet) -> str:
    """Identity of a process that is kept warm; never that of one that serves a plan."""
    parts = [
        "stand_by",
        one.query_id,
        one.pipeline_id,
        one.operator_id,
        one.bundle_digest,
        one.environment_digest,
        one.entry_point,
        dict(one.knobs),
        one.replicas,
        one.cores,
        one.accelerator_slots,
        one.accelerator_memory_bytes,
        one.memory_bytes,
        one.batch,
        one.hang_ms,
        list(one.inputs),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def same_process(one: ReplicaSet, other: ReplicaSet) -> bool:
    """Whether one process can be both."""
    return replace(one, key="", uses=()) == replace(other, key="", uses=())


def routes_of(query: Query, registered: RegisteredPipeline) -> tuple[Route, ...]:
    """The way of items through a query's operators, all on its source device."""
    here = (Target(device_id=query.source_device_id, share_ratio=1.0),)
    pipeline = registered.pipeline
    routes = [
        Route(query_id=query.id, operator_id=operator.id, inputs=operator.inputs, targets=here, each=operator.each)
        for operator in pipeline.operators
    ]
    routes.append(Route(query_id=query.id, operator_id=SOURCE, inputs=pipeline.outputs, targets=here))
    return tuple(routes)


def _after_ms(registered: RegisteredPipeline, plan: Plan, operator_id: OperatorId) -> float:
    """How long what follows an operator serves an item, on the longest way."""
    service_ms = {placed.operator_id: placed.service_ms for placed in plan.operators}
    readers = [one.id for one in registered.pipeline.operators if operator_id in one.inputs]
    return max((service_ms[one] + _after_ms(registered, plan, one) for one in readers), default=0.0)
