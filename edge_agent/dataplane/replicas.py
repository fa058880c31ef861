"""A replica set at work: one queue, one dispatcher for each replica's process, and what becomes of the items."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from circinus.clock import Clock
from circinus.model.directive import Generation, ReplicaSet
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from circinus.v1 import worker_pb2
from edge_agent.dataplane.item import Cause, Verdict, Work
from edge_agent.dataplane.queues import Queued, WorkQueue
from edge_agent.process import ProcessDied, ProcessHung, ServingProcess
from edge_agent.runtime import Runtime, memory_limit_bytes
from edge_agent.supervisor import Supervisor
from edge_agent.telemetry import Windows

MS_PER_S = 1000.0
_SMOOTHING = 0.2
_KNOWN_CAUSES = frozenset(cause.value for cause in Cause)


class Results(Protocol):
    """Who is told what became of an item at an operator."""

    def finished(self, work: Work, payload: bytes) -> None:
        """The operator gave this output."""

    def ended(self, work: Work, verdict: Verdict, cause: str, detail: str) -> None:
        """The item goes no further."""


class ReplicaSetRunner:
    """The replicas of one operator of one query on this device."""

    def __init__(
        self,
        spec: ReplicaSet,
        *,
        runtime: Runtime,
        results: Results,
        windows: Windows,
        clock: Clock,
        rng: Random,
        on_change: Callable[[], None],
    ) -> None:
        self.spec = spec
        self._pace_ratio = min(1.0, runtime.pace_ratio(spec))
        #: The newest generation that has this set.
        self.generation = Generation(epoch=0, number=0)
        self._results = results
        self._windows = windows
        self._clock = clock
        self._running: dict[str, Work] = {}
        self._queue = WorkQueue(clock=clock, replicas=spec.replicas, on_overdue=self._overdue)
        self.supervisors = tuple(
            Supervisor(
                name=f"{spec.query_id}/{spec.operator_id}#{index}",
                start=lambda: runtime.start_replica(spec),
                serve=self._serve,
                clock=clock,
                rng=rng,
                on_change=on_change,
                on_restart=self._restarted,
            )
            for index in range(spec.replicas)
        )

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs."""
        return not self._queue and not self._running

    @property
    def load(self) -> float:
        """Items that wait or run, for each replica."""
        return (len(self._queue) + len(self._running)) / len(self.supervisors)

    @property
    def _hang_s(self) -> float:
        """The author's bound is for a whole core of the host; a paced replica sleeps beyond it."""
        return self.spec.hang_ms / MS_PER_S / self._pace_ratio

    async def run(self) -> None:
        """Keeps the replicas running until it is cancelled; their processes are gone when it returns."""
        try:
            async with asyncio.TaskGroup() as group:
                for supervisor in self.supervisors:
                    group.create_task(supervisor.run())
        finally:
            for work in self._queue.clear():
                self._fail(work, Cause.OPERATOR_DIED, "the operator was stopped")

    def offer(self, work: Work) -> None:
        """Takes an item into the queue, or drops it if that is full."""
        if not self._queue.put(work):
            detail = f"{len(self._queue)} items wait"
            self._results.ended(work, Verdict.DROPPED, Cause.QUEUE_FULL, detail)

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation wait or run."""
        return self._queue.count_older(than) + sum(1 for work in self._running.values() if work.generation < than)

    async def _serve(self, process: ServingProcess) -> None:
        limit_bytes = memory_limit_bytes(self.spec)
        while not process.gone.done():
            batch = await self._queue.take(max(1, self.spec.batch), process.gone)
            if not batch:
                return
            now_s = self._clock.monotonic_s()
            for queued in batch:
                self._running[queued.work.request_id] = queued.work
                self._windows.queued(self._place(queued.work), (now_s - queued.since_s) * MS_PER_S)
            try:
                if not await self._run_batch(process, batch):
                    return
            finally:
                for queued in batch:
                    self._running.pop(queued.work.request_id, None)
            if 0 < limit_bytes < process.memory_bytes:
                return  # it leaks: a fresh one takes its place before the machine runs out of memory

    async def _run_batch(self, process: ServingProcess, batch: Sequence[Queued]) -> bool:
        """Has a batch processed; False: the process is of no more use."""
        works = [queued.work for queued in batch]
        request = worker_pb2.WorkerRequest()
        for work in works:
            request.run.items.add(request_id=work.request_id, inputs=work.inputs)
        try:
            reply = await process.call(request, self._hang_s * len(works))
        except ProcessHung as error:
            self._fail_all(works, Cause.OPERATOR_HUNG, str(error))
            return False
        except ProcessDied as error:
            self._fail_all(works, Cause.OPERATOR_DIED, str(error))
            return False
        except asyncio.CancelledError:
            self._fail_all(works, Cause.OPERATOR_DIED, "the operator was stopped")
            raise
        process.memory_bytes = reply.result.memory_bytes
        self._take_results(works, reply.result)
        return True

    def _take_results(self, works: Sequence[Work], result: worker_pb2.BatchResult) -> None:
        by_id = {one.request_id: one for one in result.results}
        service_ms, cpu_ms = result.wall_ms / len(works), result.cpu_ms / len(works)
        self._learn(service_ms / MS_PER_S)
        for work in works:
            one = by_id.get(work.request_id)
            self._windows.served(
                self._place(work),
                service_ms=service_ms,
                cpu_ms=cpu_ms,
                output_bytes=len(one.payload) if one is not None else 0,
                memory_bytes=result.memory_bytes,
            )
            # No longer held here once the next one has it.
            self._running.pop(work.request_id, None)
            if one is None:
                self._fail(work, Cause.BAD_OUTPUT, "the operator's process gave no output for the item")
            elif one.error:
                cause, _, detail = one.error.partition(": ")
                self._fail(work, cause if cause in _KNOWN_CAUSES else Cause.OPERATOR_RAISED, detail)
            else:
                self._results.finished(work, one.payload)

    def _learn(self, service_s: float) -> None:
        known_s = self._queue.service_s
        self._queue.service_s = service_s if known_s == 0 else known_s + _SMOOTHING * (service_s - known_s)

    def _fail_all(self, works: Sequence[Work], cause: Cause, detail: str) -> None:
        for work in works:
            self._fail(work, cause, detail)

    def _fail(self, work: Work, cause: str, detail: str) -> None:
        self._windows.failure(self._place(work))
        self._results.ended(work, Verdict.FAILED, cause, detail)

    def _overdue(self, work: Work) -> None:
        self._results.ended(work, Verdict.DROPPED, Cause.DEADLINE, "its deadline passed while it waited")

    def _restarted(self) -> None:
        self._windows.restarted((self.spec.query_id, self.spec.operator_id, self.generation))

    def _place(self, work: Work) -> tuple[QueryId, OperatorId, Generation]:
        return (work.query_id, work.operator_id, work.generation)
