"""A plan's picture as SVG: lanes, boxes and hops, with words for those who don't see it. PURE.

Nothing in it has a style of its own: colours come from the style sheet by classes, so that it is readable on dark and
on light ground. What changes while one looks has an id (``seen_id``), so that a live
part replaces a word, not a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import quote

from circinus.report.marks import Html, Part, element
from cloud_planner.dashboard.dag import Box, Dag, Edge, Health, Lane
from cloud_planner.dashboard.templating import anchor, milliseconds, number

_BOX_W, _BOX_H = 180.0, 118.0
_END_W, _END_H = 86.0, 40.0
_GAP_X, _GAP_Y = 82.0, 20.0
_LEFT, _PAD, _LABEL_H = 14.0, 16.0, 24.0
_LINE_H = 18.0
#: Letters that fit on a line of a box.
_CHARS = 25
_NAMES: Mapping[Lane, str] = {Lane.DEVICE: "source device", Lane.EDGE: "edge", Lane.CLOUD: "cloud"}


def dag_svg(dag: Dag) -> Html:
    """The picture of a plan."""
    tops, height = _tops(dag)
    width = 2 * _LEFT + dag.columns * _BOX_W + (dag.columns - 1) * _GAP_X - 2 * (_BOX_W - _END_W)
    lanes = [_lane(dag, lane, top, width) for lane, top in tops.items()]
    spots = {box.key: _spot(dag, box, tops) for box in dag.boxes}
    ways = dict(zip(dag.edges, _ways(dag, spots), strict=True))
    edges = [_line(edge, way) for edge, way in ways.items()]
    # Above all lines, so that none goes through a word.
    edges += [_hop(dag, edge, way) for edge, way in ways.items() if edge.far]
    boxes = [_end(box, spots[box.key]) if box.end else _operator(box, spots[box.key]) for box in dag.boxes]
    return element(
        "svg",
        element("title", f"Plan of {dag.query_id}", id="dag-title"),
        element("desc", description(dag), id="dag-desc"),
        *lanes,
        *edges,
        *boxes,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=f"{width:.0f}",
        height=f"{height:.0f}",
        role="group",
        aria_labelledby="dag-title dag-desc",
        class_="dag",
    )


def description(dag: Dag) -> str:
    """The picture in words: each operator with where it runs, then the hops between devices."""
    told = [
        f"{box.operator_id} runs on {box.device_id} ({_NAMES[box.lane]}) with {box.share}{_times(box)}"
        for box in dag.boxes
        if not box.end
    ]
    hops = [
        f"from {dag.box(edge.start).operator_id} on {dag.box(edge.start).device_id} to "
        f"{dag.box(edge.end).operator_id} on {dag.box(edge.end).device_id} in {milliseconds(edge.time_ms)}"
        for edge in dag.edges
        if edge.far
    ]
    text = "; ".join(told)
    return f"{text}. Items travel {'; '.join(hops)}." if hops else f"{text}. No item leaves a device."


def seen_id(box: Box) -> str:
    """The id of the element that has what was seen of a box lately."""
    return f"seen-{anchor(box.key)}"


def seen_words(box: Box) -> Html:
    """What was seen of a box lately, as it stands in the picture."""
    if box.seen_ms is None:
        return element("tspan", "not seen lately", class_="dag-soft")
    mark = "▲ " if box.health is Health.SLOWER else ""
    kind = "dag-slower" if box.health is Health.SLOWER else "dag-seen"
    return element("tspan", f"{mark}seen {milliseconds(box.seen_ms)}", class_=kind)


def _times(box: Box) -> str:
    planned = f", p95 {milliseconds(box.planned_ms.value)} planned" if box.planned_ms is not None else ""
    return planned + (f", {milliseconds(box.seen_ms)} seen" if box.seen_ms is not None else "")


def _tops(dag: Dag) -> tuple[dict[Lane, float], float]:
    """Where each lane begins, and where the last ends."""
    tops: dict[Lane, float] = {}
    y = 1.0
    for lane in Lane:
        if dag.rows.get(lane, 0):
            tops[lane] = y
            y += _lane_height(dag, lane) + 10.0
    return tops, y - 9.0


def _lane_height(dag: Dag, lane: Lane) -> float:
    rows = dag.rows[lane]
    tallest = _BOX_H if any(not box.end for box in dag.boxes if box.lane is lane) else _END_H
    return _LABEL_H + rows * tallest + (rows - 1) * _GAP_Y + 2 * _PAD - 6.0


def _spot(dag: Dag, box: Box, tops: Mapping[Lane, float]) -> tuple[float, float, float, float]:
    """Left, top, width and height of a box. Ends are narrow, and stand at the height of a box's middle."""
    wide, tall = (_END_W, _END_H) if box.end else (_BOX_W, _BOX_H)
    left = _LEFT if box.column == 0 else _LEFT + _END_W + _GAP_X + (box.column - 1) * (_BOX_W + _GAP_X)
    mixed = any(not one.end for one in dag.boxes if one.lane is box.lane)
    top = tops[box.lane] + _LABEL_H + _PAD - 6.0 + box.row * (_BOX_H + _GAP_Y)
    return left, top + ((_BOX_H - _END_H) / 2.0 if box.end and mixed else 0.0), wide, tall


def _lane(dag: Dag, lane: Lane, top: float, width: float) -> Html:
    devices = sorted({box.device_id for box in dag.boxes if box.lane is lane})
    where = f" · {devices[0]}" if lane is Lane.DEVICE else ""
    return element(
        "g",
        element(
            "rect",
            x="1",
            y=f"{top:.1f}",
            width=f"{width - 2:.1f}",
            height=f"{_lane_height(dag, lane):.1f}",
            rx="8",
            class_=f"dag-lane dag-lane-{lane.value}",
        ),
        element("text", f"{_NAMES[lane]}{where}"[:70], x=f"{_LEFT:.0f}", y=f"{top + 18:.1f}", class_="dag-lane-name"),
    )


