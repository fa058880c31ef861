"""What differs between two selections."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_problems import problems

from circinus.model.plan import Interval, OperatorPlan, Plan, Selection, UnplacedQuery
from circinus.model.plan_diff import Change
from cloud_planner.core.diff import diff
from cloud_planner.core.select import select
from cloud_planner.solver import CbcSolver


def part(name, device, **changes):
    values = {
        "replicas": 1,
        "share_ratio": 1.0,
        "cores": 0.5,
        "accelerator_slots": 0,
        "accelerator_memory_bytes": 0,
        "memory_bytes": 100,
        "batch": 1,
        "service_ms": 10.0,
    }
    return OperatorPlan(operator_id=name, device_id=device, **(values | changes))


def plan(name, *parts, **changes):
    interval = Interval(value=1.0, low=1.0, high=1.0)
    values = {
        "configuration": {"a.size": 1},
        "latency_ms": interval,
        "latency_p50_ms": 1.0,
        "accuracy_ratio": interval,
        "cost_per_h": 1.0,
        "slo_probability_ratio": 1.0,
        "item_goodput_per_s": 1.0,
    }
    return Plan(query_id=name, operators=parts, **(values | changes))


def selection(*plans, unplaced=()):
    return Selection(
        plans=plans,
        unplaced=tuple(UnplacedQuery(query_id=name, reason=f"{name}: no room") for name in unplaced),
        machines=(),
        traffic_cost_per_h=0.0,
        goodput_per_s=float(len(plans)),
        goodput_bound_per_s=9.0,
        gap_ratio=0.0,
        cost_per_h=0.0,
        cost_bound_per_h=0.0,
        cost_gap_ratio=0.0,
        solver_status="optimal",
    )


def change_of(old, new):
    (found,) = diff(selection(old), selection(new)).queries
    return found.change


def test_each_change_has_its_name():
    before = plan("q", part("a", "m1"), part("b", "m2"))
    assert change_of(before, replace(before, cost_per_h=2.0)) is Change.UNCHANGED
    assert change_of(before, plan("q", part("a", "m1"), part("b", "m1"))) is Change.MOVED
    assert change_of(before, replace(before, configuration={"a.size": 2})) is Change.RECONFIGURED
    assert change_of(before, plan("q", part("a", "m1", replicas=2), part("b", "m2"))) is Change.RESIZED
    assert change_of(before, plan("q", part("b", "m2"), part("a", "m1"))) is Change.UNCHANGED
    halves = (part("a", "m1", share_ratio=0.5), part("a", "m2", share_ratio=0.5))
    thirds = (part("a", "m1", share_ratio=0.25), part("a", "m2", share_ratio=0.75))
    assert change_of(plan("q", *halves), plan("q", *thirds)) is Change.RESIZED


def test_queries_that_come_go_and_wait_are_told_with_their_reason():
    old, new = plan("gone", part("a", "m1")), plan("new", part("a", "m1"))
    found = diff(selection(old, plan("kept", part("a", "m2")), unplaced=["wait"]), selection(new, unplaced=["wait"]))
    assert [(each.query_id, each.change, each.reason) for each in found.queries] == [
        ("gone", Change.UNPLACED, "it is no longer asked for"),
        ("kept", Change.UNPLACED, "it is no longer asked for"),
        ("new", Change.PLACED, ""),
        ("wait", Change.WAITING, "wait: no room"),
    ]
    assert [each.query_id for each in found.changes] == ["gone", "kept", "new"]
    assert (found.before.plans, found.before.unplaced, found.after.plans, found.after.unplaced) == (2, 1, 1, 1)


def test_replicas_stay_where_nothing_that_they_are_told_changes():
    before = plan("q", part("a", "m1", replicas=2), part("b", "m2"))
    after = plan("q", part("a", "m1", replicas=2), part("b", "m3"), configuration={"a.size": 1, "b.size": 2})
    found = {each.device_id: each for each in diff(selection(before), selection(after)).devices}
    told = {name: (each.start, each.stop, each.keep) for name, each in found.items()}
    assert told == {"m1": (0, 0, 2), "m2": (0, 1, 0), "m3": (1, 0, 0)}
    assert (found["m1"].cores_before, found["m1"].cores_after) == (1.0, 1.0)
    again = replace(after, configuration={"a.size": 9, "b.size": 2})
    (first, *_) = diff(selection(after), selection(again)).devices
    assert (first.device_id, first.start, first.stop, first.keep) == ("m1", 2, 2, 0)


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(first=problems(queries=3), second=st.data())
def test_a_difference_is_undone_by_the_one_the_other_way(first, second):
    one = select(first, CbcSolver()).selection
    kept = second.draw(st.lists(st.sampled_from(first.queries), unique_by=lambda query: query.id))
    other = select(replace(first, queries=tuple(kept)), CbcSolver()).selection
    there, back = diff(one, other), diff(other, one)
    assert (there.before, there.after) == (back.after, back.before)
    for forth, reverse in zip(there.devices, back.devices, strict=True):
        assert (forth.start, forth.stop, forth.keep) == (reverse.stop, reverse.start, reverse.keep)
    replicas = [sum(part.replicas for plan in each.plans for part in plan.operators) for each in (one, other)]
    assert sum(each.stop + each.keep for each in there.devices) == replicas[0]
    assert sum(each.start + each.keep for each in there.devices) == replicas[1]
    assert diff(one, one).changes == ()
