"""What queries share on a machine: processes, and what they have in common from the source on. PURE.

docs/adr/0016-what-queries-share.md. Only replicas of unsplit queries on shared machines with count 1 are shared.

- Process: replicas of pooled steps with equal ``share_key`` on one machine live in as many processes as their cores
  take, each of which serves as many cores as processes.py says. Memory is taken once for each process, all else for
  each replica.
- Prefix: a step of queries that read the very same items runs once where share key, option and number of replicas agree
  and the same holds for all that is upstream of it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from dataclasses import replace
from math import ceil

from circinus.model.pipeline import SOURCE, OperatorId
from cloud_planner.core.estimate import SLACK_RATIO
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Candidate, Machine, Option, Problem, QueryProblem, Sharing, Step
from cloud_planner.core.processes import Process, stream_of
from cloud_planner.core.resources import MEMORIES, Resource, capacity_of, is_single, machine_amounts

#: Stands for what a replica that takes no cores takes of a process: it needs one all the same.
_ANY_CORES = 1e-6

Prefix = tuple[object, ...]


def may_share(problem: Problem, machine: Machine, query: QueryProblem, step: Step) -> bool:
    """Whether a step's replicas on a machine may do others' work, too: in a process of both, or as one of both."""
    return problem.sharing is not Sharing.NONE and bool(step.share_key) and not query.splittable and is_single(machine)


def lives_in_process(problem: Problem, machine: Machine, query: QueryProblem, step: Step) -> bool:
    """Whether a step's replicas on a machine live in processes that others' may share.

    Their waiting is estimated at the utilisation cap, as for split queries, so that it does not depend on who does.
    What carries state from item to item lives alone.
    """
    return step.pooled and not step.single and may_share(problem, machine, query, step)


def at_cap(problem: Problem, machine: Machine, query: QueryProblem, step: Step) -> bool:
    """Whether waiting at a step's replicas is estimated at the utilisation cap."""
    return query.splittable or lives_in_process(problem, machine, query, step)


def merges(network: Network, query: QueryProblem) -> bool:
    """Whether some other query reads the very same items, so that what both do with them may run once."""
    return not query.splittable and bool(query.stream) and network.readers.get(stream_of(query), 0) > 1


def process_count(process: Process, cores: float) -> int:
    """How many processes serve so many cores; at least 1."""
    return max(1, ceil(cores / process.cores - SLACK_RATIO))


def step_amounts(
    network: Network,
    problem: Problem,
    query: QueryProblem,
    step: Step,
    option: Option,
    replicas: int,
    tight: Container[Resource] = (),
) -> Iterator[tuple[Resource, float]]:
    """What the replicas of one operator of one unsplit query take. The option must fit the machine.

    Memory of processes that others may share is left out where ("process", machine, share key) is among ``tight``: its
    amount, in cores, stands for it there. Else it is that of processes of its own.
    """
    machine = network.machines[option.machine]
    if not lives_in_process(problem, machine, query, step):
        yield from machine_amounts(machine, option, replicas)
        return
    for resource, amount in machine_amounts(machine, option, replicas):
        if resource[0] not in MEMORIES:
            yield resource, amount
    name: Resource = ("process", machine.id, step.share_key)
    cores = option.cores * replicas
    process = network.processes[machine.id, step.share_key]
    if name in tight:
        yield name, max(cores, _ANY_CORES)
    else:
        for resource, amount in process_amounts(machine, process):
            yield resource, amount * process_count(process, cores)


def process_amounts(machine: Machine, process: Process) -> list[tuple[Resource, float]]:
    """What one process takes of its machine's memories."""
    _, memory, _, accelerator_memory = capacity_of(machine)
    taken: list[tuple[Resource, float]] = []
    if process.memory_bytes > 0:
        taken.append((("memory", machine.id), process.memory_bytes / memory))
    if process.accelerator_memory_bytes > 0:
        taken.append((("accelerator_memory", machine.id), process.accelerator_memory_bytes / accelerator_memory))
    return taken


def prefixes(
    network: Network,
    problem: Problem,
    query: QueryProblem,
    candidate: Candidate,
    picks: Sequence[tuple[int, int]],
) -> tuple[Prefix | None, ...]:
    """By step, what it and all upstream of it do; None where nobody else can do the same.

    ``picks``: by step, the option and the number of replicas.
    """
    if not merges(network, query):
        return (None,) * len(candidate.steps)
    before: dict[OperatorId, Prefix | None] = {SOURCE: ("source", *stream_of(query), candidate.source_bytes)}
    for step, (index, replicas) in zip(candidate.steps, picks, strict=True):
        option = step.options[index]
        behind = [before[name] for name in step.inputs]
        shared = may_share(problem, network.machines[option.machine], query, step)
        own = (step.share_key, step.items_per_item, step.output_bytes, replace(option, replicas_most=None), replicas)
        prefix = (*own, *behind) if shared and None not in behind else None
        # Two steps of one query are two, even if they do the same.
        before[step.operator_id] = None if prefix in before.values() else prefix
    return tuple(before[step.operator_id] for step in candidate.steps)


__all__ = [
    "Prefix",
    "at_cap",
    "lives_in_process",
    "may_share",
    "merges",
    "prefixes",
    "process_amounts",
    "process_count",
    "step_amounts",
]
