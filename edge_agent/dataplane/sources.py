"""A source at work: items at a steady rate, and the scores of their answers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from hashlib import blake2b
from random import Random

from circinus.clock import Clock
from circinus.errors import CircinusError
from circinus.events import warning
from circinus.model.directive import Generation, SourceSpec
from circinus.model.query import PUSH, QueryId, is_fed
from circinus.v1 import worker_pb2
from edge_agent.dataplane.admission import Admissions, Ticket
from edge_agent.dataplane.batches import emit
from edge_agent.dataplane.book import Emission, Ended, Ending
from edge_agent.dataplane.item import Payload
from edge_agent.process import ServingProcess
from edge_agent.runtime import Runtime
from edge_agent.supervisor import Supervisor
from edge_agent.tasks import TaskSet
from edge_agent.telemetry import Windows

#: Longest time for making one item, and for scoring one answer.
_EMIT_TIMEOUT_S = 60.0
_SCORE_TIMEOUT_S = 30.0
#: Outcomes that wait to be scored; beyond that the oldest are recorded with a score of 0.
_MAX_UNSCORED = 1024
_READINESS_POLL_S = 0.05
#: Longest sleep in one piece, so that a changed rate is seen soon.
_MAX_SLEEP_S = 1.0


class SourceRunner:
    """One source's process and the outcomes that wait for it to score them."""

    def __init__(
        self,
        spec: SourceSpec,
        *,
        runtime: Runtime,
        windows: Windows,
        clock: Clock,
        rng: Random,
        on_change: Callable[[], None],
    ) -> None:
        self.spec = spec
        self._windows = windows
        self._memory = runtime.memory
        self._unscored: deque[Ended] = deque()
        self._scoring: Ended | None = None
        #: Ended, and waiting for the rest of their clip, by query and sequence; all known to ``_asked``.
        self._pending: dict[tuple[str, int], Ended] = {}
        self._asked: ServingProcess | None = None
        self._has_unscored = asyncio.Event()
        self._emitting = TaskSet()
        #: What is wrong with what a feed reads, so that it gives no items, or not all; empty: nothing is known.
        self.trouble = ""
        self._on_change = on_change
        supervisor = Supervisor(
            name=f"{spec.query_id}/source",
            start=lambda: runtime.start_source(spec),
            serve=self._serve,
            clock=clock,
            rng=rng,
            on_change=on_change,
            on_restart=lambda: None,
        )
        # Callers need no process to make items for them.
        self.supervisors = () if spec.input == PUSH else (supervisor,)

    @property
    def idle(self) -> bool:
        """Whether no outcome waits to be scored, but for the rest of its clip."""
        return not self._unscored and self._scoring is None

    @property
    def ready(self) -> bool:
        """Whether it can make items."""
        return not self.supervisors or self._process is not None

    @property
    def _process(self) -> ServingProcess | None:
        return self.supervisors[0].process if self.supervisors else None

    async def run(self) -> None:
        """Keeps the source running until it is cancelled; its process is gone when it returns."""
        try:
            async with asyncio.TaskGroup() as group:
                for supervisor in self.supervisors:
                    group.create_task(supervisor.run())
                group.create_task(self._score_all())
        finally:
            await self._emitting.stop()
            if self._scoring is not None:
                self._pending[_read(self._scoring)] = self._scoring
            self._give_up()
            for ended in self._unscored:
                self._record(ended, None)
            self._scoring = None
            self._unscored.clear()

    async def finish(self) -> None:
        """No more items come: scores the clips that will never be full by what there is of them."""
        if self._pending and self._asked is not None and self._asked is self._process:
            await self._ask(self._asked, worker_pb2.WorkerRequest(score_rest=worker_pb2.ScoreRest()))

    async def emit(self, sequence: int) -> Payload | None:
        """The next item's payload; None: the source can't make it now.

        Whoever asks may be cancelled meanwhile; the process is still needed for scores, so its reply is waited for.
        """
        return await asyncio.shield(self._emitting.spawn(self._emit(sequence), name=f"emit {self.spec.key}"))

    async def _emit(self, sequence: int) -> Payload | None:
        process = self._process
        if process is None:
            return None
        try:
            emitted, payload = await emit(process, self._memory, sequence, _EMIT_TIMEOUT_S)
        except CircinusError as error:
            warning("source_failed", query=self.spec.query_id, reason=error)
            return None
        self._note(emitted.failure)
        return None if emitted.nothing else payload

    def _note(self, trouble: str) -> None:
        if trouble != self.trouble:
            if trouble:
                warning("feed_failed", query=self.spec.query_id, input=self.spec.input, reason=trouble)
            self.trouble = trouble
            self._on_change()

    def settle(self, ended: Ended) -> None:
        """Takes an item's outcome: has the answer scored, and records that. What was not made here has no truth."""
        if self.spec.input == PUSH or is_fed(self.spec.input):
            return
        self._unscored.append(ended)
        if len(self._unscored) > _MAX_UNSCORED:
            self._record(self._unscored.popleft(), None)
        self._has_unscored.set()

    def count_older(self, than: Generation) -> int:
        """How many outcomes of an older generation wait to be scored."""
        waiting = [*self._unscored, *([self._scoring] if self._scoring is not None else [])]
        return sum(1 for ended in waiting if ended.emission.generation < than)

    async def _serve(self, process: ServingProcess) -> None:
        await asyncio.shield(process.gone)

    async def _score_all(self) -> None:
        while True:
            await self._has_unscored.wait()
            self._has_unscored.clear()
            while self._unscored:
                self._scoring = self._unscored.popleft()
                await self._score(self._scoring)
                self._scoring = None

    async def _score(self, ended: Ended) -> None:
        """Tells the source's process how an item ended, and records what is known of scores with that."""
        process = self._process
        if process is not self._asked:
            # The one that knew the truth of what is pending is gone.
            self._give_up()
            self._asked = process
        if process is None:
            self._record(ended, None)
            return
        self._pending[_read(ended)] = ended
        if len(self._pending) > _MAX_UNSCORED:
            self._record(self._pending.pop(next(iter(self._pending))), None)
        outputs = {name: bytes(payload) for name, payload in ended.outputs.items()}
        answer = worker_pb2.ScoreAnswer(
            sequence=ended.emission.sequence,
            outputs=outputs,
            query_id=ended.emission.query_id,
            readers=ended.emission.readers,
        )
        await self._ask(process, worker_pb2.WorkerRequest(score=answer))

    async def _ask(self, process: ServingProcess, request: worker_pb2.WorkerRequest) -> None:
        try:
            reply = await process.call(request, _SCORE_TIMEOUT_S)
        except CircinusError as error:
            warning("scoring_failed", query=self.spec.query_id, reason=error)
            self._give_up()
            return
        errors = dict.fromkeys(item.error for item in reply.scored.items if item.error)
        for reason in errors:
            warning("scoring_failed", query=self.spec.query_id, reason=reason)
        for item in reply.scored.items:
            ended = self._pending.pop((item.query_id, item.sequence), None)
            if ended is not None:
                self._record(ended, item.score_ratio if item.HasField("score_ratio") else None)

    def _give_up(self) -> None:
        """Records what is pending without a score."""
        for ended in self._pending.values():
            self._record(ended, None)
        self._pending.clear()

    def _record(self, ended: Ended, score_ratio: float | None) -> None:
        if self.spec.scorer_entry_point and ended.ending in (Ending.ANSWERED, Ending.LATE):
            # An answer that nobody can judge counts as wrong.
            self._windows.scored(ended, 0.0 if score_ratio is None else score_ratio)


