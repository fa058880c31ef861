"""Queries that share a replica set, simulated event by event with the agent's own admission and waiting line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from random import Random

from circinus.model.directive import Generation, Use
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.admission import Admission, Ticket
from edge_agent.dataplane.book import Ending
from edge_agent.dataplane.item import Work
from edge_agent.dataplane.waiting import Taken, WaitingLine

OPERATOR = OperatorId("op")


@dataclass(slots=True, kw_only=True)
class Load:
    """One query: its plan, what it offers of it, and what came of that."""

    name: str
    rate_per_s: float
    deadline_s: float
    offered_ratio: float = 1.0
    poisson: bool = False
    weight: float = 1.0
    after_s: float = 0.0
    emitted: int = 0
    shed: int = 0
    in_time: int = 0
    in_rate: int = 0
    in_rate_in_time: int = 0
    late: int = 0
    dropped: Counter[str] = field(default_factory=Counter)

    @property
    def use(self) -> Use:
        return Use(
            query_id=QueryId(self.name),
            operator_id=OPERATOR,
            inputs=(),
            rate_per_s=self.rate_per_s,
            weight=self.weight,
            after_ms=self.after_s * 1000,
            deadline_ms=self.deadline_s * 1000,
        )


@dataclass(slots=True, kw_only=True)
class Simulation:
    """``service_s`` draws the time of a batch of so many. Runs for ``seconds``; then the line is left as it is."""

    loads: list[Load]
    service_s: Callable[[Random, int], float]
    replicas: int = 1
    batch: int = 1
    seconds: float = 60.0
    seed: int = 1
    #: How long an outcome takes to the source.
    back_s: float = 0.0
    served: list[tuple[str, int]] = field(default_factory=list)
    held: list[tuple[float, float]] = field(default_factory=list)
    outcomes: Counter[tuple[str, int]] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)

    def run(self) -> Simulation:
        """To the end."""
        rng = Random(self.seed)
        line = WaitingLine([load.use for load in self.loads], replicas=self.replicas, batch=self.batch)
        admissions = [Admission(load.rate_per_s) for load in self.loads]
        by_name = {load.name: (load, admission) for load, admission in zip(self.loads, admissions, strict=True)}
        ties = count()
        events: list[tuple[float, int, str, object]] = []
        free = self.replicas
        emitted_at: dict[tuple[str, int], float] = {}

        def at(when_s: float, kind: str, what: object) -> None:
            heappush(events, (when_s, next(ties), kind, what))

        def end(work: Work, ending: Ending, now_s: float) -> None:
            load, _ = by_name[work.query_id]
            key = (work.query_id, int(work.request_id.rpartition("-")[2]))
            self.outcomes[key] += 1
            at(now_s + self.back_s, "told", (work.query_id, ending, work.excess))
            if ending is Ending.ANSWERED:
                load.in_time += 1
                load.in_rate_in_time += not work.excess
            elif ending is Ending.LATE:
                load.late += 1

        for index, load in enumerate(self.loads):
            at(rng.random() / load.rate_per_s, "offer", index)
        number = count(1)
        now_s = 0.0
        while events:
            now_s, _, kind, what = heappop(events)
            if now_s > self.seconds:
                break
            if kind == "offer":
                load, admission = self.loads[what], admissions[what]  # type: ignore[index,call-overload]
                gap_s = 1.0 / load.rate_per_s / load.offered_ratio
                at(now_s + (rng.expovariate(1.0 / gap_s) if load.poisson else gap_s), "offer", what)
                load.emitted += 1
                ticket = admission.admit(now_s)
                if ticket is Ticket.SHED:
                    load.shed += 1
                    continue
                load.in_rate += ticket is Ticket.IN_RATE
                sequence = next(number)
                work = Work(
                    request_id=f"cam-{sequence}",
                    query_id=QueryId(load.name),
                    generation=Generation(epoch=1, number=1),
                    operator_id=OPERATOR,
                    deadline_s=now_s + load.deadline_s,
                    inputs={},
                    excess=ticket is Ticket.EXCESS,
                )
                emitted_at[load.name, sequence] = now_s
                for dropped in line.put(work, now_s):
                    by_name[dropped.work.query_id][0].dropped[dropped.cause] += 1
                    end(dropped.work, Ending.DROPPED, now_s)
            elif kind == "done":
                taken, took_s = what  # type: ignore[misc]
                assert isinstance(taken, Taken)
                line.done(taken.number, taken.batch, took_s)
                free += 1
                for queued in taken.batch:
                    load, _ = by_name[queued.work.query_id]
                    in_time = now_s + load.after_s <= (queued.work.deadline_s or 0.0)
                    end(queued.work, Ending.ANSWERED if in_time else Ending.LATE, now_s)
            elif kind == "told":
                name, ending, excess = what  # type: ignore[misc]
                by_name[name][1].told(ending, now_s, excess=excess)
                continue
            while free:
                taken, drops = line.take(self.batch, now_s)
                for dropped in drops:
                    by_name[dropped.work.query_id][0].dropped[dropped.cause] += 1
                    end(dropped.work, Ending.DROPPED, now_s)
                if not taken.batch:
                    if taken.again_at_s is not None:
                        at(max(now_s, taken.again_at_s), "again", None)
                    break
                free -= 1
                took_s = self.service_s(rng, len(taken.batch))
                for queued in taken.batch:
                    self.served.append((queued.work.query_id, int(queued.work.request_id.rpartition("-")[2])))
                    self.waits_s.append(now_s - queued.since_s)
                at(now_s + took_s, "done", (taken, took_s))
        return self


def goodput_per_s(load: Load, seconds: float) -> float:
    """Items a second that were answered in time."""
    return load.in_time / seconds
