"""Differences, what-ifs and explanations keep what they say over the wire."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circinus import wire
from circinus.errors import InvalidInput
from circinus.model.plan import Interval, OperatorPlan, Plan
from circinus.model.plan_diff import Change, DeviceDiff, Figures, PlanDiff, QueryDiff
from circinus.model.what_if import (
    AddDevices,
    CordonDevice,
    Figure,
    RemoveDevice,
    SetPrice,
    SetRate,
    SetSlo,
    SetWeight,
    SloField,
)
from circinus.v1 import planner_pb2

figures = st.floats(0.0, 1e9)
names = st.sampled_from(["camera-1", "vm", "shop-3/gateway@2"])
counts = st.integers(0, 2**31)
amounts = st.builds(Figure, value=figures, factor=st.booleans())
changes = st.one_of(
    st.builds(AddDevices, count=counts, like=names, site=st.sampled_from(["", "shop-3"])),
    st.builds(RemoveDevice, device=names, count=st.none() | counts),
    st.builds(CordonDevice, device=names),
    st.builds(SetRate, query=st.sampled_from(["*", "desk"]), rate_per_s=amounts),
    st.builds(SetWeight, query=st.sampled_from(["*", "desk"]), weight=amounts),
    st.builds(SetPrice, device=names, price_per_h=amounts),
    st.builds(SetSlo, query=st.sampled_from(["*", "desk"]), field=st.sampled_from(SloField), value=st.none() | figures),
)


@given(change=changes)
def test_a_change_survives_the_wire(change):
    message = planner_pb2.WhatIfChange.FromString(wire.what_if_to_message(change).SerializeToString())
    assert wire.what_if_from_message(message) == change


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (planner_pb2.WhatIfChange(), "a kind that is not known here"),
        (planner_pb2.WhatIfChange(set_slo=planner_pb2.SetSlo(query_id="q")), "set_slo.field: 0 is no bound"),
        (planner_pb2.WhatIfChange(cordon_device=planner_pb2.CordonDevice(device_id="../x")), "cordon_device.device_id"),
        (
            planner_pb2.WhatIfChange(
                set_rate=planner_pb2.SetRate(query_id="q", rate_per_s=planner_pb2.NewFigure(value=math.nan))
            ),
            "set_rate.rate_per_s: nan",
        ),
    ],
)
def test_what_is_no_change_is_refused_by_name(message, told):
    with pytest.raises(InvalidInput) as caught:
        wire.what_if_from_message(message)
    assert told in str(caught.value)


def a_plan(query_id):
    part = OperatorPlan(
        operator_id="read",
        device_id="vm",
        replicas=2,
        share_ratio=1.0,
        cores=0.5,
        accelerator_slots=0,
        accelerator_memory_bytes=0,
        memory_bytes=100,
        batch=1,
        service_ms=3.0,
    )
    return Plan(
        query_id=query_id,
        configuration={"read.size": 1, "read.fast": True, "read.ratio": 1.0},
        operators=(part,),
        latency_ms=Interval(value=1.0, low=0.5, high=2.0),
        latency_p50_ms=0.9,
        accuracy_ratio=Interval(value=0.9, low=0.8, high=1.0),
        cost_per_h=0.5,
        slo_probability_ratio=1.0,
        item_goodput_per_s=2.0,
    )


plans = st.none() | names.map(a_plan)
selections = st.builds(
    Figures,
    plans=counts,
    unplaced=counts,
    goodput_per_s=figures,
    goodput_bound_per_s=figures,
    gap_ratio=figures,
    provisional_per_s=figures,
    cost_per_h=figures,
    cost_bound_per_h=figures,
    cost_gap_ratio=figures,
    solver_status=st.text(max_size=9),
)
queries = st.builds(
    QueryDiff,
    query_id=names,
    change=st.sampled_from(Change),
    before=plans,
    after=plans,
    cost_before_per_h=figures,
    cost_after_per_h=figures,
    reason=st.text(max_size=9),
)
devices = st.builds(
    DeviceDiff,
    device_id=names,
    start=counts,
    stop=counts,
    keep=counts,
    cores_before=figures,
    cores_after=figures,
    cost_before_per_h=figures,
    cost_after_per_h=figures,
)


@given(
    diff=st.builds(
        PlanDiff,
        before=selections,
        after=selections,
        queries=st.lists(queries, max_size=3).map(tuple),
        devices=st.lists(devices, max_size=3).map(tuple),
    )
)
def test_a_difference_survives_the_wire(diff):
    message = planner_pb2.PlanDiff.FromString(wire.plan_diff_to_message(diff).SerializeToString())
    assert wire.plan_diff_from_message(message) == diff


def limit(bound=1.0):
    return {"kind": "latency", "subject": ["q", "m"], "bound": bound, "text": "latency <= 1 ms"}


def relaxation(bound=2.0):
    return {"limit": limit(), "bound": bound, "amount": 1.0, "text": "latency 2 ms", "exact": True}


def a_document(**changes):
    plan = {
        "configuration": {"read.size": 1, "read.fast": False, "read.ratio": 1.0, "read.engine": "x"},
        "operators": [
            {"operator": "read", "machine": "vm", "replicas": 1, "cores": 0.5, "batch": 1, "share_ratio": 1.0}
        ],
        "latency_ms": 12.5,
        "accuracy": None,
        "cost_per_h": 0.25,
    }
    rival = {
        "plan": plan,
        "adds_per_h": 0.5,
        "reason": "dearer",
        "wins_if": "it costs less",
        "change_ratio": 0.1,
        "relaxation": None,
    }
    values = {
        "version": 1,
        "query": "desk",
        "placed": True,
        "why": "cheapest",
        "exact": False,
        "plan": plan,
        "margins": [
            {
                "limit": limit(None),
                "value": 12.0,
                "slack": 0.0,
                "tight": True,
                "cheaper_at": relaxation(),
                "saves_per_h": 0.1,
            },
            {"limit": limit(), "value": 1.0, "slack": 0.5, "tight": False, "cheaper_at": None, "saves_per_h": None},
        ],
        "binding": [{"relaxation": relaxation(), "saves_per_h": 0.1}],
        "rivals": [rival, rival | {"relaxation": relaxation(None)}],
        "conflict": None,
    }
    return values | changes


def test_an_explanation_survives_the_wire_and_what_is_not_there_stays_away():
    conflict = {
        "reason": "no room",
        "limits": [limit()],
        "relaxations": [],
        "together": [relaxation(), relaxation()],
        "alone": True,
        "displaces": ["gate"],
        "exact": True,
    }
    for document in (a_document(), a_document(placed=False, plan=None, margins=[], rivals=[], conflict=conflict)):
        message = planner_pb2.ExplainResponse.FromString(wire.explanation_to_message(document).SerializeToString())
        again = wire.explanation_from_message(message)
        assert again == document
        if document["plan"] is not None:
            knobs, right = again["plan"]["configuration"], document["plan"]["configuration"]
            assert {name: type(value) for name, value in knobs.items()} == {
                name: type(value) for name, value in right.items()
            }
