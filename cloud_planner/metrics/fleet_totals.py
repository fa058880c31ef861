"""Telemetry of the whole fleet, added up since the planner started: its counters.

A planner hears of everything that its agents count, and is often the only one who can be asked: boxes sit behind NAT.
Sums only: a window is five microseconds, and a thousand busy devices send tens of thousands of them a second; with a
histogram for each operator it would be several times that. Percentiles are told by query (recent.py), and each agent
that can be reached has histograms of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from circinus.exposition import Family, Sample
from circinus.model.device import DeviceId
from circinus.model.query import QueryId
from circinus.v1 import control_pb2, types_pb2
from cloud_planner.catalog import Catalog
from cloud_planner.metrics import metric_list as m

_MS_PER_S = 1000.0
#: Of what a reconnecting agent sends again; one that lost its state counts anew, from far below.
_REPEATED = 10_000
_MAX_DEVICES = 20_000
_MAX_QUERIES = 50_000
_MAX_OPERATORS = 5_000
OUTCOMES = ("answered", "late", "dropped", "failed")


@dataclass(slots=True)
class _Query:
    emitted: int = 0
    ended: list[int] = field(default_factory=lambda: [0] * len(OUTCOMES))


@dataclass(slots=True)
class _Operator:
    items: int = 0
    dropped: int = 0
    failures: int = 0
    restarts: int = 0
    service_ms: float = 0.0
    queue_ms: float = 0.0
    cpu_ms: float = 0.0


class FleetTotals:
    """The sums of one fleet. Nothing is added up until ``on`` is set: somebody has to ask for it."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._queries: dict[str, _Query] = {}
        self._operators: dict[tuple[str, str], _Operator] = {}
        self._pipelines: dict[str, str] = {}
        self._sequences: dict[DeviceId, int] = {}
        self.on = False
        #: Messages that were added.
        self.messages = 0

    def put(self, device_id: DeviceId, message: control_pb2.Telemetry) -> None:
        """Takes one checked message of telemetry."""
        if not self.on:
            return
        behind = self._sequences.get(device_id, 0) - message.sequence
        if 0 <= behind < _REPEATED:
            return
        if device_id in self._sequences or len(self._sequences) < _MAX_DEVICES:
            self._sequences[device_id] = message.sequence
        self.messages += 1
        for window in message.queries:
            self._put_query(window)
        for one in message.operators:
            self._put_operator(one)

    def forget(self, kept: Collection[QueryId]) -> None:
        """Forgets all queries but these, and the operators of pipelines that are gone."""
        for gone in [query_id for query_id in self._queries if query_id not in kept]:
            del self._queries[gone]
        pipelines = self._catalog.pipelines
        for place in [place for place in self._operators if place[0] not in pipelines]:
            del self._operators[place]
        self._pipelines.clear()

    def _put_query(self, window: types_pb2.QueryWindow) -> None:
        sums = self._queries.get(window.query_id)
        if sums is None:
            if len(self._queries) >= _MAX_QUERIES:
                return
            sums = self._queries[window.query_id] = _Query()
        sums.emitted += window.emitted
        sums.ended[0] += window.answered
        sums.ended[1] += window.late
        sums.ended[2] += sum(window.dropped_by_cause.values())
        sums.ended[3] += sum(window.failed_by_cause.values())

    def _put_operator(self, window: types_pb2.OperatorWindow) -> None:
        place = (self._pipeline_of(window.query_id), window.operator_id)
        sums = self._operators.get(place)
        if sums is None:
            if not place[0] or len(self._operators) >= _MAX_OPERATORS:
                return
            sums = self._operators[place] = _Operator()
        sums.items += window.items
        sums.dropped += sum(window.dropped_by_cause.values())
        sums.failures += window.failures
        sums.restarts += window.restarts
        sums.service_ms += window.service_ms_sum
        sums.queue_ms += window.queue_ms_sum
        sums.cpu_ms += window.cpu_ms_sum

    def _pipeline_of(self, query_id: str) -> str:
        """The pipeline of a query; empty: there is no such query."""
        found = self._pipelines.get(query_id)
        if found is None:
            self._pipelines = {str(query.id): str(query.pipeline_id) for query in self._catalog.queries}
            found = self._pipelines.setdefault(query_id, "")
        return found

    def operators(self) -> Iterator[Family]:
        """What operators did."""
        operators = sorted(self._operators.items())
        yield m.OPERATOR_ITEMS, ((place, sums.items) for place, sums in operators)
        yield m.OPERATOR_DROPPED, ((place, sums.dropped) for place, sums in operators)
        yield m.OPERATOR_FAILURES, ((place, sums.failures) for place, sums in operators)
        yield m.OPERATOR_RESTARTS, ((place, sums.restarts) for place, sums in operators)
        yield m.OPERATOR_SERVICE, ((place, sums.service_ms / _MS_PER_S) for place, sums in operators)
        yield m.OPERATOR_WAIT, ((place, sums.queue_ms / _MS_PER_S) for place, sums in operators)
        yield m.OPERATOR_CPU, ((place, sums.cpu_ms / _MS_PER_S) for place, sums in operators)

    def queries(self, told: Collection[QueryId]) -> Iterator[Family]:
        """What became of items of these queries."""
        known = [(str(query_id), self._queries.get(query_id) or _Query()) for query_id in told]
        yield m.QUERY_EMITTED, (((query_id,), sums.emitted) for query_id, sums in known)
        yield m.QUERY_ENDED, _ended(known)


def _ended(known: list[tuple[str, _Query]]) -> Iterator[Sample]:
    for query_id, sums in known:
        for outcome, count in zip(OUTCOMES, sums.ended, strict=True):
            yield (query_id, outcome), count


__all__ = ["OUTCOMES", "FleetTotals"]