class Emitter:
    """The items of one query, evenly spaced at its rate by the monotonic clock.

    A source that can't keep up falls behind, which shows in the count of emissions: at most one item is caught up.
    ``offered_ratio`` gives how many times the planned rate is offered; what is above it has to be admitted, and what
    isn't goes to ``on_shed`` and is never made.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        next_request: Callable[[], tuple[str, int]],
        on_emission: Callable[[Emission, Payload], None],
        on_shed: Callable[[Emission], None],
        ready: Callable[[SourceSpec], bool],
        admissions: Admissions,
        offered_ratio: Callable[[QueryId], float],
    ) -> None:
        self._clock = clock
        self._on_shed = on_shed
        self._admissions = admissions
        self._offered_ratio = offered_ratio
        self._next_request = next_request
        self._on_emission = on_emission
        self._ready = ready
        self._assigned: tuple[SourceSpec, Generation, SourceRunner] | None = None

    def assign(self, spec: SourceSpec, generation: Generation, runner: SourceRunner) -> None:
        """Items from now on are of this source, rate and generation."""
        self._assigned = (spec, generation, runner)

    async def run(self) -> None:
        """Emits until it is cancelled."""
        while self._assigned is None or not self._ready(self._assigned[0]):
            await self._clock.sleep(_READINESS_POLL_S)
        # Queries of one rate must not all emit at the same moments.
        due_s = self._clock.monotonic_s() + _phase_ratio(self._assigned[0].query_id) * self._period_s(self._assigned[0])
        while True:
            period_s = self._period_s(self._assigned[0])
            wait_s = due_s - self._clock.monotonic_s()
            if wait_s > _MAX_SLEEP_S:
                await self._clock.sleep(_MAX_SLEEP_S)
                due_s = min(due_s, self._clock.monotonic_s() + self._period_s(self._assigned[0]))
                continue
            await self._clock.sleep(max(0.0, wait_s))
            if not await self._emit_one():
                await self._clock.sleep(_READINESS_POLL_S)
            due_s = max(due_s + period_s, self._clock.monotonic_s() - period_s)

    async def _emit_one(self) -> bool:
        if self._assigned is None:
            return False
        spec, generation, runner = self._assigned
        ticket = self._admissions.admit(spec.query_id, spec.rate_per_s, self._clock.monotonic_s())
        if ticket is Ticket.SHED:
            self._on_shed(self._emission(spec, generation, "shed", 0, excess=True))
            return True
        request_id, sequence = self._next_request()
        payload = await runner.emit(sequence)
        if payload is None:
            self._admissions.refund(spec.query_id, ticket)
            return False
        # The assignment may have changed meanwhile. An item is of the generation that is active when it is booked;
        # one of a source that is no longer wanted was never emitted.
        spec, generation, current = self._assigned
        if current is not runner:
            self._admissions.refund(spec.query_id, ticket)
            return await self._emit_one()
        excess = ticket is Ticket.EXCESS
        self._on_emission(self._emission(spec, generation, request_id, sequence, excess=excess), payload)
        return True

    def _period_s(self, spec: SourceSpec) -> float:
        return 1.0 / (spec.rate_per_s * self._offered_ratio(spec.query_id))

    def _emission(
        self, spec: SourceSpec, generation: Generation, request_id: str, sequence: int, *, excess: bool
    ) -> Emission:
        return Emission(
            request_id=request_id,
            sequence=sequence,
            query_id=spec.query_id,
            generation=generation,
            source_key=spec.key,
            emitted_at_s=self._clock.monotonic_s(),
            deadline_ms=spec.deadline_ms,
            output_operator_ids=spec.output_operator_ids,
            excess=excess,
        )


def _read(ended: Ended) -> tuple[str, int]:
    """An item of the source as one query has it."""
    return ended.emission.query_id, ended.emission.sequence


def _phase_ratio(query_id: QueryId) -> float:
    return int.from_bytes(blake2b(query_id.encode(), digest_size=8).digest(), "big") / 2.0**64
