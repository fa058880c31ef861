"""Where callers' items come in: for a whole query, as one of its items, or for one operator of this device.

An item for a query is let in as those of its source are: up to the planned rate always, above it as far as there is
room. It is booked, and its caller answered by its one outcome. An item for one operator goes straight to its replicas;
it is no query's, so it yields to all that are, and counts in no goodput.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Protocol, TypeVar

from circinus.clock import Clock
from circinus.errors import CircinusError, CodeFailed, NotFound, NotRunnable, TimedOut, TooLarge, Unreachable
from circinus.model.directive import Directive, ReplicaSet, SourceSpec
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.admission import Ticket
from edge_agent.dataplane.book import Emission, Ended, Ending
from edge_agent.dataplane.direct import PREFIX
from edge_agent.dataplane.item import MAX_PAYLOAD_BYTES, Cause, Outcome, Payload, Verdict, Work
from edge_agent.dataplane.plane import DataPlane
from edge_agent.tracing.context import Trace
from edge_agent.tracing.steps import operator_served
from edge_agent.units import Units

T = TypeVar("T")

MS_PER_S = 1000.0
#: How long an item may take where neither its query nor its caller bounds it.
DEFAULT_TIMEOUT_S = 30.0
MAX_TIMEOUT_S = 600.0
#: No source's process knows the truth of what callers send.
NO_SOURCE = ""
_SHED = frozenset([Cause.QUEUE_FULL, Cause.LINK_FULL, Cause.SHED])
_GONE = frozenset([Cause.LINK_DOWN, Cause.NO_ROUTE, Cause.OPERATOR_DIED, Cause.OPERATOR_HUNG])


class Offers(Protocol):
    """Who hands work to replica sets of this device."""

    def offer(self, keys: tuple[str, ...], work: Work) -> bool:
        """False: none of them is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Requests that are open at once, in all and of one connection, and the bytes of all their items."""

    open_requests: int = 256
    open_requests_per_peer: int = 64
    open_bytes: int = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryModel:
    """A whole query of which this device has the source."""

    source: SourceSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorModel:
    """One operator of a query, as this device runs it."""

    query_id: QueryId
    operator_id: OperatorId
    inputs: tuple[OperatorId, ...]
    sets: tuple[ReplicaSet, ...]
    deadline_ms: float


Model = QueryModel | OperatorModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of an item. ``late``: after its query's latency bound; ``outputs`` by operator."""

    outputs: Mapping[str, Payload]
    latency_ms: float
    late: bool = False


