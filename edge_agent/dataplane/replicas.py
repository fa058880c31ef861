"""A replica set at work: one queue, one dispatcher for each replica's process, and what becomes of the items."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Protocol

from circinus.clock import Clock
from circinus.model.directive import Generation, ReplicaSet
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.batches import Batches, BatchReply
from edge_agent.dataplane.item import Cause, Payload, Verdict, Work
from edge_agent.dataplane.lines import Line, Lines
from edge_agent.dataplane.stand_by_lane import told_operator
from edge_agent.dataplane.use_queue import Queued
from edge_agent.dataplane.waiting import Dropped, Taken
from edge_agent.process import ProcessDied, ProcessHung, ServingProcess
from edge_agent.runtime import Runtime, memory_limit_bytes, uses_of
from edge_agent.supervisor import Supervisor
from edge_agent.taps import Taps
from edge_agent.telemetry import Windows
from edge_agent.tracing.steps import queued as waited
from edge_agent.tracing.steps import ran

MS_PER_S = 1000.0
_KNOWN_CAUSES = frozenset(cause.value for cause in Cause)


class Results(Protocol):
    """Who is told what became of an item at an operator."""

    def finished(self, work: Work, payload: Payload, parts: tuple[Payload, ...] = ()) -> None:
        """The operator gave this output, and its parts where some operator takes them one by one."""

    def ended(self, work: Work, verdict: Verdict, cause: str, detail: str) -> None:
        """The item goes no further."""


class ReplicaSetRunner:
    """The replicas of one operator on this device, and all uses of it by queries."""

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
        taps: Taps,
    ) -> None:
        self.spec = spec
        self._taps = taps
        self._printed = runtime.printed
        self._pace_of = runtime.pace_ratio
        #: The newest generation that has this set.
        self.generation = Generation(epoch=0, number=0)
        self._results = results
        self._batches = Batches(runtime.memory)
        self._windows = windows
        self._clock = clock
        #: By identity: two queries may have items of the same id here, and an item several parts.
        self._running: dict[int, Work] = {}
        self._lines = Lines(
            spec.served, clock=clock, processes=spec.replicas, batch=spec.batch, on_dropped=self._dropped
        )
        self.supervisors = tuple(
            Supervisor(
                name=f"{spec.query_id}/{spec.operator_id}#{index}",
                start=lambda index=index: runtime.start_replica(self.spec, index),  # type: ignore[misc]  # its own
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
        return not len(self._lines) and not self._running

    @property
    def held(self) -> int:
        """Items that wait or run."""
        return len(self._lines) + len(self._running)

    @property
    def load(self) -> float:
        """Items that wait or run, for each replica."""
        return self.held / len(self.supervisors)

    def _hang_s(self, pace_ratio: float) -> float:
        """The author's bound is for a whole core of the host; a paced replica sleeps beyond it."""
        return self.spec.hang_ms / MS_PER_S / min(1.0, pace_ratio)

    async def run(self) -> None:
        """Keeps the replicas running until it is cancelled; their processes are gone when it returns."""
        try:
            async with asyncio.TaskGroup() as group:
                for supervisor in self.supervisors:
                    group.create_task(supervisor.run())
        finally:
            for work in self._lines.clear():
                self._fail(work, Cause.OPERATOR_DIED, "the operator was stopped")

    def update(self, spec: ReplicaSet) -> None:
        """Another generation's words on the same processes: uses, rates, weights, pace; nothing is restarted.

        ``spec`` has the same key, and so the same processes.
        """
        self.spec = spec
        self._lines.update(spec.served, batch=spec.batch)
        self._printed.serves(spec.key, uses_of(spec))

    def offer(self, work: Work) -> None:
        """Takes an item into the queue; it, or others for it, may be dropped."""
        if self._taps.open:
            self._tap(work, {**work.inputs, **work.gathered}, output=False)
        self._lines.put(work)

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation wait or run."""
        return self._lines.count_older(than) + sum(1 for work in self._running.values() if work.generation < than)

    async def _serve(self, process: ServingProcess) -> None:
        """Serves every line until the process is of no more use."""
        spent: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end(_: object) -> None:
            if not spent.done():
                spent.set_result(None)

        process.gone.add_done_callback(end)
        changed = self._lines.watch()
        served: set[Line] = set()
        try:
            async with asyncio.TaskGroup() as group:
                while not spent.done():
                    changed.clear()
                    for line in self._lines.all:
                        if line not in served:
                            served.add(line)
                            for _ in range(line.turns):
                                group.create_task(self._serve_line(process, line, spent))
                    served.intersection_update(self._lines.all)
                    await _either(changed, spent)
        finally:
            self._lines.unwatch(changed)
            process.gone.remove_done_callback(end)

    async def _serve_line(self, process: ServingProcess, line: Line, spent: asyncio.Future[None]) -> None:
        """Serves one line until that is over, or the process is spent."""
        ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def end(_: object) -> None:
            if not ended.done():
                ended.set_result(None)

        for one in (line.over, spent):
            one.add_done_callback(end)
        try:
            await self._take_turns(process, line, ended)
        finally:
            for one in (line.over, spent):
                one.remove_done_callback(end)
            if not line.over.done() and not spent.done():
                # The process is of no more use: the other lines end what they are at.
                spent.set_result(None)

    async def _take_turns(self, process: ServingProcess, line: Line, ended: asyncio.Future[None]) -> None:
        while not ended.done():
            taken = await line.queue.take(max(1, self.spec.batch), ended)
            if not taken.batch:
                return
            now_s = self._clock.monotonic_s()
            for queued in taken.batch:
                self._running[id(queued.work)] = queued.work
                if queued.work.is_counted:
                    self._windows.queued(self._place(queued.work), (now_s - queued.since_s) * MS_PER_S)
            for place in dict.fromkeys(self._place(queued.work) for queued in taken.batch):
                self._windows.batched(place)
            try:
                if not await self._run_batch(process, line, taken):
                    return
            finally:
                line.queue.done(taken, None)
                self._lines.let_go()
                for queued in taken.batch:
                    self._running.pop(id(queued.work), None)
            if 0 < memory_limit_bytes(self.spec) < process.memory_bytes:
                process.enclosed.blame_memory()
                return  # it leaks: a fresh one takes its place before the machine runs out of memory

    async def _run_batch(self, process: ServingProcess, line: Line, taken: Taken) -> bool:
        """Has a batch processed; False: the process is of no more use."""
        works = [queued.work for queued in taken.batch]
        own_ratio = self._pace_of(replace(self.spec, cores=line.cores or self.spec.cores))
        # Among others it is done at once, and what comes out is held instead.
        held = line.cores > 0.0 and not self._lines.alone
        pace_ratio = self._pace_of(replace(self.spec, cores=1.0)) if held else own_ratio
        began_s = self._clock.monotonic_s()
        try:
            reply = await self._batches.run(process, works, self._hang_s(pace_ratio) * len(works), pace_ratio)
            if held:
                reply = await self._held(reply, began_s, own_ratio)
        except ProcessHung as error:
            self._fail_all(taken.batch, began_s, Cause.OPERATOR_HUNG, str(error))
            return False
        except ProcessDied as error:
            self._fail_all(taken.batch, began_s, Cause.OPERATOR_DIED, str(error))
            return False
        except asyncio.CancelledError:
            self._fail_all(taken.batch, began_s, Cause.OPERATOR_DIED, "the operator was stopped")
            raise
        process.memory_bytes = reply.memory_bytes
        # Its successors may come back before this returns, and are judged by what is known then.
        line.queue.done(taken, reply.wall_ms / MS_PER_S)
        self._take_results(taken.batch, began_s, reply)
        return True

    async def _held(self, reply: BatchReply, began_s: float, pace_ratio: float) -> BatchReply:
        """A reply once its batch has taken the time that it would have taken on cores of its own."""
        until_s = began_s + reply.cpu_ms / MS_PER_S / pace_ratio
        await self._clock.sleep(max(0.0, until_s - self._clock.monotonic_s()))
        return replace(reply, wall_ms=(self._clock.monotonic_s() - began_s) * MS_PER_S)

    def _take_results(self, batch: Sequence[Queued], began_s: float, reply: BatchReply) -> None:
        service_ms, cpu_ms = reply.wall_ms / len(batch), reply.cpu_ms / len(batch)
        for queued, one in zip(batch, reply.outputs, strict=True):
            work = queued.work
            if work.is_counted:
                # Plans and profiles speak of items: a part that is counted stands for all parts of its item.
                self._windows.served(
                    self._place(work),
                    service_ms=service_ms * work.parts,
                    cpu_ms=cpu_ms * work.parts,
                    output_bytes=one.size_bytes * work.parts if one is not None else 0,
                    memory_bytes=reply.memory_bytes,
                )
            # No longer held here once the next one has it.
            self._running.pop(id(work), None)
            if work.trace is not None:
                error = one.error if one is not None else Cause.BAD_OUTPUT
                work = self._traced(queued, began_s, batch=len(batch), cpu_ms=cpu_ms, error=error)
            if one is None:
                self._fail(work, Cause.BAD_OUTPUT, "the operator's process gave no output for the item")
            elif one.error:
                cause, _, detail = one.error.partition(": ")
                self._fail(work, cause if cause in _KNOWN_CAUSES else Cause.OPERATOR_RAISED, detail)
            else:
                if self._taps.open:
                    self._tap(work, {work.operator_id: one.payload or one.parts}, output=True)
                self._results.finished(work, one.payload, one.parts)

    def _tap(self, work: Work, payloads: Mapping[str, Payload | tuple[Payload, ...]], *, output: bool) -> None:
        spec, batches = self.spec, self.load / max(1, self.spec.batch)
        self._taps.passed(
            work,
            payloads,
            output=output,
            batches=batches,
            pipeline_id=spec.pipeline_id,
            bundle_digest=spec.bundle_digest,
        )

    def _traced(
        self, queued: Queued, began_s: float, *, batch: int, cpu_ms: float | None = None, error: str = ""
    ) -> Work:
        """An item with its wait and its run told."""
        work = waited(queued.work, queued.since_s, began_s)
        return ran(work, began_s, self._clock.monotonic_s(), batch=batch, cpu_ms=cpu_ms, error=error)

    def _fail_all(self, batch: Sequence[Queued], began_s: float, cause: Cause, detail: str) -> None:
        for queued in batch:
            work = queued.work
            if work.trace is not None:
                work = self._traced(queued, began_s, batch=len(batch), error=f"{cause}: {detail}")
            self._fail(work, cause, detail)

    def _fail(self, work: Work, cause: str, detail: str) -> None:
        for line in self._lines.all:
            line.queue.forget(work)
        self._windows.failure(self._place(work))
        self._results.ended(work, Verdict.FAILED, cause, detail)

    def _dropped(self, dropped: Dropped) -> None:
        self._windows.dropped_at(self._place(dropped.work), dropped.cause)
        self._results.ended(dropped.work, Verdict.DROPPED, dropped.cause, dropped.detail)

    def _restarted(self) -> None:
        self._windows.restarted((self.spec.query_id, self.spec.operator_id, self.generation))

    def _place(self, work: Work) -> tuple[QueryId, OperatorId, Generation]:
        return (work.query_id, told_operator(work.request_id, work.operator_id), work.generation)


async def _either(event: asyncio.Event, future: asyncio.Future[None]) -> None:
    """Waits until one of them is there."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((waiting, future), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
