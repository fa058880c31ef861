"""Generations one after the other: what changed, and why."""

from __future__ import annotations

from datetime import timedelta

from plan_values import NOW, part, plan

from circinus import wire
from circinus.v1 import planner_pb2
from cloud_planner.dashboard.pages.unplaced import kind_of
from cloud_planner.dashboard.plan_history import LAST_STEP, NO_EVENT, cause_of, changes_of, plan_parts
from cloud_planner.store import EventKind, EventRecord


def _summary(*plans: object, unplaced: tuple[str, ...] = (), **changes: object) -> planner_pb2.SelectionSummary:
    return planner_pb2.SelectionSummary(
        plans=[wire.plan_to_message(one) for one in plans],  # type: ignore[arg-type]
        unplaced=[planner_pb2.Unplaced(query_id=name, reason="no room") for name in unplaced],
        **changes,  # type: ignore[arg-type]
    )


def _event(name: str, seconds: float, **fields: str) -> EventRecord:
    return EventRecord(
        at=NOW + timedelta(seconds=seconds), kind=EventKind.QUERY, name=name, warning=False, fields=fields
    )


def test_only_queries_that_change_are_told() -> None:
    here, there = part("read", "cloud-1"), part("read", "shop-box")
    before = _summary(plan(here, query_id="same"), plan(here, query_id="moves"), plan(here, query_id="goes"))
    after = _summary(
        plan(here, query_id="same"), plan(there, query_id="moves"), plan(here, query_id="comes"), unplaced=("goes",)
    )
    found = changes_of(before, after)
    assert [(one.query_id, one.change.value) for one in found.queries] == [
        ("comes", "placed"),
        ("goes", "unplaced"),
        ("moves", "moved"),
    ]
    assert found.same == 1
    assert found.text == "1 placed, 1 unplaced, 1 moved"
    assert next(one.reason for one in found.queries if one.query_id == "goes") == "no room"


def test_figures_are_those_of_the_whole_selections() -> None:
    same = plan(query_id="same")
    found = changes_of(
        _summary(same, goodput_per_s=4.0, cost_per_h=1.0),
        _summary(same, goodput_per_s=5.0, cost_per_h=2.0, solver_s=0.2),
    )
    assert (found.before.plans, found.after.plans, found.same) == (1, 1, 1)
    assert (found.before.goodput_per_s, found.after.goodput_per_s, found.after.solver_s) == (4.0, 5.0, 0.2)
    assert found.text == "no query changed"


def test_other_figures_of_the_same_plan_are_no_change() -> None:
    found = changes_of(_summary(plan()), _summary(plan(slo_probability_ratio=0.5)))
    assert (found.queries, found.same) == ((), 1)


def test_devices_tell_what_starts_and_stops() -> None:
    use = [planner_pb2.MachineUse(device_id="shop-box", cores=0.5, cost_per_h=0.1)]
    found = changes_of(_summary(plan(part("read", "cloud-1"))), _summary(plan(part("read", "shop-box")), machines=use))
    told = {one.device_id: (one.start, one.stop, one.cores_after, one.cost_after_per_h) for one in found.devices}
    assert told == {"cloud-1": (0, 1, 0.0, 0.0), "shop-box": (1, 0, 0.5, 0.1)}


def test_plans_stand_side_by_side_by_operator() -> None:
    before = plan(part("decode", "camera-7"), part("read", "cloud-1"))
    after = plan(part("decode", "camera-7"), part("read", "cloud-1"), part("read", "shop-box"))
    (query,) = changes_of(_summary(before), _summary(after)).queries
    told = {one.operator: (one.before, one.after, one.same) for one in plan_parts(query)}
    assert told["decode"] == ("camera-7: 1 × 0.5 core", "camera-7: 1 × 0.5 core", True)
    assert told["read"][1] == "cloud-1: 1 × 0.5 core; shop-box: 1 × 0.5 core"
    assert told["knobs"][2]


def test_a_cause_is_what_happened_since_the_generation_before() -> None:
    events = [
        _event("query_submitted", -20, query="old"),
        _event("query_submitted", 1, query="a"),
        _event("query_submitted", 1, query="b"),
        _event("drift_found", 2, what="service of read on box is 1.4 times as stated"),
        _event("query_submitted", 30, query="later"),
    ]
    assert cause_of(events, NOW, NOW + timedelta(seconds=5)) == (
        "a, b submitted; drift: service of read on box is 1.4 times as stated"
    )
    assert cause_of(events, None, NOW) == "old submitted"


def test_many_of_a_kind_are_counted() -> None:
    events = [_event("query_removed", 1, query=f"q{number}") for number in range(9)]
    assert cause_of(events, NOW, NOW + timedelta(seconds=5)) == "q0, q1, q2 and 6 more removed"


def test_where_nothing_happened_something_was_found_out() -> None:
    assert cause_of([], NOW, NOW + timedelta(seconds=5)) == NO_EVENT


def test_steps_on_the_way_are_told_from_changes() -> None:
    events = [_event("query_pauses", 0, query="gate")]
    assert "gate pauses" in cause_of(events, NOW - timedelta(seconds=9), NOW)
    assert cause_of(events, NOW, NOW + timedelta(seconds=9)) == LAST_STEP


def test_reasons_are_of_a_kind_whatever_their_figures_are() -> None:
    first = "latency <= 60 ms: fastest plan that there is takes 128.5 ms at p95"
    second = "latency <= 1,000 ms: fastest plan that there is takes 2e+03 ms at p95"
    assert kind_of(first) == kind_of(second) == "latency <= … ms: fastest plan that there is takes … ms at p95"
    named = "accuracy >= 0.999: best known is 0.9566 (low 0.854) with {decode.size: 640}"
    assert kind_of(named) == "accuracy >= …: best known is … (low …)"
