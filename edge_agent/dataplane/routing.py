"""PURE. Where an item goes next, as the directive of its generation says.

Which of several targets has an item is a function of its request id alone, so that all inputs of a join meet on
one device wherever they come from. The function is a golden-ratio sequence over the item's number, started at
a place that depends on the source: shares are met not only in the long run, but by any few items in a row, so
splitting adds hardly any burstiness (a plain hash makes arrivals of each target nearly Poisson).
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from circinus.model.device import DeviceId
from circinus.model.directive import Directive, Generation, ReplicaSet, Route, SourceSpec, Target
from circinus.model.pipeline import SOURCE, OperatorId
from circinus.model.query import QueryId

_GOLDEN_RATIO = 0.6180339887498949
_HASH_SPAN = 2.0**64
#: From part to part of an item: another irrational number, or parts would go where the next items do.
_PART_STEP = 0.41421356237309515


class RoutingTable:
    """The routes and replica sets of one generation on one device.

    A route to SOURCE says whose outputs are the answer. Where there is none, it is those of the operators that
    no other operator reads. What runs once for several queries has routes of all of them behind it.
    """

    def __init__(self, directive: Directive) -> None:
        self.generation: Generation = directive.generation
        self._successors: dict[tuple[QueryId, OperatorId], list[Route]] = {}
        self._inputs: dict[tuple[QueryId, OperatorId], tuple[OperatorId, ...]] = {}
        self._keys: dict[tuple[QueryId, OperatorId], tuple[str, ...]] = {}
        self._answers: set[tuple[QueryId, OperatorId]] = set()
        self._followers: dict[QueryId, list[SourceSpec]] = {}
        self._split_by: dict[tuple[QueryId, OperatorId], str] = {}
        self._each: set[tuple[QueryId, OperatorId]] = set()
        for route in directive.routes:
            self._add_route(route)
        for replica_set in directive.replica_sets:
            self._add_replica_set(replica_set)
            self._add_parts(replica_set)
        for source in directive.sources:
            self._answers.update((source.query_id, operator_id) for operator_id in source.output_operator_ids)
            if source.leader_query_id:
                self._followers.setdefault(source.leader_query_id, []).append(source)

    def _add_route(self, route: Route) -> None:
        if route.operator_id == SOURCE:
            self._answers.update((route.query_id, operator_id) for operator_id in route.inputs)
            return
        self._inputs[route.query_id, route.operator_id] = route.inputs
        for name in route.inputs:
            self._successors.setdefault((route.given_by.get(name, route.query_id), name), []).append(route)

    def _add_parts(self, replica_set: ReplicaSet) -> None:
        places = [(use.query_id, use.operator_id) for use in replica_set.served]
        self._split_by.update(dict.fromkeys(places, replica_set.split_by))
        if replica_set.each:
            self._each.update(places)

    def _add_replica_set(self, replica_set: ReplicaSet) -> None:
        for use in replica_set.served:
            place = (use.query_id, use.operator_id)
            self._keys[place] = (*self._keys.get(place, ()), replica_set.key)
            self._inputs[place] = use.inputs

    def split_by(self, query_id: QueryId, operator_id: OperatorId) -> str:
        """The field by which the operator's output is cut; empty: nobody here sends its parts on."""
        if not any(route.each for route in self.successors(query_id, operator_id)):
            return ""
        return self._split_by.get((query_id, operator_id), "")

    def whole(self, query_id: QueryId, operator_id: OperatorId) -> bool:
        """Whether somebody takes the operator's output in one piece."""
        answers = self.answers(query_id, operator_id)
        return answers or any(not route.each for route in self.successors(query_id, operator_id))

    def each(self, query_id: QueryId, operator_id: OperatorId) -> bool:
        """Whether the operator is run for each part of an item."""
        return (query_id, operator_id) in self._each

    def successors(self, query_id: QueryId, name: OperatorId) -> Sequence[Route]:
        """Routes to the operators that read this one's output (or SOURCE's), of whatever query."""
        return self._successors.get((query_id, name), ())

    def followers(self, query_id: QueryId) -> Sequence[SourceSpec]:
        """The sources of other queries that read this one's items."""
        return self._followers.get(query_id, ())

    def answers(self, query_id: QueryId, operator_id: OperatorId) -> bool:
        """Whether this operator's output is (a part of) the answer."""
        return (query_id, operator_id) in self._answers or not self.successors(query_id, operator_id)

    def inputs(self, query_id: QueryId, operator_id: OperatorId) -> tuple[OperatorId, ...]:
        """What the operator joins; empty: it isn't known here."""
        return self._inputs.get((query_id, operator_id), ())

    def replica_set_keys(self, query_id: QueryId, operator_id: OperatorId) -> tuple[str, ...]:
        """Who serves the operator on this device; empty: nobody."""
        return self._keys.get((query_id, operator_id), ())


def choose(targets: Sequence[Target], request_id: str, part: int = 0) -> DeviceId | None:
    """The device that has this item, or part of it, in proportion to the shares; None: there is no target."""
    if not targets:
        return None
    point = (_unit_point(request_id) + part * _PART_STEP) % 1.0 * sum(target.share_ratio for target in targets)
    for target in targets:
        point -= target.share_ratio
        if point < 0:
            return target.device_id
    return targets[-1].device_id


def _unit_point(request_id: str) -> float:
    source, _, number = request_id.rpartition("-")
    if not (number.isascii() and number.isdigit() and len(number) <= 15):
        source, number = request_id, "0"
    start = int.from_bytes(blake2b(source.encode(), digest_size=8).digest(), "big") / _HASH_SPAN
    return (start + int(number) * _GOLDEN_RATIO) % 1.0
