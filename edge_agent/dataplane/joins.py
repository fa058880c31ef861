"""PURE. Inputs that wait for the others of the same item and operator, and parts for the others of the same input.

Bounded in number, bytes and time.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from circinus.model.directive import Generation
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.item import Input, Payload, Work
from edge_agent.tracing.context import Trace

#: Items that may wait at one time on one device, and their bytes.
MAX_WAITING = 1024
MAX_WAITING_BYTES = 256 * 1024 * 1024
#: An item whose other inputs don't come within this time has failed elsewhere.
WAIT_S = 60.0
#: Items that ended here, of which more may come: nobody is to wait for the rest of them.
MAX_ENDED = 4096

_Key = tuple[QueryId, str, OperatorId]


@dataclass(slots=True, kw_only=True)
class _Waiting:
    first: Input
    since_s: float
    #: Of each input, what has come by part, and how many parts there are.
    payloads: dict[str, dict[int, Payload]] = field(default_factory=dict)
    parts: dict[str, int] = field(default_factory=dict)
    size_bytes: int = 0

    def take(self, one: Input) -> int:
        """Takes an input or a part of it, unless it is there already; gives its bytes."""
        parts = self.parts.setdefault(one.input_name, one.parts)
        payloads = self.payloads.setdefault(one.input_name, {})
        if one.parts != parts or one.part in payloads:
            return 0
        payloads[one.part] = one.payload
        self.size_bytes += len(one.payload)
        return len(one.payload)

    def complete(self, wanted: tuple[OperatorId, ...]) -> bool:
        return all(name in self.payloads and len(self.payloads[name]) == self.parts[name] for name in wanted)


class Joins:
    """The inputs that wait on one device."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[_Key, _Waiting] = OrderedDict()
        self._ended: OrderedDict[tuple[QueryId, str], None] = OrderedDict()
        self._size_bytes = 0
        #: Since when the inputs waited of the work that was given last, if it had several.
        self.since_s = 0.0

    def add(self, one: Input, wanted: tuple[OperatorId, ...], now_s: float, *, each: bool = False) -> Work | None:
        """Takes an input; gives the work when it was the last that was missing. A repeated input changes nothing.

        ``each``: the operator is run for each part, so that none waits for the others.
        """
        if (one.query_id, one.request_id) in self._ended:
            return None
        if len(wanted) == 1 and (each or one.parts == 1):
            return _work(one, {one.input_name: one.payload}, part=one.part, parts=one.parts, trace=one.trace)
        key = (one.query_id, one.request_id, one.operator_id)
        waiting = self._waiting.setdefault(key, _Waiting(first=one, since_s=now_s))
        self._size_bytes += waiting.take(one)
        if not waiting.complete(wanted):
            return None
        self._forget(key)
        gathered: dict[str, tuple[Payload, ...]] = {
            name: tuple(waiting.payloads[name][part] for part in range(waiting.parts[name]))
            for name in wanted
            if waiting.parts[name] > 1
        }
        inputs: dict[str, Payload] = {name: waiting.payloads[name][0] for name in wanted if name not in gathered}
        self.since_s = waiting.since_s
        # A trace goes on behind the input that the others waited for.
        return _work(waiting.first, inputs, gathered=gathered, trace=one.trace)

    def overflow(self, now_s: float) -> list[Input]:
        """Lets go of what waited too long, and of the oldest while there are too many; gives an input of each."""
        gone: list[Input] = []
        while self._waiting:
            key, oldest = next(iter(self._waiting.items()))
            too_many = len(self._waiting) > MAX_WAITING or self._size_bytes > MAX_WAITING_BYTES
            if not too_many and now_s - oldest.since_s < WAIT_S:
                break
            self._forget(key)
            gone.append(oldest.first)
        return gone

    def forget_item(self, query_id: QueryId, request_id: str) -> None:
        """The item has ended: nothing of it need wait here, now or later."""
        for key in [key for key in self._waiting if key[:2] == (query_id, request_id)]:
            self._forget(key)
        self._ended[query_id, request_id] = None
        if len(self._ended) > MAX_ENDED:
            self._ended.popitem(last=False)

    def count_older(self, than: Generation) -> int:
        """How many wait that belong to an older generation."""
        return sum(1 for waiting in self._waiting.values() if waiting.first.generation < than)

    def _forget(self, key: _Key) -> None:
        self._size_bytes -= self._waiting.pop(key).size_bytes


def _work(
    one: Input,
    inputs: Mapping[str, Payload],
    *,
    gathered: Mapping[str, tuple[Payload, ...]] | None = None,
    part: int = 0,
    parts: int = 1,
    trace: Trace | None = None,
) -> Work:
    return Work(
        request_id=one.request_id,
        query_id=one.query_id,
        generation=one.generation,
        operator_id=one.operator_id,
        deadline_s=one.deadline_s,
        inputs=inputs,
        excess=one.excess,
        part=part,
        parts=parts,
        gathered=gathered or {},
        trace=trace,
    )
