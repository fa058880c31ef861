"""Candidates that another of the same query makes pointless. PURE.

With accuracy met, a candidate goes when another is step by step nowhere worse: for each of its options the other has
one on the same machine that takes no more, does no less, and is no slower; and no step or source puts out more
bytes. This holds for any placement, split or not. With Waiting.QUEUE and a bound on latency it does not (a shorter
service may make departures more variable), so nothing goes.
"""

from __future__ import annotations

from collections.abc import Sequence

from cloud_planner.core.estimate import latency_limit_ms
from cloud_planner.core.problem import Candidate, Option, Problem, QueryProblem, Sharing, Step, Waiting


def _covers(a: Option, b: Option) -> bool:
    return (
        a.machine == b.machine
        and a.cores <= b.cores
        and a.memory_bytes <= b.memory_bytes
        and a.accelerator_slots <= b.accelerator_slots
        and a.accelerator_memory_bytes <= b.accelerator_memory_bytes
        and a.capacity_per_s >= b.capacity_per_s
        and a.batch <= b.batch
        and a.service.mean_ms <= b.service.mean_ms
        and a.service.variance_ms2 <= b.service.variance_ms2
        and (a.replicas_most is None or (b.replicas_most is not None and a.replicas_most >= b.replicas_most))
    )


def _no_worse(a: Step, b: Step) -> bool:
    return (
        a.output_bytes <= b.output_bytes
        and a.items_per_item <= b.items_per_item
        and a.site_inputs <= b.site_inputs
        and a.share_key == b.share_key
        and a.pooled == b.pooled
        and all(any(_covers(mine, other) for mine in a.options) for other in b.options if other.replicas_most != 0)
    )


def undominated(problem: Problem, query: QueryProblem, candidates: Sequence[int]) -> tuple[int, ...]:
    """The candidates, of those given, that no other one makes pointless; of equals the most accurate stays."""
    queued = problem.waiting is Waiting.QUEUE and query.slo.latency_ms is not None
    # What another query runs anyway may be worth more than what takes less.
    if queued or (problem.sharing is Sharing.PREFIX and query.stream):
        return tuple(candidates)
    numbers: dict[Step, int] = {}
    steps: list[Step] = []
    rows: dict[int, tuple[int, ...]] = {}
    for index in candidates:
        for step in query.candidates[index].steps:
            if step not in numbers:
                numbers[step] = len(steps)
                steps.append(step)
        rows[index] = tuple(numbers[step] for step in query.candidates[index].steps)
    known: dict[tuple[int, int], bool] = {}

    def no_worse(a: int, b: int) -> bool:
        if a == b:
            return True
        if (a, b) not in known:
            same = steps[a].operator_id == steps[b].operator_id and steps[a].inputs == steps[b].inputs
            known[a, b] = same and _no_worse(steps[a], steps[b])
        return known[a, b]

    limits = {index: latency_limit_ms(query, query.candidates[index], problem.asked_of(query)) for index in candidates}

    def beats(first: int, second: int) -> bool:
        a, b = query.candidates[first], query.candidates[second]
        below, above = limits[second], limits[first]
        return (
            a.source_bytes <= b.source_bytes
            and a.outputs == b.outputs
            and len(rows[first]) == len(rows[second])
            and (below is None or above is None or above >= below)
            and all(no_worse(x, y) for x, y in zip(rows[first], rows[second], strict=True))
        )

    def rank(index: int) -> tuple[float, int]:
        candidate: Candidate = query.candidates[index]
        return (-candidate.accuracy.value, index)

    kept: list[int] = []
    for index in sorted(candidates, key=rank):
        if any(beats(other, index) for other in kept):
            continue
        kept = [other for other in kept if not beats(index, other)]
        kept.append(index)
    return tuple(sorted(kept))