class Desk:
    """Callers' items of one device. ``emit`` takes an item of a query; ``active``: the directive of the sources."""

    def __init__(
        self,
        *,
        plane: DataPlane,
        units: Units,
        offers: Offers,
        emit: Callable[[Emission, Payload], None],
        active: Callable[[], Directive | None],
        clock: Clock,
        limits: Limits,
    ) -> None:
        self._plane = plane
        self._units = units
        self._offers = offers
        self._emit = emit
        self._active = active
        self._clock = clock
        self._limits = limits
        self._open: Counter[str] = Counter()
        self._open_bytes = 0
        self._waiting: dict[tuple[QueryId, str], asyncio.Future[Ended]] = {}
        self._direct_numbers = count(1)

    def model(self, name: str) -> Model:
        """What a name means now: QUERY, PIPELINE (its first query here) or QUERY/OPERATOR.

        Raises:
            NotFound: there is no such query or operator on this device.
        """
        directive = self._active()
        sources = sorted(directive.sources, key=lambda one: one.query_id) if directive is not None else []
        for source in sources:
            if name == source.query_id:
                return QueryModel(source=source)
        for source in sources:
            if name == source.pipeline_id:
                return QueryModel(source=source)
        query_id, slash, operator_id = name.partition("/")
        if slash and directive is not None:
            found = _operator_model(directive, QueryId(query_id), OperatorId(operator_id))
            if found is not None:
                return found
        raise NotFound(f"there is no model {name[:100]!r} on this device; there are: {self._names(directive)}")

    def ready(self, model: Model) -> bool:
        """Whether the processes that it needs of this device are up."""
        directive = self._active()
        if directive is None:
            return False
        if isinstance(model, OperatorModel):
            return any(self._up(one) for one in model.sets)
        query_id = model.source.query_id
        sets = [one for one in directive.replica_sets if any(use.query_id == query_id for use in one.served)]
        return all(self._up(one) for one in sets)

    def all_ready(self) -> bool:
        """Whether every process of the active generation is up."""
        directive = self._active()
        return directive is not None and self._units.ready(directive)

    def trace(self, traceparent: str) -> Trace | None:
        """The trace of a caller's item, as part of the caller's own if there is one; None: it is not traced."""
        return self._plane.tracer.begin(traceparent) if self._plane.tracer is not None else None

    async def infer_query(
        self, model: QueryModel, payload: bytes, timeout_s: float | None, peer: str, trace: Trace | None = None
    ) -> Answer:
        """Has one item of a query answered; ``timeout_s`` None: as long as its query lets it.

        Raises:
            TooLarge: too many requests are open, the item has too many bytes, or it was shed.
            TimedOut: its time was over first.
            CodeFailed: an operator failed on it.
            Unreachable: the query can't be served now.
        """
        with self._opened(peer, len(payload)):
            return await self._infer_query(model.source, payload, timeout_s, trace)

    async def infer_operator(
        self,
        model: OperatorModel,
        inputs: Mapping[str, bytes],
        timeout_s: float | None,
        peer: str,
        trace: Trace | None = None,
    ) -> Answer:
        """Has one operator of this device work on one item; raises as ``infer_query`` does."""
        with self._opened(peer, sum(map(len, inputs.values()))):
            return await self._infer_operator(model, inputs, timeout_s, trace)

    def ended(self, ended: Ended) -> None:
        """How an item of a source of this device ended, for the caller who waits for it."""
        future = self._waiting.pop((ended.emission.query_id, ended.emission.request_id), None)
        if future is not None and not future.done():
            future.set_result(ended)

    async def _infer_query(
        self, source: SourceSpec, payload: bytes, timeout_s: float | None, trace: Trace | None
    ) -> Answer:
        directive = self._active()
        if directive is None:
            raise Unreachable("nothing is served on this device yet; try again")
        if source.leader_query_id:
            raise NotRunnable(
                f"query {source.query_id} reads the items of {source.leader_query_id}, which runs its operators; send "
                "items there, or give the query the input push:"
            )
        _check_size(payload)
        now_s = self._clock.monotonic_s()
        ticket = self._plane.admissions.admit(source.query_id, source.rate_per_s, now_s)
        request_id, sequence = self._plane.next_request()
        bounds_ms = [bound for bound in (source.deadline_ms, (timeout_s or 0.0) * MS_PER_S) if bound > 0]
        emission = Emission(
            request_id=request_id,
            sequence=sequence,
            query_id=source.query_id,
            generation=directive.generation,
            source_key=NO_SOURCE,
            emitted_at_s=now_s,
            deadline_ms=min(bounds_ms, default=0.0),
            output_operator_ids=source.output_operator_ids,
            excess=ticket is not Ticket.IN_RATE,
            trace=trace,
        )
        if ticket is Ticket.SHED:
            self._plane.shed(emission)
            raise TooLarge(
                f"query {source.query_id} is above its planned rate of {source.rate_per_s:g}/s, and there is no room "
                "for more; send less, or later"
            )
        key = (source.query_id, request_id)
        future: asyncio.Future[Ended] = asyncio.get_running_loop().create_future()
        self._waiting[key] = future
        try:
            self._emit(emission, payload)
            ended = await self._within(future, timeout_s or MAX_TIMEOUT_S)
        finally:
            self._waiting.pop(key, None)
        if ended.ending in (Ending.DROPPED, Ending.FAILED):
            raise _error(ended.cause, ended.detail, ended.operator_id)
        return Answer(outputs=ended.outputs, latency_ms=ended.latency_ms, late=ended.ending is Ending.LATE)

    async def _infer_operator(
        self, model: OperatorModel, inputs: Mapping[str, bytes], timeout_s: float | None, trace: Trace | None
    ) -> Answer:
        directive = self._active()
        if directive is None:
            raise Unreachable("nothing is served on this device yet; try again")
        for payload in inputs.values():
            _check_size(payload)
        now_s = self._clock.monotonic_s()
        if timeout_s is None:
            timeout_s = model.deadline_ms / MS_PER_S if model.deadline_ms > 0 else DEFAULT_TIMEOUT_S
        work = Work(
            request_id=f"{PREFIX}{next(self._direct_numbers)}",
            query_id=model.query_id,
            generation=directive.generation,
            operator_id=model.operator_id,
            deadline_s=now_s + timeout_s,
            inputs=inputs,
            excess=True,
            trace=trace,
        )
        future = self._plane.direct.add(work.request_id)
        try:
            if not self._offers.offer(tuple(one.key for one in model.sets), work):
                raise Unreachable(f"operator {model.operator_id} is not running on this device now; try again")
            outcome: Outcome = await self._within(future, timeout_s)
        finally:
            self._plane.direct.forget(work.request_id)
            if trace is not None:
                operator_served(work, now_s, self._clock.monotonic_s())
        if outcome.verdict is not Verdict.ANSWERED:
            raise _error(outcome.cause, outcome.detail, outcome.operator_id)
        latency_ms = (self._clock.monotonic_s() - now_s) * MS_PER_S
        return Answer(outputs={str(model.operator_id): outcome.payload}, latency_ms=latency_ms)

    async def _within(self, future: asyncio.Future[T], timeout_s: float) -> T:
        try:
            async with asyncio.timeout(timeout_s):
                return await future
        except TimeoutError:
            raise TimedOut(f"no answer within {timeout_s:g} s") from None

    @contextmanager
    def _opened(self, peer: str, size_bytes: int) -> Iterator[None]:
        limits = self._limits
        if size_bytes + self._open_bytes > limits.open_bytes:
            raise TooLarge(
                f"an item of {size_bytes:,} bytes: those of all open requests may have {limits.open_bytes:,}; try again"
            )
        if self._open.total() >= limits.open_requests:
            raise TooLarge(f"{limits.open_requests} requests are open, at most so many may be; try again")
        if self._open[peer] >= limits.open_requests_per_peer:
            raise TooLarge(
                f"{limits.open_requests_per_peer} requests of this connection are open, at most so many may be; "
                "wait for one"
            )
        self._open[peer] += 1
        self._open_bytes += size_bytes
        try:
            yield
        finally:
            self._open_bytes -= size_bytes
            self._open[peer] -= 1
            if not self._open[peer]:
                del self._open[peer]

    def _up(self, replica_set: ReplicaSet) -> bool:
        runner = self._units.replica_set(replica_set.key)
        return runner is not None and any(one.process is not None for one in runner.supervisors)

    def _names(self, directive: Directive | None) -> str:
        if directive is None:
            return "none yet"
        queries = [str(source.query_id) for source in directive.sources]
        operators = [f"{use.query_id}/{use.operator_id}" for one in directive.replica_sets for use in one.served]
        return ", ".join(sorted({*queries, *operators})[:50]) or "none"


