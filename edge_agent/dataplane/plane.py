"""The way of an item through one device: routes, joins, replica sets, peers, and back to the book.

Everything here is synchronous and runs on the event loop, so there are no races; payloads are only moved.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import Protocol

from circinus.clock import Clock
from circinus.events import debug
from circinus.model.device import DeviceId
from circinus.model.directive import Directive, Generation, Route, patience_ms
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.admission import Admissions
from edge_agent.dataplane.book import Book, Emission, Ended, Ending
from edge_agent.dataplane.direct import Direct
from edge_agent.dataplane.item import MAX_PAYLOAD_BYTES, Cause, Input, Outcome, Payload, Verdict, Work
from edge_agent.dataplane.joins import Joins
from edge_agent.dataplane.routing import RoutingTable, choose
from edge_agent.dataplane.stand_by_lane import StandByLane, is_local, item_id, local_id
from edge_agent.telemetry import Windows
from edge_agent.tracing.steps import hop_of, item_ended, joined, outcome_recorded
from edge_agent.tracing.tracer import Tracer

MS_PER_S = 1000.0
_MAX_HOPS = 20_000
_HOP_AGE_S = 300.0
#: An item that can't go on because something is full or late was dropped; otherwise it failed.
_DROPS = frozenset([Cause.QUEUE_FULL, Cause.DEADLINE, Cause.LINK_FULL, Cause.SHED])


class Port(Protocol):
    """Where items go from here."""

    def offer(self, keys: Sequence[str], work: Work) -> bool:
        """Hands an item to one of these replica sets of this device; False: none of them is there."""

    def send_input(self, peer: DeviceId, one: Input) -> Cause | None:
        """Sends an item to another device; the cause if that can't be."""

    def send_outcome(self, peer: DeviceId, outcome: Outcome) -> bool:
        """Sends an outcome to another device; False: it can't be."""


