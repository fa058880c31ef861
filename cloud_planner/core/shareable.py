"""What queries of a fleet could share, said only where it may matter. PURE.

A key or a stream that nobody else has would only make templates larger. Replicas are pooled in processes only where
a machine's memory could run out otherwise, and only where a query's bound leaves room for waiting at the utilisation
cap (docs/adr/0016-what-queries-share.md): in the plan. What is served in one process without any harm is another matter
(process_groups.py).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from math import ceil
from typing import Final

from circinus.model.device import DeviceId
from circinus.model.pipeline import SOURCE, Configuration, OperatorId, RegisteredPipeline, configuration_key, knobs_of
from circinus.model.query import PUSH, Query, QueryId
from cloud_planner.core.problem import Candidate, Machine, Option, Problem, QueryProblem, Sharing, Step, Waiting
from cloud_planner.core.processes import stream_of

#: Steps at the utilisation cap may take this part of the latency bound at most; else they are not pooled.
ROOM_RATIO: Final = 0.5


def share_key(code: str, operator_id: OperatorId, configuration: Configuration) -> str:
    """The same text for the same code of an operator with the same own knobs."""
    return f"{code}/{operator_id} {configuration_key(knobs_of(configuration, operator_id))}"


def shareable(problem: Problem) -> Problem:
    """The problem with streams, keys and pools only where more than one query could share and gain something.

    It comes with a key on each step that may be shared, and the stream of each query that reads what others may read.
    """
    streams = Counter(stream_of(query) for query in problem.queries if query.stream and not query.splittable)
    merging = {query.id for query in problem.queries if query.stream and streams[stream_of(query)] > 1}
    pooled = _pooled_keys(problem, merging)
    known: dict[tuple[int, bool, float | None], tuple[Candidate, ...]] = {}
    queries = []
    for query in problem.queries:
        merges = query.id in merging
        name = (id(query.candidates), merges, query.slo.latency_ms)
        if name not in known:
            known[name] = _marked(problem, query, pooled, merges=merges)
        queries.append(replace(query, candidates=known[name], stream=query.stream if merges else ""))
    found = any(step.share_key for query in queries for candidate in query.candidates for step in candidate.steps)
    return replace(problem, queries=tuple(queries), sharing=Sharing.PREFIX if found else Sharing.NONE)


def _marked(problem: Problem, query: QueryProblem, pooled: Collection[str], *, merges: bool) -> tuple[Candidate, ...]:
    made = []
    for candidate in query.candidates:
        roomy = bool(pooled) and _has_room(problem, query, candidate)
        steps = tuple(_step(step, merges, roomy and step.share_key in pooled) for step in candidate.steps)
        made.append(replace(candidate, steps=steps))
    return tuple(made)


def _step(step: Step, merges: bool, pools: bool) -> Step:
    key = step.share_key if merges or pools else ""
    return replace(step, share_key=key, pooled=pools or not key)


def _pooled_keys(problem: Problem, merging: Collection[QueryId]) -> frozenset[str]:
    """Keys that several could have on a machine whose memory could run out."""
    crowded = _crowded(problem)
    users: dict[tuple[DeviceId, str], set[object]] = defaultdict(set)
    for query in problem.queries if crowded else ():
        for candidate in query.candidates if not query.splittable else ():
            if not _has_room(problem, query, candidate):
                continue
            for step in candidate.steps:
                if step.share_key and not step.single:
                    # Queries of one stream run it once anyway.
                    user = stream_of(query) if query.id in merging else query.id
                    for option in step.options:
                        users[option.machine, step.share_key].add((user, step.operator_id))
    return frozenset(key for (machine, key), found in users.items() if machine in crowded and len(found) > 1)


def _crowded(problem: Problem) -> frozenset[DeviceId]:
    """Machines whose memory could run out before their cores do, if all replicas that could be there were."""
    machines = {machine.id: machine for machine in problem.machines if machine.count == 1 and not machine.exclusive}
    parts: dict[DeviceId, list[tuple[float, float, float]]] = defaultdict(list)
    known: dict[tuple[int, float], tuple[dict[DeviceId, tuple[float, float, float]], ...]] = {}
    for query in problem.queries:
        name = (id(query.candidates), query.rate_per_s)
        if name not in known:
            known[name] = tuple(_most(problem, query))
        for most in known[name]:
            for machine_id, part in most.items():
                if machine_id in machines:
                    parts[machine_id].append(part)
    return frozenset(name for name, found in parts.items() if _runs_out(machines[name], found))


def _most(problem: Problem, query: QueryProblem) -> Iterator[dict[DeviceId, tuple[float, float, float]]]:
    """By operator and machine: cores at least, memory and accelerator memory at most."""
    steps: dict[OperatorId, dict[Step, None]] = defaultdict(dict)
    for candidate in query.candidates:
        for step in candidate.steps:
            steps[step.operator_id][step] = None
    for alternatives in steps.values():
        found: dict[DeviceId, tuple[float, float, float]] = {}
        for step in alternatives:
            for option in step.options:
                load = (
                    query.rate_per_s * step.items_per_item / (problem.replica_utilization_cap * option.capacity_per_s)
                )
                replicas = max(1, ceil(load))
                cores, memory, accelerator = found.get(option.machine, (float("inf"), 0.0, 0.0))
                found[option.machine] = (
                    min(cores, option.cores * replicas),
                    max(memory, float(option.memory_bytes * replicas)),
                    max(accelerator, float(option.accelerator_memory_bytes * replicas)),
                )
        yield found


def _runs_out(machine: Machine, parts: list[tuple[float, float, float]]) -> bool:
    """Whether what fits its cores, the heaviest for its cores first, takes more than its memory."""
    left, memory = machine.cores, 0.0
    for cores, taken, _ in sorted(parts, key=lambda part: part[1] / max(part[0], 1e-9), reverse=True):
        ratio = min(1.0, left / cores) if cores > 0.0 else 1.0
        left, memory = left - ratio * cores, memory + ratio * taken
        if left <= 0.0:
            break
    return memory > machine.memory_bytes or sum(part[2] for part in parts) > machine.accelerator_memory_bytes


def _has_room(problem: Problem, query: QueryProblem, candidate: Candidate) -> bool:
    """Whether the candidate's steps, each waiting as at the cap, take no more than a part of the latency bound."""
    if query.slo.latency_ms is None or problem.waiting is not Waiting.QUEUE:
        return True
    ends: dict[OperatorId, float] = {SOURCE: 0.0}
    for step in candidate.steps:
        stay = min((_stay_at_cap_ms(problem, option) for option in step.options), default=float("inf"))
        ends[step.operator_id] = max(ends[name] for name in step.inputs) + stay
    return max(ends.values()) <= ROOM_RATIO * query.slo.latency_ms


def _stay_at_cap_ms(problem: Problem, option: Option) -> float:
    """Service and waiting at the cap, with arrivals as uneven as any (Kingman's formula)."""
    mean_ms, cap = option.service.mean_ms, problem.replica_utilization_cap
    cv2 = option.service.variance_ms2 / mean_ms**2
    return mean_ms * (1.0 + cap / (1.0 - cap) * (1.0 + cv2) / 2.0)


def stream_text(query: Query, registered: RegisteredPipeline) -> str:
    """What a query reads and how that becomes items, as one text; empty if nobody else can read the same.

    What callers push is each query's own.
    """
    if not query.input or query.input == PUSH:
        return ""
    pipeline = registered.pipeline
    environment = registered.environment_digest
    parts = (query.input, pipeline.id, registered.bundle_digest, environment, pipeline.source, query.content)
    return " ".join(parts)


__all__ = ["ROOM_RATIO", "share_key", "shareable", "stream_text"]