def _operator(box: Box, spot: tuple[float, float, float, float]) -> Html:
    left, top, wide, tall = spot
    parts: list[Part] = [
        element("title", f"{box.operator_id} on {box.device_id}: {box.knobs or 'no knobs'}; {box.share}{_times(box)}"),
        element("rect", x=f"{left:.1f}", y=f"{top:.1f}", width=f"{wide:.0f}", height=f"{tall:.0f}", rx="7"),
    ]
    planned = "–"
    if box.planned_ms is not None:
        low, high = number(box.planned_ms.low), number(box.planned_ms.high)
        planned = milliseconds(box.planned_ms.value) + (f" ({low}–{high})" if low != high else "")
    lines: tuple[tuple[str, Part], ...] = (
        ("dag-name", _short(box.operator_id)),
        ("dag-where", _short(box.device_id)),
        ("dag-soft", _short(box.knobs) or "no knobs"),
        ("dag-soft", _short(box.share)),
        ("dag-time", f"p95 {planned}"),
    )
    for place, (kind, part) in enumerate(lines):
        parts.append(_text(left + 11, top + 19 + place * _LINE_H, part, kind))
    parts.append(_text(left + 11, top + 19 + 5 * _LINE_H - 2.0, seen_words(box), "dag-time", id=seen_id(box)))
    link = element("a", *parts, href=f"/devices/{quote(box.device_id, safe='')}", class_="dag-box")
    return link


def _end(box: Box, spot: tuple[float, float, float, float]) -> Html:
    left, top, wide, tall = spot
    return element(
        "g",
        element(
            "rect",
            x=f"{left:.1f}",
            y=f"{top:.1f}",
            width=f"{wide:.0f}",
            height=f"{tall:.0f}",
            rx=f"{tall / 2:.0f}",
        ),
        element(
            "text",
            "items" if box.column == 0 else "answers",
            x=f"{left + wide / 2:.1f}",
            y=f"{top + tall / 2 + 5:.1f}",
            text_anchor="middle",
        ),
        class_="dag-end",
    )


def _ways(dag: Dag, spots: Mapping[str, tuple[float, float, float, float]]) -> list[tuple[float, float, float, float]]:
    """From where to where each edge goes; those at one side of a box are apart, in the order of their other ends."""
    leaving = _ports(dag, [(edge.start, edge.end) for edge in dag.edges], spots)
    coming = _ports(dag, [(edge.end, edge.start) for edge in dag.edges], spots)
    found = []
    for edge in dag.edges:
        left, _, wide, _ = spots[edge.start]
        found.append(
            (left + wide, leaving[edge.start, edge.end], spots[edge.end][0] - 7.0, coming[edge.end, edge.start])
        )
    return found


def _ports(
    dag: Dag, ends: Sequence[tuple[str, str]], spots: Mapping[str, tuple[float, float, float, float]]
) -> dict[tuple[str, str], float]:
    """The height at which an edge meets the first box of each pair."""
    found = {}
    for box in dag.boxes:
        _, top, _, tall = spots[box.key]
        others = sorted((far for near, far in ends if near == box.key), key=lambda far: (spots[far][1], far))
        for place, far in enumerate(others):
            found[box.key, far] = top + tall / 2.0 + (place - (len(others) - 1) / 2.0) * min(18.0, tall / len(others))
    return found


def _line(edge: Edge, way: tuple[float, float, float, float]) -> Html:
    x1, y1, x2, y2 = way
    bend = max(40.0, (x2 - x1) / 2.0)
    path = f"M{x1:.1f} {y1:.1f}C{x1 + bend:.1f} {y1:.1f} {x2 - bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
    return element(
        "g",
        element("path", d=path, class_="dag-far" if edge.far else "dag-near"),
        element("path", d=f"M{x2 - 1:.1f} {y2 - 4.5:.1f}l8 4.5l-8 4.5z", class_="dag-tip"),
        class_="dag-edge",
    )


def _hop(dag: Dag, edge: Edge, way: tuple[float, float, float, float]) -> Html:
    """What a hop takes, where its line is half way."""
    start, end = dag.box(edge.start), dag.box(edge.end)
    x, y = (way[0] + way[2]) / 2.0, (way[1] + way[3]) / 2.0
    size = f", {_bytes(edge.item_bytes)} an item" if edge.item_bytes else ""
    parts: list[Part] = [
        element("title", f"{start.device_id} to {end.device_id}: {milliseconds(edge.time_ms)}{size}"),
        _label(x, y - 3.0, milliseconds(edge.time_ms), "dag-hop"),
    ]
    if edge.item_bytes:
        parts.append(_label(x, y + 12.0, _bytes(edge.item_bytes), "dag-hop dag-hop-size"))
    return element("g", *parts)


def _label(x: float, y: float, text: str, kind: str) -> Html:
    return element("text", text, x=f"{x:.1f}", y=f"{y:.1f}", text_anchor="middle", class_=kind)


def _text(x: float, y: float, part: Part, kind: str, **attributes: str) -> Html:
    return element("text", part, x=f"{x:.1f}", y=f"{y:.1f}", class_=kind, **attributes)


def _short(text: str) -> str:
    return text if len(text) <= _CHARS else text[: _CHARS - 1] + "…"


def _bytes(size: float) -> str:
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{number(size / factor, 2)} {unit}"
    return f"{size:.0f} B"


__all__ = ["dag_svg", "description", "seen_id", "seen_words"]
