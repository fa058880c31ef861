"""A plan as a picture: where boxes stand, what hops say, what those are told who don't see it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from plan_values import PIPELINE, TIERS, figures, part, plan

from circinus.model.plan import Interval
from cloud_planner.core.plan_figures import ANSWER
from cloud_planner.dashboard.dag import Box, Dag, Health, Lane, dag_of
from cloud_planner.dashboard.dag_svg import dag_svg, description, seen_id, seen_words

_SVG = "{http://www.w3.org/2000/svg}"


def _dag(**changes: object) -> Dag:
    found = plan(**changes)  # type: ignore[arg-type]
    return dag_of(found, PIPELINE, "camera-7", TIERS, figures(found), {("detect", "shop-box"): 41.0})


def _box(dag: Dag, operator: str) -> Box:
    return next(box for box in dag.boxes if box.operator_id == operator)


def test_boxes_stand_in_the_lane_of_their_tier_and_in_the_column_of_their_rank() -> None:
    dag = _dag()
    placed = {box.operator_id: (box.lane, box.column) for box in dag.boxes}
    assert placed == {
        "source": (Lane.DEVICE, 0),
        "decode": (Lane.DEVICE, 1),
        "detect": (Lane.EDGE, 2),
        "track": (Lane.DEVICE, 2),
        "read": (Lane.CLOUD, 3),
        ANSWER: (Lane.DEVICE, 4),
    }
    assert dag.rows == {Lane.DEVICE: 1, Lane.EDGE: 1, Lane.CLOUD: 1}


def test_a_lane_without_boxes_is_not_drawn() -> None:
    found = plan(*(part(name, "camera-7") for name in ("decode", "detect", "track", "read")))
    dag = dag_of(found, PIPELINE, "camera-7", TIERS)
    assert (dag.rows[Lane.DEVICE], dag.rows[Lane.EDGE], dag.rows[Lane.CLOUD]) == (2, 0, 0)
    markup = dag_svg(dag).markup
    assert "dag-lane-edge" not in markup
    assert "dag-lane-cloud" not in markup


def test_an_operator_on_two_devices_has_two_boxes_and_a_hop_to_each() -> None:
    found = plan(
        part("decode", "camera-7"),
        part("detect", "shop-box", share_ratio=0.6),
        part("detect", "cloud-1", share_ratio=0.4),
        part("track", "camera-7"),
        part("read", "camera-7"),
    )
    dag = dag_of(found, PIPELINE, "camera-7", TIERS)
    assert sum(box.operator_id == "detect" for box in dag.boxes) == 2
    into = [edge for edge in dag.edges if edge.start == "decode@camera-7" and edge.end.startswith("detect@")]
    assert [(edge.end, edge.far) for edge in into] == [("detect@shop-box", True), ("detect@cloud-1", True)]
    assert "60% of items" in _box(dag, "detect").share


def test_no_two_boxes_stand_in_the_same_place() -> None:
    found = plan(*(part(name, device) for name in ("decode", "detect", "track", "read") for device in TIERS))
    dag = dag_of(found, PIPELINE, "camera-7", TIERS)
    places = [(box.lane, box.column, box.row) for box in dag.boxes]
    assert len(set(places)) == len(places)
    assert all(dag.box(edge.start).column < dag.box(edge.end).column for edge in dag.edges)


def test_only_hops_between_devices_have_a_time() -> None:
    edges = {(edge.start, edge.end): edge for edge in _dag().edges}
    far = edges["decode@camera-7", "detect@shop-box"]
    assert (far.far, far.time_ms, far.item_bytes) == (True, 12.5, 48_000.0)
    near = edges["decode@camera-7", "track@camera-7"]
    assert (near.far, near.time_ms) == (False, 0.0)


@pytest.mark.parametrize(
    ("seen_ms", "health"), [(None, Health.UNSEEN), (30.0, Health.AS_PLANNED), (33.5, Health.SLOWER)]
)
def test_slower_is_what_lies_above_the_planned_interval(seen_ms: float | None, health: Health) -> None:
    box = Box(
        key="a@b",
        operator_id="a",
        device_id="b",
        lane=Lane.EDGE,
        column=1,
        planned_ms=Interval(value=30.0, low=27.0, high=33.0),
        seen_ms=seen_ms,
    )
    assert box.health is health


def test_what_is_slower_is_said_by_more_than_a_colour() -> None:
    assert "▲" in seen_words(_box(_dag(), "detect")).markup


def test_the_picture_is_sound_xml_with_a_title_and_a_description() -> None:
    dag = _dag()
    root = ElementTree.fromstring(dag_svg(dag).markup.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))
    assert root.get("aria-labelledby") == "dag-title dag-desc"
    assert root.findtext(f"{_SVG}title") == "Plan of gate"
    assert root.findtext(f"{_SVG}desc") == description(dag)
    ids = [one.get("id") for one in root.iter() if one.get("id")]
    assert len(ids) == len(set(ids))
    assert seen_id(_box(dag, "detect")) in ids


def test_the_description_names_every_operator_with_its_device_and_each_hop() -> None:
    text = description(_dag())
    assert "detect runs on shop-box (edge) with 1 × 0.5 core" in text
    assert "from decode on camera-7 to detect on shop-box in 12.5" in text
    assert "track on camera-7 to track" not in text


def test_nothing_in_the_picture_has_a_style_or_a_script() -> None:
    markup = dag_svg(_dag()).markup
    assert "style=" not in markup
    assert "<script" not in markup


def test_names_with_markup_in_them_stay_text() -> None:
    found = plan(part("decode", "<b>&"), part("detect", "x"), part("track", "x"), part("read", "x"))
    markup = dag_svg(dag_of(found, PIPELINE, "<b>&", TIERS)).markup
    assert "<b>" not in markup
    assert "&lt;b&gt;&amp;" in markup


def test_long_names_are_cut_in_the_box_and_whole_in_its_title() -> None:
    name = "a-device-with-a-very-long-name-in-the-basement"
    found = plan(part("decode", name), part("detect", name), part("track", name), part("read", name))
    markup = dag_svg(dag_of(found, PIPELINE, "camera-7", TIERS)).markup
    assert f">{name}<" not in markup
    assert f"decode on {name}:" in markup
