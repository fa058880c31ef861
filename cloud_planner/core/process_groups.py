"""The replicas of plans on a device -> the processes that serve them. PURE.

Replicas of one operator with the same code and knobs are served by the same processes, whoever's they are:

- What the selection pools (sharing.py) is in as many processes as it planned: whole cores have one each, and what is
  smaller fills processes of a core.
- Other replicas smaller than a core are put together only with those of the same core share and content. Nobody is
  worse off for that: n flows, each of which has a part c of a core, find one server that is n times as fast. If all
  come at once, the last one is ready when it would have been ready alone; on average it is ready sooner.

What carries state, and what has a core or more of its own, lives alone. The key of such processes leaves out whose they
are, how many there are of them in one process and what they take, so that a process stays as queries come and go.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, fsum

from circinus.model.directive import ReplicaSet, Use
from circinus.model.pipeline import KnobValue, OperatorSpec, RegisteredPipeline, State
from circinus.model.plan import OperatorPlan
from circinus.model.query import Query

#: What one process serves; operators are single-threaded.
PROCESS_CORES = 1.0
_SLACK = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The replicas of an operator of a query on a device. ``pooled``: the selection counts on it that others share."""

    query: Query
    registered: RegisteredPipeline
    operator: OperatorSpec
    placed: OperatorPlan
    knobs: Mapping[str, KnobValue]
    use: Use
    pooled: bool = False


def replica_sets(runs: Sequence[Run]) -> tuple[ReplicaSet, ...]:
    """The replica sets of one device, in the order of the first run of each."""
    groups: dict[str, list[Run]] = {}
    for number, run in enumerate(runs):
        groups.setdefault(_pool(run) or f"alone {number}", []).append(run)
    return tuple(_together(name, group) if _pool(group[0]) else _alone(group[0]) for name, group in groups.items())


def process_key(*parts: object) -> str:
    """Short identity of what a process is; 80 bits keep apart all that a fleet will ever run."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


def _pool(run: Run) -> str:
    """What it has in common with all whose processes it shares; empty: it lives alone."""
    placed, operator = run.placed, run.operator
    if operator.state is State.PER_SOURCE or placed.cores >= PROCESS_CORES - _SLACK:
        return ""
    if placed.accelerator_slots > 0 and not run.pooled:
        return ""
    return process_key(
        "pool",
        operator.id,
        run.registered.bundle_digest,
        run.registered.environment_digest,
        operator.entry_point,
        dict(run.knobs),
        placed.batch,
        placed.accelerator_slots,
        operator.hang_ms,
        list(operator.inputs),
        run.registered.pipeline.split_by(operator.id),
        operator.each,
        [] if run.pooled else [placed.cores, run.registered.pipeline.id, run.query.content],
    )


def _together(name: str, group: Sequence[Run]) -> ReplicaSet:
    runs = sorted(group, key=lambda run: run.query.id)
    first = runs[0]
    cores = fsum(run.placed.cores * run.placed.replicas for run in runs)
    alone = len({run.query.id for run in runs}) == 1 and len(runs) == 1
    replicas = first.placed.replicas if alone else max(1, ceil(cores / PROCESS_CORES - _SLACK))
    slots = sum(run.placed.accelerator_slots * run.placed.replicas for run in runs)
    return _replica_set(
        first,
        key=process_key(name, replicas),
        replicas=replicas,
        cores=first.placed.cores if alone else cores / replicas,
        accelerator_slots=-(-slots // replicas),
        accelerator_memory_bytes=max(run.placed.accelerator_memory_bytes for run in runs),
        memory_bytes=max(run.placed.memory_bytes for run in runs),
        uses=tuple(replace(run.use, cores=run.placed.cores, replicas=run.placed.replicas) for run in runs),
    )


def _alone(run: Run) -> ReplicaSet:
    placed = run.placed
    return _replica_set(
        run,
        key=process_key(
            run.query.id,
            run.registered.pipeline.id,
            run.operator.id,
            run.registered.bundle_digest,
            run.registered.environment_digest,
            run.operator.entry_point,
            dict(run.knobs),
            placed.replicas,
            placed.cores,
            placed.accelerator_slots,
            placed.accelerator_memory_bytes,
            placed.memory_bytes,
            placed.batch,
            run.operator.hang_ms,
            list(run.operator.inputs),
        ),
        replicas=placed.replicas,
        cores=placed.cores,
        accelerator_slots=placed.accelerator_slots,
        accelerator_memory_bytes=placed.accelerator_memory_bytes,
        memory_bytes=placed.memory_bytes,
        uses=(run.use,),
    )


def _replica_set(
    run: Run,
    *,
    key: str,
    replicas: int,
    cores: float,
    accelerator_slots: int,
    accelerator_memory_bytes: int,
    memory_bytes: int,
    uses: tuple[Use, ...],
) -> ReplicaSet:
    return ReplicaSet(
        key=key,
        query_id=run.query.id,
        pipeline_id=run.registered.pipeline.id,
        operator_id=run.operator.id,
        bundle_digest=run.registered.bundle_digest,
        environment_digest=run.registered.environment_digest,
        entry_point=run.operator.entry_point,
        knobs=run.knobs,
        replicas=replicas,
        cores=cores,
        accelerator_slots=accelerator_slots,
        accelerator_memory_bytes=accelerator_memory_bytes,
        memory_bytes=memory_bytes,
        batch=run.placed.batch,
        hang_ms=run.operator.hang_ms,
        inputs=run.operator.inputs,
        uses=uses,
        split_by=run.registered.pipeline.split_by(run.operator.id),
        each=run.operator.each,
    )


__all__ = ["PROCESS_CORES", "Run", "process_key", "replica_sets"]