class DataPlane:
    """The items of one device. ``settle`` gets the outcome of each item that was emitted here, once."""

    def __init__(
        self,
        *,
        device_id: DeviceId,
        nonce: str,
        port: Port,
        windows: Windows,
        clock: Clock,
        settle: Callable[[Ended], None],
    ) -> None:
        self.book = Book()
        #: Which items of the sources of this device are let in.
        self.admissions = Admissions()
        #: Items for one operator alone, that callers sent.
        self.direct = Direct()
        #: Generations under which items were here.
        self.seen: set[Generation] = set()
        self.lost_outcomes = 0
        #: Which items are traced; None: none that begins here.
        self.tracer: Tracer | None = None
        self._device_id = device_id
        self._own_prefix = f"{device_id}-{nonce}-"
        self._sequences = count(1)
        self._port = port
        self._windows = windows
        self._clock = clock
        self._settle_one = settle
        #: The way of items that stand-bys serve, and who is told of items that others' links lost, and of its answers.
        self.stand_by = StandByLane()
        self.on_blame: Callable[[QueryId], None] = lambda _: None
        self.on_local_answer: Callable[[QueryId], None] = lambda _: None
        #: Items of this device's sources, and those of them that have ended.
        self.emitted = 0
        self.ended_items = 0
        self._tables: dict[Generation, RoutingTable] = {}
        self._joins = Joins()
        self._hops: OrderedDict[tuple[QueryId, str], tuple[DeviceId, float]] = OrderedDict()

    def install(self, directive: Directive) -> None:
        """Routes items of this generation from now on."""
        self._tables[directive.generation] = RoutingTable(directive)
        self.stand_by.install(directive)

    def remove(self, generation: Generation) -> None:
        """Items of this generation have no route any more."""
        self._tables.pop(generation, None)
        self.stand_by.remove(generation)
        self.seen.discard(generation)

    def next_request(self) -> tuple[str, int]:
        """The id and sequence of the next item of this device's sources."""
        sequence = next(self._sequences)
        return f"{self._own_prefix}{sequence}", sequence

    def emit(self, emission: Emission, payload: Payload) -> None:
        """Books an item of a source of this device and sends it on its way."""
        self.seen.add(emission.generation)
        # Of what callers send they, or the desk, have decided already.
        if self.tracer is not None and emission.source_key and (trace := self.tracer.begin()) is not None:
            emission = replace(emission, trace=trace)
        readers = readers_of(emission, self._tables.get(emission.generation))
        for one in readers:
            self.book.emit(one)
            self.emitted += 1
            self._windows.emitted(one.query_id, one.generation, excess=one.excess)
        # Without a bound of its own an item is still given up one day: nobody is to work for it afterwards. What runs
        # for several queries waits for the latest of their deadlines.
        deadline_s = emission.emitted_at_s + max(patience_ms(one.deadline_ms) for one in readers) / MS_PER_S
        origin = Work(
            request_id=emission.request_id,
            query_id=emission.query_id,
            generation=emission.generation,
            operator_id=SOURCE,
            deadline_s=deadline_s,
            inputs={},
            excess=emission.excess,
            trace=emission.trace,
        )
        if len(payload) > MAX_PAYLOAD_BYTES:
            detail = f"the source's item has {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} may be"
            self.ended(origin, Verdict.FAILED, Cause.ITEM_TOO_LARGE, detail)
            return
        for one in readers[1:]:
            if self.stand_by.begin(one, payload):
                self._begin_local(one, payload)
        if self.stand_by.begin(emission, payload):
            origin = replace(origin, request_id=local_id(emission.request_id))
        table = self._table_of(origin)
        if table is None or not table.successors(emission.query_id, SOURCE):
            self.ended(origin, Verdict.FAILED, Cause.NO_ROUTE, "no operator reads the source")
            return
        self._forward(origin, payload, table)

    def shed(self, emission: Emission) -> None:
        """An item of a source of this device that is not even made: offered, and dropped at the source."""
        for reader in readers_of(emission, self._tables.get(emission.generation)):
            self._shed_one(reader)

    def _shed_one(self, emission: Emission) -> None:
        self._windows.emitted(emission.query_id, emission.generation, excess=True)
        detail = "it is above the planned rate, and there is no room for more"
        ended = Ended(
            emission=emission,
            ending=Ending.DROPPED,
            cause=Cause.SHED,
            detail=detail,
            latency_ms=0.0,
            operator_id=SOURCE,
        )
        self._windows.ended(ended)

    def receive_input(self, one: Input, peer: DeviceId) -> None:
        """An item that another device sent."""
        if not one.request_id.startswith(self._own_prefix):
            # The first hop stands: whoever had the item before us leads back to its source.
            self._hops.setdefault((one.query_id, one.request_id), (peer, self._clock.monotonic_s()))
            if len(self._hops) > _MAX_HOPS:
                self._hops.popitem(last=False)
        if one.trace is not None:
            one = hop_of(one, peer, self.tracer, self._clock.monotonic_s())
        self._take_input(one)

    def receive_outcome(self, outcome: Outcome, peer: DeviceId) -> None:
        """An outcome that another device sent."""
        self._report(outcome, came_from=peer)

    def finished(self, work: Work, payload: Payload, parts: tuple[Payload, ...] = ()) -> None:
        """An operator of this device gave this output for an item."""
        if self.direct.finished(work, payload):
            return
        table = self._table_of(work)
        if table is None:
            self.ended(work, Verdict.FAILED, Cause.NO_ROUTE, _unknown(work.generation))
            return
        if table.answers(work.query_id, work.operator_id):
            self._report(_outcome(work, Verdict.ANSWERED, payload=bytes(payload)))
        self._forward(work, payload, table, parts)

    def ended(self, work: Work, verdict: Verdict, cause: str, detail: str) -> None:
        """An item goes no further than an operator of this device."""
        if self.direct.ended(work, verdict, cause, detail):
            return
        self._joins.forget_item(work.query_id, work.request_id)
        self._report(_outcome(work, verdict, cause=cause, detail=detail))

    def lost(self, one: Input, cause: Cause) -> None:
        """A link lost an item before it was sent, or refused it."""
        verdict = Verdict.DROPPED if cause in _DROPS else Verdict.FAILED
        self._joins.forget_item(one.query_id, one.request_id)
        self._report(_outcome(one, verdict, cause=cause, detail=f"on the way to operator {one.operator_id}"))

    def expire(self) -> None:
        """Ends what waited too long."""
        now_s = self._clock.monotonic_s()
        for ended in self.book.expire(now_s):
            self._settle(ended)
        for one in self._joins.overflow(now_s):
            self._report(_outcome(one, Verdict.FAILED, cause=Cause.TIMEOUT, detail="its other inputs did not come"))
        while self._hops:
            key, (_, since_s) = next(iter(self._hops.items()))
            if now_s - since_s < _HOP_AGE_S:
                break
            del self._hops[key]

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation are booked, or wait for other inputs, here."""
        return self.book.count_older(than) + self._joins.count_older(than)

    def take_over(self, query_id: QueryId, *, give_up: bool) -> None:
        """Runs a query's open items by its stand-by; those that can't be end as lost with their link if ``give_up``."""
        for held in self.stand_by.open_items(query_id):
            emission = held.emission
            if not self._run_again(query_id, emission.request_id) and give_up:
                lost = Outcome(
                    request_id=emission.request_id,
                    query_id=query_id,
                    generation_number=emission.generation.number,
                    verdict=Verdict.FAILED,
                    cause=Cause.LINK_DOWN,
                    detail="it was with a peer that is out of reach",
                    operator_id=SOURCE,
                )
                self._record(lost)

    def _run_again(self, query_id: QueryId, request_id: str) -> bool:
        """Takes an item over from its plan; False: there is no time left, or its payload was not held."""
        moved = self.stand_by.move(query_id, request_id, self._clock.monotonic_s())
        if moved is None:
            return False
        held, payload, table = moved
        self._forward(_local_origin(held.emission), payload, table)
        return True

    def _begin_local(self, emission: Emission, payload: Payload) -> None:
        """The stand-by of a query that reads another one's items has its item."""
        table = self.stand_by.table(emission.generation, emission.query_id)
        if table is not None:
            self._forward(_local_origin(emission), payload, table)

    def _table_of(self, one: Input | Work) -> RoutingTable | None:
        if is_local(one.request_id):
            return self.stand_by.table(one.generation, one.query_id)
        return self._tables.get(one.generation)

    def _settle(self, ended: Ended) -> None:
        self.ended_items += 1
        self.stand_by.end(ended.emission.query_id, ended.emission.request_id)
        self.admissions.told(ended)
        if ended.emission.trace is not None:
            item_ended(ended, self._clock.monotonic_s())
        self._settle_one(ended)

    def _forward(self, work: Work, payload: Payload, table: RoutingTable, parts: tuple[Payload, ...] = ()) -> None:
        for route in table.successors(work.query_id, work.operator_id):
            if route.query_id != work.query_id:
                self._leads_back(route.query_id, work)
            one = Input(
                request_id=work.request_id,
                query_id=route.query_id,
                generation=work.generation,
                operator_id=route.operator_id,
                input_name=work.operator_id,
                deadline_s=_deadline_s(work, route),
                payload=payload,
                excess=work.excess,
                part=work.part,
                parts=work.parts,
                trace=work.trace,
            )
            if not route.each or not parts:
                self._send(one, route)
                continue
            for part, piece in enumerate(parts):
                self._send(replace(one, payload=piece, part=part, parts=len(parts)), route)

    def _send(self, one: Input, route: Route) -> None:
        """Hands an input to its operator, here or elsewhere. Parts that are to be gathered all go to one device."""
        device_id = choose(route.targets, one.request_id, one.part if route.each else 0)
        if device_id is None:
            self._no_route(one, "the route has no target")
        elif device_id == self._device_id:
            self._take_input(one)
        elif (cause := self._port.send_input(device_id, one)) is not None:
            self.lost(one, cause)

    def _leads_back(self, query_id: QueryId, work: Work) -> None:
        """Outcomes of what another query goes on with take the way of the item that it came from."""
        hop = self._hops.get((work.query_id, work.request_id))
        if hop is not None:
            self._hops.setdefault((query_id, work.request_id), hop)

    def _take_input(self, one: Input) -> None:
        table = self._table_of(one)
        if table is None:
            self._no_route(one, _unknown(one.generation))
            return
        self.seen.add(one.generation)
        keys = table.replica_set_keys(one.query_id, one.operator_id)
        wanted = table.inputs(one.query_id, one.operator_id)
        if not keys or one.input_name not in wanted:
            self._no_route(one, f"operator {one.operator_id} does not run on {self._device_id}, or has no such input")
            return
        each = table.each(one.query_id, one.operator_id)
        work = self._joins.add(one, wanted, self._clock.monotonic_s(), each=each)
        if work is None:
            return
        if work.trace is not None and len(wanted) > 1:
            work = joined(work, self._joins.since_s, self._clock.monotonic_s())
        if split_by := table.split_by(one.query_id, one.operator_id):
            work = replace(work, split_by=split_by, whole=table.whole(one.query_id, one.operator_id))
        if not self._port.offer(keys, work):
            self._no_route(one, f"operator {one.operator_id} is not running on {self._device_id}")

    def _no_route(self, one: Input, detail: str) -> None:
        self._report(_outcome(one, Verdict.FAILED, cause=Cause.NO_ROUTE, detail=detail))

    def _report(self, outcome: Outcome, came_from: DeviceId | None = None) -> None:
        """Takes an outcome to the book, or one hop nearer to it."""
        if outcome.verdict is not Verdict.ANSWERED:
            debug("item_ended", query=outcome.query_id, item=outcome.request_id, cause=outcome.cause)
        if not outcome.request_id.startswith(self._own_prefix):
            hop = self._hops.get((outcome.query_id, outcome.request_id))
            # Never back to where it came from: two devices that forgot the way would play ball with it for ever.
            if hop is None or hop[0] == came_from or not self._port.send_outcome(hop[0], outcome):
                self.lost_outcomes += 1
            return
        if is_local(outcome.request_id):
            self._record(replace(outcome, request_id=item_id(outcome.request_id)), by_stand_by=True)
            return
        for one in self.book.for_all(outcome):
            if one.verdict is not Verdict.ANSWERED and self._is_run_again(one, came_from):
                self.book.duplicates += 1
            else:
                self._record(one)

    def _is_run_again(self, outcome: Outcome, came_from: DeviceId | None) -> bool:
        """Whether an item that its plan lost is served by the stand-by all the same."""
        if outcome.cause == Cause.LINK_DOWN:
            if came_from is not None:
                self.on_blame(outcome.query_id)
            self._run_again(outcome.query_id, outcome.request_id)
        return self.stand_by.has_moved(outcome.query_id, outcome.request_id)

    def _record(self, outcome: Outcome, *, by_stand_by: bool = False) -> None:
        if outcome.trace is not None:
            outcome_recorded(outcome, self.tracer, self._clock.monotonic_s())
        ended = self.book.record(outcome, self._clock.monotonic_s())
        if ended is None:
            return
        if by_stand_by and ended.ending is Ending.ANSWERED:
            self._windows.stand_by_answered(ended.emission.query_id, ended.emission.generation)
            self.on_local_answer(ended.emission.query_id)
        self._settle(ended)


