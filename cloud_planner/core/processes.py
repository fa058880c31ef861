"""The processes that replicas could share on each machine, and the streams that several queries read. PURE.

What one process takes does not depend on what is chosen: it is enough for the largest replica with its share key that
any query could put on the machine.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from circinus.model.device import DeviceId
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from cloud_planner.core.problem import Machine, Option, Problem, QueryProblem, Sharing

#: Stream, source and rate of queries that read the very same items.
Stream = tuple[str, DeviceId | None, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process for replicas of one share key: the cores that it serves, the memory that it takes.

    ``shared``: operators of several queries, or several of one, could live in it.
    """

    cores: float
    memory_bytes: int
    accelerator_memory_bytes: int
    shared: bool


def processes_of(problem: Problem) -> dict[tuple[DeviceId, str], Process]:
    """By machine and share key; none where nothing is shared."""
    if problem.sharing is Sharing.NONE:
        return {}
    machines = {machine.id: machine for machine in problem.machines if machine.count == 1 and not machine.exclusive}
    options: dict[tuple[DeviceId, str], list[Option]] = defaultdict(list)
    users: dict[tuple[DeviceId, str], set[tuple[QueryId, OperatorId]]] = defaultdict(set)
    for query in problem.queries:
        if query.splittable:
            continue
        for step in dict.fromkeys(step for candidate in query.candidates for step in candidate.steps):
            for option in step.options if step.share_key and step.pooled and not step.single else ():
                machine = machines.get(option.machine)
                if machine is not None and option.capacity_per_s > 0.0 and _fits(machine, option):
                    options[machine.id, step.share_key].append(option)
                    users[machine.id, step.share_key].add((query.id, step.operator_id))
    return {
        name: Process(
            cores=max(1.0, *(option.cores for option in found)),
            memory_bytes=max(option.memory_bytes for option in found),
            accelerator_memory_bytes=max(option.accelerator_memory_bytes for option in found),
            shared=len(users[name]) > 1,
        )
        for name, found in options.items()
    }


def readers_of(problem: Problem) -> dict[Stream, int]:
    """How many queries read each stream; none where nothing is merged."""
    found: dict[Stream, int] = defaultdict(int)
    if problem.sharing is Sharing.PREFIX:
        for query in problem.queries:
            if query.stream and not query.splittable:
                found[stream_of(query)] += 1
    return dict(found)


def stream_of(query: QueryProblem) -> Stream:
    """What queries that read the very same items have in common."""
    return (query.stream, query.source, query.rate_per_s)


def _fits(machine: Machine, option: Option) -> bool:
    pairs = (
        (option.cores, machine.cores),
        (option.memory_bytes, machine.memory_bytes),
        (option.accelerator_slots, machine.accelerator_slots),
        (option.accelerator_memory_bytes, machine.accelerator_memory_bytes),
    )
    return all(used <= there * (1.0 + 1e-9) for used, there in pairs)
