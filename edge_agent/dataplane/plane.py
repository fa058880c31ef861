"""The way of an item through one device: routes, joins, replica sets, peers, and back to the book.

Everything here is synchronous and runs on the event loop, so there are no races; payloads are only moved.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import count
from typing import Protocol

from circinus.clock import Clock
from circinus.events import debug
from circinus.model.device import DeviceId
from circinus.model.directive import Directive, Generation
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.book import Book, Emission, Ended
from edge_agent.dataplane.item import MAX_PAYLOAD_BYTES, Cause, Input, Outcome, Verdict, Work
from edge_agent.dataplane.joins import Joins
from edge_agent.dataplane.routing import RoutingTable, choose
from edge_agent.telemetry import Windows

MS_PER_S = 1000.0
_MAX_HOPS = 20_000
_HOP_AGE_S = 300.0
#: An item that can't go on because something is full or late was dropped; otherwise it failed.
_DROPS = frozenset([Cause.QUEUE_FULL, Cause.DEADLINE, Cause.LINK_FULL])


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
        #: Generations under which items were here.
        self.seen: set[Generation] = set()
        self.lost_outcomes = 0
        self._device_id = device_id
        self._own_prefix = f"{device_id}-{nonce}-"
        self._sequences = count(1)
        self._port = port
        self._windows = windows
        self._clock = clock
        self._settle = settle
        self._tables: dict[Generation, RoutingTable] = {}
        self._joins = Joins()
        self._hops: OrderedDict[tuple[QueryId, str], tuple[DeviceId, float]] = OrderedDict()

    def install(self, directive: Directive) -> None:
        """Routes items of this generation from now on."""
        self._tables[directive.generation] = RoutingTable(directive)

    def remove(self, generation: Generation) -> None:
        """Items of this generation have no route any more."""
        self._tables.pop(generation, None)
        self.seen.discard(generation)

    def next_request(self) -> tuple[str, int]:
        """The id and sequence of the next item of this device's sources."""
        sequence = next(self._sequences)
        return f"{self._own_prefix}{sequence}", sequence

    def emit(self, emission: Emission, payload: bytes) -> None:
        """Books an item of a source of this device and sends it on its way."""
        self.seen.add(emission.generation)
        self.book.emit(emission)
        self._windows.emitted(emission.query_id, emission.generation)
        # Without a bound of its own an item is still given up one day: nobody is to work for it afterwards.
        in_time_s = emission.emitted_at_s + emission.deadline_ms / MS_PER_S
        deadline_s = in_time_s if emission.deadline_ms > 0 else emission.timeout_at_s
        origin = Work(
            request_id=emission.request_id,
            query_id=emission.query_id,
            generation=emission.generation,
            operator_id=SOURCE,
            deadline_s=deadline_s,
            inputs={},
        )
        if len(payload) > MAX_PAYLOAD_BYTES:
            detail = f"the source's item has {len(payload)} bytes, at most {MAX_PAYLOAD_BYTES} may be"
            self.ended(origin, Verdict.FAILED, Cause.ITEM_TOO_LARGE, detail)
            return
        table = self._tables.get(emission.generation)
        if table is None or not table.successors(emission.query_id, SOURCE):
            self.ended(origin, Verdict.FAILED, Cause.NO_ROUTE, "no operator reads the source")
            return
        self._forward(origin, payload, table)

    def receive_input(self, one: Input, peer: DeviceId) -> None:
        """An item that another device sent."""
        if not one.request_id.startswith(self._own_prefix):
            # The first hop stands: whoever had the item before us leads back to its source.
            self._hops.setdefault((one.query_id, one.request_id), (peer, self._clock.monotonic_s()))
            if len(self._hops) > _MAX_HOPS:
                self._hops.popitem(last=False)
        self._take_input(one)

    def receive_outcome(self, outcome: Outcome, peer: DeviceId) -> None:
        """An outcome that another device sent."""
        self._report(outcome, came_from=peer)

    def finished(self, work: Work, payload: bytes) -> None:
        """An operator of this device gave this output for an item."""
        table = self._tables.get(work.generation)
        if table is None:
            self.ended(work, Verdict.FAILED, Cause.NO_ROUTE, _unknown(work.generation))
            return
        if table.answers(work.query_id, work.operator_id):
            self._report(_outcome(work, Verdict.ANSWERED, payload=payload))
        self._forward(work, payload, table)

    def ended(self, work: Work, verdict: Verdict, cause: str, detail: str) -> None:
        """An item goes no further than an operator of this device."""
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

    def _forward(self, work: Work, payload: bytes, table: RoutingTable) -> None:
        for route in table.successors(work.query_id, work.operator_id):
            one = Input(
                request_id=work.request_id,
                query_id=work.query_id,
                generation=work.generation,
                operator_id=route.operator_id,
                input_name=work.operator_id,
                deadline_s=work.deadline_s,
                payload=payload,
            )
            device_id = choose(route.targets, work.request_id)
            if device_id is None:
                self._no_route(one, "the route has no target")
            elif device_id == self._device_id:
                self._take_input(one)
            elif (cause := self._port.send_input(device_id, one)) is not None:
                self.lost(one, cause)

    def _take_input(self, one: Input) -> None:
        table = self._tables.get(one.generation)
        if table is None:
            self._no_route(one, _unknown(one.generation))
            return
        self.seen.add(one.generation)
        keys = table.replica_set_keys(one.query_id, one.operator_id)
        wanted = table.inputs(one.query_id, one.operator_id)
        if not keys or one.input_name not in wanted:
            self._no_route(one, f"operator {one.operator_id} does not run on {self._device_id}, or has no such input")
            return
        work = self._joins.add(one, wanted, self._clock.monotonic_s())
        if work is not None and not self._port.offer(keys, work):
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
        ended = self.book.record(outcome, self._clock.monotonic_s())
        if ended is not None:
            self._settle(ended)


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
    )