def _operator_model(directive: Directive, query_id: QueryId, operator_id: OperatorId) -> OperatorModel | None:
    found = [
        (one, use)
        for one in directive.replica_sets
        for use in one.served
        if (use.query_id, use.operator_id) == (query_id, operator_id)
    ]
    if not found:
        return None
    use = found[0][1]
    return OperatorModel(
        query_id=query_id,
        operator_id=operator_id,
        inputs=use.inputs,
        sets=tuple(one for one, _ in found),
        deadline_ms=use.deadline_ms,
    )


def _check_size(payload: bytes) -> None:
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"the item has {len(payload):,} bytes, at most {MAX_PAYLOAD_BYTES:,} may be")


def _error(cause: str, detail: str, operator_id: str) -> CircinusError:
    """What a caller is told of an item that was dropped or failed."""
    where = f" at {operator_id}" if operator_id else ""
    text = f"{cause}{where}: {detail}"
    if cause in _SHED:
        return TooLarge(f"the item was shed: {text}; send less, or later")
    if cause in (Cause.DEADLINE, Cause.TIMEOUT):
        return TimedOut(f"the item was given up: {text}")
    if cause in _GONE:
        return Unreachable(f"the item failed: {text}; try again")
    if cause == Cause.ITEM_TOO_LARGE:
        return TooLarge(f"the item failed: {text}")
    return CodeFailed(f"the item failed: {text}")
