"""What queries would get if they were submitted."""

from __future__ import annotations

from plan_values import part, plan

from circinus import wire
from circinus.model.plan import NO_PLANS, Selection, UnplacedQuery
from circinus.v1 import planner_pb2
from cloud_planner.core.diff import diff
from cloud_planner.dashboard.submission import tried_of


def _selection(*plans: object, unplaced: tuple[UnplacedQuery, ...] = (), **changes: object) -> Selection:
    return Selection(**{**_fields(), "plans": plans, "unplaced": unplaced, **changes})  # type: ignore[arg-type]


def _fields() -> dict[str, object]:
    return {name: getattr(NO_PLANS, name) for name in Selection.__dataclass_fields__}


def _answer(before: Selection, after: Selection, pending: str = "") -> planner_pb2.PlanSelectionResponse:
    summary = wire.selection_to_message(after)
    if pending:
        summary.pending.add(query_id=pending, reason="not profiled yet")
    return planner_pb2.PlanSelectionResponse(selection=summary, diff=wire.plan_diff_to_message(diff(before, after)))


def test_each_query_has_its_plan_or_the_reason_why_not() -> None:
    after = _selection(plan(query_id="new"), unplaced=(UnplacedQuery(query_id="extra-2", reason="no cores"),))
    tried = tried_of(_answer(NO_PLANS, after, pending="third"), ["new", "extra-2", "third"])
    first, second, third = tried.outcomes
    assert first.plan is not None
    assert first.where.startswith("decode on camera-7 (1 × 0.5), detect on shop-box")
    assert first.knobs == "decode.size=640 detect.fast=true"
    assert (second.plan, second.reason) == (None, "no cores")
    assert (third.plan, third.reason) == (None, "not profiled yet")
    assert tried.others == ()


def test_what_changes_for_others_is_told() -> None:
    here, there = part("read", "cloud-1"), part("read", "shop-box")
    before = _selection(plan(here, query_id="old"), plan(here, query_id="kept"), goodput_per_s=4.0)
    after = _selection(
        plan(there, query_id="old"), plan(here, query_id="kept"), plan(query_id="new"), goodput_per_s=9.0
    )
    tried = tried_of(_answer(before, after), ["new"])
    assert tried.others == (("moved", 1),)
    assert [one.query_id for one in tried.named] == ["old"]
    assert tried.goodput_per_s == (4.0, 9.0)
