"""PURE. Inputs that wait for the others of the same item and operator. Bounded in number, bytes and time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field

from circinus.model.directive import Generation
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.item import Input, Work

#: Items that may wait at one time on one device, and their bytes.
MAX_WAITING = 1024
MAX_WAITING_BYTES = 256 * 1024 * 1024
#: An item whose other inputs don't come within this time has failed elsewhere.
WAIT_S = 60.0

_Key = tuple[QueryId, str, OperatorId]


@dataclass(slots=True, kw_only=True)
class _Waiting:
    first: Input
    since_s: float
    payloads: dict[str, bytes] = field(default_factory=dict)


class Joins:
    """The inputs that wait on one device."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[_Key, _Waiting] = OrderedDict()
        self._size_bytes = 0

    def add(self, one: Input, wanted: tuple[OperatorId, ...], now_s: float) -> Work | None:
        """Takes an input; gives the work when it was the last that was missing. A repeated input changes nothing."""
        if len(wanted) == 1:
            return _work(one, {one.input_name: one.payload})
        key = (one.query_id, one.request_id, one.operator_id)
        waiting = self._waiting.setdefault(key, _Waiting(first=one, since_s=now_s))
        if one.input_name not in waiting.payloads:
            waiting.payloads[one.input_name] = one.payload
            self._size_bytes += len(one.payload)
        if all(name in waiting.payloads for name in wanted):
            self._forget(key)
            return _work(waiting.first, {name: waiting.payloads[name] for name in wanted})
        return None

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
        """The item has ended: nothing of it need wait here."""
        for key in [key for key in self._waiting if key[:2] == (query_id, request_id)]:
            self._forget(key)

    def count_older(self, than: Generation) -> int:
        """How many wait that belong to an older generation."""
        return sum(1 for waiting in self._waiting.values() if waiting.first.generation < than)

    def _forget(self, key: _Key) -> None:
        waiting = self._waiting.pop(key)
        self._size_bytes -= sum(len(payload) for payload in waiting.payloads.values())


def _work(one: Input, inputs: Mapping[str, bytes]) -> Work:
    return Work(
        request_id=one.request_id,
        query_id=one.query_id,
        generation=one.generation,
        operator_id=one.operator_id,
        deadline_s=one.deadline_s,
        inputs=inputs,
    )
