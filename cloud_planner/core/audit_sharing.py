"""What queries share, worked out again from a selection's plans. PURE."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import ceil

from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.query import QueryId
from cloud_planner.core.audited import Audit, Placed
from cloud_planner.core.problem import Machine, Option, QueryProblem, Sharing, Step


def lives_in_process(work: Audit, query: QueryProblem, step: Step, machine: Machine) -> bool:
    """Whether a step's replicas live in processes that others may share."""
    return step.pooled and not step.single and _may_share(work, query, step, machine)


def _may_share(work: Audit, query: QueryProblem, step: Step, machine: Machine) -> bool:
    shared = work.problem.sharing is not Sharing.NONE and not query.splittable
    return shared and bool(step.share_key) and machine.count == 1 and not machine.exclusive


def merged_steps(work: Audit, placed: list[Placed]) -> dict[QueryId, set[OperatorId]]:
    """By query, the steps that another one, which stands before it, runs for it."""
    if work.problem.sharing is not Sharing.PREFIX:
        return {}
    streams = Counter(
        (query.stream, query.source, query.rate_per_s)
        for query in work.problem.queries
        if query.stream and not query.splittable
    )
    running: set[object] = set()
    merged: dict[QueryId, set[OperatorId]] = {}
    for entry in placed:
        query = entry.query
        stream = (query.stream, query.source, query.rate_per_s)
        if query.splittable or streams[stream] < 2:
            continue
        does: dict[OperatorId, object] = {SOURCE: (stream, entry.candidate.source_bytes)}
        own: set[object] = set()
        for step, loads in zip(entry.candidate.steps, entry.loads, strict=True):
            (operator, option), *_ = loads
            behind = [does.get(name) for name in step.inputs]
            machine = work.network.machines[option.machine]
            if not _may_share(work, query, step, machine) or None in behind:
                continue
            what = (step.share_key, step.items_per_item, step.output_bytes, option, operator.replicas, *behind)
            if what in own:
                continue
            own.add(what)
            does[step.operator_id] = what
            if what in running:
                merged.setdefault(query.id, set()).add(step.operator_id)
        running |= own
    return merged


def process_memory(work: Audit, machine: Machine, cores_by_key: dict[str, float]) -> tuple[int, int]:
    """Memory and accelerator memory that the processes of a machine take, given the cores that live in them."""
    largest: dict[str, list[Option]] = defaultdict(list)
    for query in work.problem.queries:
        for candidate in query.candidates if not query.splittable else ():
            for step in candidate.steps:
                if step.share_key in cores_by_key and step.pooled and not step.single:
                    largest[step.share_key] += [
                        option
                        for option in step.options
                        if option.machine == machine.id and option.capacity_per_s > 0.0 and _fits(machine, option)
                    ]
    memory = accelerator = 0
    for key, cores in cores_by_key.items():
        serves = max(1.0, *(option.cores for option in largest[key]))
        count = max(1, ceil(cores / serves - 1e-9))
        memory += count * max(option.memory_bytes for option in largest[key])
        accelerator += count * max(option.accelerator_memory_bytes for option in largest[key])
    return memory, accelerator


def _fits(machine: Machine, option: Option) -> bool:
    return (
        option.cores <= machine.cores * (1.0 + 1e-9)
        and option.memory_bytes <= machine.memory_bytes
        and option.accelerator_slots <= machine.accelerator_slots
        and option.accelerator_memory_bytes <= machine.accelerator_memory_bytes
    )


__all__ = ["lives_in_process", "merged_steps", "process_memory"]
