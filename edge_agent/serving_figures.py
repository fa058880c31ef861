"""What runs on a device just now, and how its ways to peers stand: for metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from circinus.model.device import DeviceId
from circinus.model.directive import Directive
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.peer_links import LinkState
from edge_agent.units import Units


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaFigures:
    """A replica set, by the query and operator that it is named after. ``cores`` are those of all replicas together."""

    query_id: QueryId
    operator_id: OperatorId
    replicas: int
    up: int
    waiting: int
    cores: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingFigures:
    """Replica sets by name, and ways to peers."""

    replica_sets: tuple[ReplicaFigures, ...] = ()
    links: Mapping[DeviceId, LinkState] = field(default_factory=dict)


def figures_of(held: Iterable[Directive], units: Units, links: Mapping[DeviceId, LinkState]) -> ServingFigures:
    """The figures of what these directives have this device run."""
    specs = {one.key: one for directive in held for one in directive.replica_sets}
    found: dict[tuple[QueryId, OperatorId], ReplicaFigures] = {}
    for key in sorted(specs):
        runner = units.replica_set(key)
        if runner is None:
            continue
        spec = runner.spec
        place = (spec.query_id, spec.operator_id)
        # Two generations may have an operator in two ways for a while.
        before = found.get(place)
        found[place] = ReplicaFigures(
            query_id=spec.query_id,
            operator_id=spec.operator_id,
            replicas=len(runner.supervisors) + (before.replicas if before else 0),
            up=sum(one.process is not None for one in runner.supervisors) + (before.up if before else 0),
            waiting=runner.held + (before.waiting if before else 0),
            cores=spec.cores * spec.replicas + (before.cores if before else 0.0),
        )
    return ServingFigures(replica_sets=tuple(found[place] for place in sorted(found)), links=links)


__all__ = ["ReplicaFigures", "ServingFigures", "figures_of"]
