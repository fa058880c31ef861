"""A query's plan as a picture's parts: boxes in lanes by tier, hops between them, and where each stands. PURE.

Lanes lie below each other: the source's device, the edge's other devices, the cloud. Columns are ranks of the DAG, so
that every hop goes to the right. An operator that is divided over devices has a box on each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from circinus.model.device import DeviceId, Tier
from circinus.model.pipeline import SOURCE, OperatorId, Pipeline, knobs_of
from circinus.model.plan import Interval, OperatorPlan, Plan, share_text
from cloud_planner.core.plan_figures import ANSWER, HopFigures, PlanFigures


class Lane(StrEnum):
    """Where a box stands: on the device that items come from, on another of the edge, in the cloud."""

    DEVICE = "device"
    EDGE = "edge"
    CLOUD = "cloud"


class Health(StrEnum):
    """How what is seen of an operator compares with what is planned."""

    UNSEEN = "unseen"
    AS_PLANNED = "as planned"
    SLOWER = "slower"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """An operator on a device, or an end: where items come from, where answers go. ``row`` counts within the lane."""

    key: str
    operator_id: OperatorId
    device_id: DeviceId
    lane: Lane
    column: int
    row: int = 0
    end: bool = False
    knobs: str = ""
    share: str = ""
    planned_ms: Interval | None = None
    seen_ms: float | None = None

    @property
    def health(self) -> Health:
        """Slower: what is seen lies above the planned interval."""
        if self.seen_ms is None or self.planned_ms is None:
            return Health.UNSEEN
        return Health.SLOWER if self.seen_ms > self.planned_ms.high else Health.AS_PLANNED


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """A way of items from one box to another. ``far``: between devices, and then it takes ``time_ms``."""

    start: str
    end: str
    far: bool
    time_ms: float
    item_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dag:
    """A plan's picture. ``rows``: how many rows each lane has; lanes without any are not drawn."""

    query_id: str
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]
    columns: int
    rows: Mapping[Lane, int]

    def box(self, key: str) -> Box:
        """The box of a key.

        Raises:
            KeyError: there is none.
        """
        for box in self.boxes:
            if box.key == key:
                return box
        raise KeyError(key)


def dag_of(
    plan: Plan,
    pipeline: Pipeline,
    source: DeviceId,
    tiers: Mapping[DeviceId, Tier],
    figures: PlanFigures | None = None,
    seen_ms: Mapping[tuple[OperatorId, DeviceId], float] | None = None,
) -> Dag:
    """A plan as boxes and edges.

    Args:
        plan: The plan.
        pipeline: Its pipeline.
        source: The device that items come from.
        tiers: The tier of each device; one that is unknown counts as of the edge.
        figures: The plan's figures part by part; None: they are not known.
        seen_ms: The p95 of service that was seen lately, by operator and device.
    """
    ranks = _ranks(pipeline)
    last = max(ranks.values(), default=0) + 1
    boxes = [Box(key=_key(SOURCE, source), operator_id=SOURCE, device_id=source, lane=Lane.DEVICE, column=0, end=True)]
    boxes += [
        _box(part, plan, ranks, _lane(part.device_id, source, tiers), figures, seen_ms or {}) for part in plan.operators
    ]
    boxes.append(
        Box(key=_key(ANSWER, source), operator_id=ANSWER, device_id=source, lane=Lane.DEVICE, column=last, end=True)
    )
    edges = _edges(pipeline, plan, source, figures)
    placed = _in_rows(boxes, edges)
    rows = {lane: max((box.row + 1 for box in placed if box.lane is lane), default=0) for lane in Lane}
    return Dag(query_id=plan.query_id, boxes=placed, edges=edges, columns=last + 1, rows=rows)


def _key(operator_id: str, device_id: str) -> str:
    return f"{operator_id}@{device_id}"


def _lane(device_id: DeviceId, source: DeviceId, tiers: Mapping[DeviceId, Tier]) -> Lane:
    if device_id == source:
        return Lane.DEVICE
    return Lane.CLOUD if tiers.get(device_id) is Tier.CLOUD else Lane.EDGE


def _ranks(pipeline: Pipeline) -> dict[OperatorId, int]:
    """The longest way from the source to each operator, the source being 0."""
    ranks: dict[OperatorId, int] = {SOURCE: 0}
    for operator in pipeline.operators:
        ranks[operator.id] = 1 + max((ranks.get(name, 0) for name in operator.inputs), default=0)
    return ranks


def _box(
    part: OperatorPlan,
    plan: Plan,
    ranks: Mapping[OperatorId, int],
    lane: Lane,
    figures: PlanFigures | None,
    seen_ms: Mapping[tuple[OperatorId, DeviceId], float],
) -> Box:
    found = figures.operator(part) if figures is not None else None
    knobs = knobs_of(plan.configuration, part.operator_id)
    return Box(
        key=_key(part.operator_id, part.device_id),
        operator_id=part.operator_id,
        device_id=part.device_id,
        lane=lane,
        column=ranks.get(part.operator_id, 1),
        knobs="  ".join(f"{name}={_value(value)}" for name, value in knobs.items()),
        share=share_text(part),
        planned_ms=found.service_p95_ms if found is not None else None,
        seen_ms=seen_ms.get((part.operator_id, part.device_id)),
    )


def _value(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _edges(pipeline: Pipeline, plan: Plan, source: DeviceId, figures: PlanFigures | None) -> tuple[Edge, ...]:
    known: dict[tuple[str, str, str, str], HopFigures] = {}
    for hop in figures.hops if figures is not None else ():
        known[hop.producer, hop.here, hop.consumer, hop.there] = hop
    places: dict[OperatorId, list[DeviceId]] = {SOURCE: [source], ANSWER: [source]}
    for part in plan.operators:
        places.setdefault(part.operator_id, []).append(part.device_id)
    ways = [(name, operator.id) for operator in pipeline.operators for name in operator.inputs]
    ways += [(name, ANSWER) for name in pipeline.outputs]
    found = []
    for producer, consumer in ways:
        for here in places.get(producer, ()):
            for there in places.get(consumer, ()):
                hop_found = known.get((producer, here, consumer, there))
                found.append(
                    Edge(
                        start=_key(producer, here),
                        end=_key(consumer, there),
                        far=here != there,
                        time_ms=hop_found.time_ms if hop_found is not None else 0.0,
                        item_bytes=hop_found.item_bytes if hop_found is not None else 0.0,
                    )
                )
    return tuple(found)


def _in_rows(boxes: Sequence[Box], edges: Sequence[Edge]) -> tuple[Box, ...]:
    """The boxes with their rows: in each lane and column those first whose inputs stand higher."""
    height: dict[str, float] = {}
    found: list[Box] = []
    order = {lane: place for place, lane in enumerate(Lane)}

    def wish(box: Box) -> tuple[float, str]:
        above = [height[edge.start] for edge in edges if edge.end == box.key and edge.start in height]
        return (sum(above) / len(above) if above else 0.0, box.key)

    for column in sorted({box.column for box in boxes}):
        here = [box for box in boxes if box.column == column]
        for lane in Lane:
            for row, box in enumerate(sorted((one for one in here if one.lane is lane), key=wish)):
                found.append(replace(box, row=row))
        for box in found:
            height.setdefault(box.key, order[box.lane] * 100.0 + box.row)
    return tuple(found)


__all__ = ["Box", "Dag", "Edge", "Health", "Lane", "dag_of"]
