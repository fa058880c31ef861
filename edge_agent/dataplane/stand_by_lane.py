"""The way of items that are served by stand-bys: beside the plan's, on this device alone.

A stand-by's run of an item has an id of its own, made from the item's: so it never meets what the plan's run of the
same item left in queues and joins, and whatever comes first ends the item. What a source gave is held as long as its
item is open, so that an item that was lost with a link can be run again here. All of it is bounded: an item whose
payload is no longer held ends with its link.

PURE but for what it is handed: it moves payloads and looks at no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

from circinus.model.directive import Directive, Generation, StandBy
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.book import MS_PER_S, Emission
from edge_agent.dataplane.item import Payload
from edge_agent.dataplane.routing import RoutingTable

#: Ends the id of a stand-by's run. Ids of items end with their number.
_MARK = "~"
_TOLD_PREFIX = "stand-by/"
#: Payloads that are held on one device at most, and their bytes.
MAX_HELD = 4096
MAX_HELD_BYTES = 64 * 1024 * 1024
#: An item is run again if so much of the predicted time is left: about its median.
_LEAST_TIME_RATIO = 0.5


def local_id(request_id: str) -> str:
    """The id of a stand-by's run of an item."""
    return request_id + _MARK


def is_local(request_id: str) -> bool:
    """Whether this is the id of a stand-by's run."""
    return request_id.endswith(_MARK)


def told_operator(request_id: str, operator_id: OperatorId) -> OperatorId:
    """What an operator is called in windows: what a stand-by does is not held against the promises of the plan."""
    return OperatorId(_TOLD_PREFIX + operator_id) if is_local(request_id) else operator_id


def item_id(request_id: str) -> str:
    """The id of the item that a run is of."""
    return request_id.removesuffix(_MARK)


@dataclass(slots=True, kw_only=True)
class Held:
    """An open item of a query that has a stand-by. ``payload`` None: it could not be held."""

    emission: Emission
    payload: Payload | None
    local: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    stand_by: StandBy
    table: RoutingTable


class StandByLane:
    """Stand-bys of all kept generations, which queries they serve now, and the open items of their queries."""

    def __init__(self) -> None:
        #: Queries that are served by their stand-by now.
        self.serving: frozenset[QueryId] = frozenset()
        self._prepared: dict[tuple[Generation, QueryId], _Prepared] = {}
        self._held: OrderedDict[tuple[QueryId, str], Held] = OrderedDict()
        self._held_bytes = 0

    def install(self, directive: Directive) -> None:
        """Knows the stand-bys of a directive."""
        for one in directive.stand_bys:
            alone = replace(
                directive, replica_sets=one.replica_sets, routes=one.routes, sources=(), peers=(), stand_bys=()
            )
            self._prepared[directive.generation, one.query_id] = _Prepared(stand_by=one, table=RoutingTable(alone))

    def remove(self, generation: Generation) -> None:
        """Forgets the stand-bys of a generation."""
        for key in [key for key in self._prepared if key[0] == generation]:
            del self._prepared[key]

    def table(self, generation: Generation, query_id: QueryId) -> RoutingTable | None:
        """The routes of a stand-by; None: there is none."""
        prepared = self._prepared.get((generation, query_id))
        return prepared.table if prepared is not None else None

    def begin(self, emission: Emission, payload: Payload) -> bool:
        """An item begins; says whether its stand-by serves it."""
        if (emission.generation, emission.query_id) not in self._prepared:
            return False
        local = emission.query_id in self.serving
        kept = None if local else payload
        self._held[emission.query_id, emission.request_id] = Held(emission=emission, payload=kept, local=local)
        self._held_bytes += len(payload) if kept is not None else 0
        self._make_room()
        return local

    def end(self, query_id: QueryId, request_id: str) -> None:
        """An item has ended."""
        held = self._held.pop((query_id, request_id), None)
        if held is not None:
            self._let_go(held)

    def has_moved(self, query_id: QueryId, request_id: str) -> bool:
        """Whether an item is run by its stand-by, so that what becomes of the plan's run of it ends nothing."""
        held = self._held.get((query_id, request_id))
        return held is not None and held.local

    def open_items(self, query_id: QueryId) -> list[Held]:
        """The open items of a query that its plan runs, oldest first."""
        return [held for (owner, _), held in self._held.items() if owner == query_id and not held.local]

    def move(self, query_id: QueryId, request_id: str, now_s: float) -> tuple[Held, Payload, RoutingTable] | None:
        """Takes an item over from its plan, if there is time and its payload is held; None: it can't be."""
        held = self._held.get((query_id, request_id))
        if held is None or held.local or held.payload is None:
            return None
        prepared = self._prepared.get((held.emission.generation, query_id))
        if prepared is None or not _in_time(held.emission, prepared.stand_by, now_s):
            return None
        payload = held.payload
        self._let_go(held)
        held.local = True
        return held, payload, prepared.table

    def _let_go(self, held: Held) -> None:
        if held.payload is not None:
            self._held_bytes -= len(held.payload)
            held.payload = None

    def _make_room(self) -> None:
        while len(self._held) > MAX_HELD:
            self._let_go(self._held.popitem(last=False)[1])
        if self._held_bytes <= MAX_HELD_BYTES:
            return
        for held in self._held.values():
            self._let_go(held)
            if self._held_bytes <= MAX_HELD_BYTES:
                break


def _in_time(emission: Emission, stand_by: StandBy, now_s: float) -> bool:
    if emission.deadline_ms <= 0:
        return True
    left_ms = emission.deadline_ms - (now_s - emission.emitted_at_s) * MS_PER_S
    return left_ms >= _LEAST_TIME_RATIO * stand_by.latency_ms.value


def needs_in_reach(directive: Directive, stand_by: StandBy) -> frozenset[str]:
    """Those of a stand-by's needs that the device itself sends items to."""
    targets: Iterable[str] = (
        target.device_id
        for route in directive.routes
        if route.query_id == stand_by.query_id
        for target in route.targets
    )
    return frozenset(targets) & frozenset(stand_by.needs)
