"""Shadow sampling: a small share of live items is also run through the reference configuration, in idle time.

The agreement of the live answer with the reference's is what accuracy is estimated by where no labels exist. Items are
kept at the query's source device, with their answers, until nothing waits or runs there; what is not reached in time is
let go. One process at a time, at the lowest priority, is started for it and ended when it has nothing left to do.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from circinus.clock import Clock
from circinus.errors import CircinusError
from circinus.events import event, warning
from circinus.model.directive import Directive, Generation, SourceSpec
from circinus.model.query import QueryId
from circinus.v1 import worker_pb2
from edge_agent.dataplane.book import Emission, Ended, Ending
from edge_agent.dataplane.item import Payload
from edge_agent.process import ServingProcess
from edge_agent.telemetry import Windows

#: One of so many items is sampled, and one in so many seconds where items are few; never two within the latter's ...
SHARE_RATIO = 0.02
SPARSE_S = 15.0
#: ... smaller bound: the reference may be slow.
LEAST_GAP_S = 1.0
#: What is held at most: items of one query, bytes of all, seconds.
MAX_ITEMS = 8
MAX_BYTES = 64 * 1024 * 1024
MAX_AGE_S = 120.0
_POLL_S = 0.25
#: Where nothing is to be sampled; an idle box must cost nothing.
_REST_S = 2.0
#: Serving is hardly ever idle at a high load: after so long an item is run all the same, at the lowest priority.
_PATIENCE_S = 5.0
_SCORE_TIMEOUT_S = 60.0
#: A process that has had nothing to do for so long is ended.
_IDLE_S = 60.0


@dataclass(slots=True, kw_only=True)
class _Held:
    """An item on its way, or answered: then with its outputs."""

    query_id: QueryId
    generation: Generation
    source_key: str
    since_s: float
    item: bytes
    outputs: Mapping[str, bytes] | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.item) + sum(len(one) for one in (self.outputs or {}).values())


class Shadow:
    """The sampling of one device. ``idle`` says whether serving needs nothing at this moment."""

    def __init__(
        self,
        *,
        windows: Windows,
        clock: Clock,
        start: Callable[[SourceSpec], Awaitable[ServingProcess]],
        idle: Callable[[], bool],
    ) -> None:
        self._windows = windows
        self._clock = clock
        self._start = start
        self._idle = idle
        self._specs: dict[QueryId, SourceSpec] = {}
        self._next_s: dict[QueryId, float] = {}
        self._open: OrderedDict[str, _Held] = OrderedDict()
        self._ready: deque[_Held] = deque()
        #: Sources whose items can't be scored so, by key: said once.
        self._hopeless: set[str] = set()
        self._process: tuple[SourceSpec, ServingProcess] | None = None
        self._used_s = 0.0

    def assign(self, directive: Directive) -> None:
        """Samples the items of this directive's sources from now on."""
        self._specs = {
            spec.query_id: spec
            for spec in directive.sources
            if spec.reference and spec.scorer_entry_point and spec.key not in self._hopeless
        }
        for known in self._next_s.keys() - self._specs.keys():
            del self._next_s[known]

    def emitted(self, emission: Emission, payload: Payload) -> None:
        """An item was emitted: holds it if it is its turn and there is room."""
        spec = self._specs.get(emission.query_id)
        if spec is None or spec.key in self._hopeless or emission.excess:
            return
        now_s = self._clock.monotonic_s()
        gap_s = max(LEAST_GAP_S, min(SPARSE_S, 1.0 / (SHARE_RATIO * max(spec.rate_per_s, 1e-6))))
        # The first one waits, too: a start is no time to be judged by.
        if now_s < self._next_s.setdefault(emission.query_id, now_s + gap_s) or not self._room(emission, len(payload)):
            return
        self._next_s[emission.query_id] = now_s + gap_s
        self._open[emission.request_id] = _Held(
            query_id=emission.query_id,
            generation=emission.generation,
            source_key=spec.key,
            since_s=now_s,
            item=bytes(payload),
        )

    def _room(self, emission: Emission, size_bytes: int) -> bool:
        held = [*self._open.values(), *self._ready]
        mine = sum(one.query_id == emission.query_id for one in held)
        return mine < MAX_ITEMS and sum(one.size_bytes for one in held) + size_bytes <= MAX_BYTES

    def ended(self, ended: Ended) -> None:
        """An item's outcome: one that is held waits to be scored if it was answered, in time or late."""
        held = self._open.pop(ended.emission.request_id, None)
        if held is not None and ended.ending in (Ending.ANSWERED, Ending.LATE):
            held.outputs = {name: bytes(payload) for name, payload in ended.outputs.items()}
            self._ready.append(held)

    async def run(self) -> None:
        """Scores what is held whenever serving is idle, until it is cancelled; its process is gone when it returns."""
        try:
            while True:
                await self._clock.sleep(_POLL_S if self._specs or self._process is not None else _REST_S)
                await self.attempt()
        finally:
            await self._end()

    async def attempt(self) -> None:
        """Scores at most one item, if it is time."""
        now_s = self._clock.monotonic_s()
        while self._open and now_s - next(iter(self._open.values())).since_s > MAX_AGE_S:
            self._open.popitem(last=False)
        while self._ready and (now_s - self._ready[0].since_s > MAX_AGE_S or self._gone(self._ready[0])):
            self._ready.popleft()
        if not self._ready:
            if self._process is not None and now_s - self._used_s > _IDLE_S:
                await self._end()
            return
        if not self._idle() and now_s - self._ready[0].since_s < _PATIENCE_S:
            return
        held = self._ready.popleft()
        try:
            await self._score(held, self._specs[held.query_id])
        except CircinusError as error:
            # What can't be started, or died over an item, would do so again.
            self._hopeless.add(held.source_key)
            warning("not_shadowed", query=held.query_id, reason=str(error).partition("; it said:")[0])
            await self._end()
        self._used_s = self._clock.monotonic_s()

    def _gone(self, held: _Held) -> bool:
        spec = self._specs.get(held.query_id)
        return spec is None or spec.key != held.source_key or held.source_key in self._hopeless

    async def _score(self, held: _Held, spec: SourceSpec) -> None:
        if self._process is None or not _alike(self._process[0], spec) or self._process[1].gone.done():
            await self._end()
            self._process = (spec, await self._start(spec))
            event("shadow_started", query=held.query_id, pid=self._process[1].pid)
        item = worker_pb2.ShadowItem(item=held.item, outputs=held.outputs)
        reply = await self._process[1].call(worker_pb2.WorkerRequest(shadow=item), _SCORE_TIMEOUT_S)
        if reply.shadowed.HasField("score_ratio"):
            self._windows.shadowed(held.query_id, held.generation, reply.shadowed.score_ratio)
        else:
            warning("shadow_failed", query=held.query_id, reason=reply.shadowed.error)

    async def _end(self) -> None:
        if self._process is not None:
            process, self._process = self._process[1], None
            await process.stop(1.0)


def _alike(one: SourceSpec, other: SourceSpec) -> bool:
    """Whether the same process does for both."""
    return (one.bundle_digest, one.reference) == (other.bundle_digest, other.reference)