def readers_of(emission: Emission, table: RoutingTable | None) -> list[Emission]:
    """An item of a source for each query that reads it: each has its own deadline, answer and outcome."""
    followers = table.followers(emission.query_id) if table is not None else ()
    count = 1 + len(followers)
    return [replace(emission, readers=count) if followers else emission] + [
        replace(
            emission,
            query_id=one.query_id,
            source_key=one.key,
            deadline_ms=one.deadline_ms,
            output_operator_ids=one.output_operator_ids,
            readers=count,
            given_by={**one.given_by, SOURCE: emission.query_id},
            # The trace is of the run that they share, and of who leads it.
            trace=None,
        )
        for one in followers
    ]


def _local_origin(emission: Emission) -> Work:
    """An item of a source as its query's stand-by gets it."""
    return Work(
        request_id=local_id(emission.request_id),
        query_id=emission.query_id,
        generation=emission.generation,
        operator_id=SOURCE,
        deadline_s=emission.emitted_at_s + patience_ms(emission.deadline_ms) / MS_PER_S,
        inputs={},
        excess=emission.excess,
        trace=emission.trace,
    )


def _deadline_s(work: Work, route: Route) -> float | None:
    """What runs for several queries waits for the latest of their deadlines; behind it each has its own."""
    if work.deadline_s is None or work.operator_id not in route.given_by:
        return work.deadline_s
    return work.deadline_s - route.earlier_ms / MS_PER_S


def _unknown(generation: Generation) -> str:
    return f"generation {generation.epoch}.{generation.number} is not known here"


def _outcome(
    one: Work | Input, verdict: Verdict, *, cause: str = "", detail: str = "", payload: bytes = b""
) -> Outcome:
    return Outcome(
        request_id=one.request_id,
        query_id=one.query_id,
        generation_number=one.generation.number,
        verdict=verdict,
        cause=cause,
        detail=detail,
        operator_id=OperatorId(one.operator_id),
        payload=payload,
        part=one.part,
        parts=one.parts,
        trace=one.trace,
    )
