"""Directives held against the plans that they are for: what is written is clean, whatever is changed is found."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_values import device, fleet, operator, pipeline, query
from test_live_directives import placed, plan

from circinus.model.device import Tier
from circinus.model.directive import Directive, Generation, Peer, Target
from circinus.model.plan import Selection
from cloud_planner.core.audit_directives import audit_directives, audit_generations
from cloud_planner.core.directives import directives

GENERATION = Generation(epoch=2, number=7)
DEVICES = (
    device("camera", links=["gateway", "cloud", "attic"]),
    device("gateway", data_address="g:1", links=["cloud", "attic"]),
    device("attic", data_address="a:1", links=["cloud"]),
    device("cloud", tier=Tier.CLOUD, data_address="c:1"),
)
NAMES = [found.id for found in DEVICES]
SHAPES = {
    "chain": pipeline(operator("cut", ["source"]), operator("read", ["cut"]), outputs=("read",)),
    "join": pipeline(
        operator("cut", ["source"]), operator("look", ["source"]), operator("read", ["cut", "look"]), outputs=("read",)
    ),
    "two answers": pipeline(operator("cut", ["source"]), operator("read", ["cut"]), outputs=("cut", "read")),
}


@st.composite
def cases(draw):
    """Plans of one to three queries of one pipeline, and the directives that are written for them."""
    spec = SHAPES[draw(st.sampled_from(sorted(SHAPES)))]
    queries, plans = [], []
    for number in range(draw(st.integers(1, 3))):
        queries.append(query(f"q{number}", source=draw(st.sampled_from(NAMES))))
        parts = []
        for found in spec.operators:
            hosts = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True))
            parts += [placed(found.id, host, share_ratio=1.0 / len(hosts)) for host in hosts]
        plans.append(plan(*parts, query_id=f"q{number}", configuration={}))
    told = directives(fleet(*DEVICES, spec=spec), queries, plans, GENERATION)
    return selection(plans), told


def selection(plans):
    return Selection(
        plans=tuple(plans),
        unplaced=(),
        machines=(),
        traffic_cost_per_h=0.0,
        goodput_per_s=0.0,
        goodput_bound_per_s=0.0,
        gap_ratio=0.0,
        cost_per_h=0.0,
        cost_bound_per_h=0.0,
        cost_gap_ratio=0.0,
        solver_status="",
    )


def with_part(told, number, **changes):
    return [replace(each, **changes) if index == number else each for index, each in enumerate(told)]


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_what_is_written_passes(case):
    chosen, told = case
    assert audit_directives(chosen, told, {}) == ()
    assert audit_directives(chosen, told, dict.fromkeys(NAMES, GENERATION)) == ()


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(case=cases(), data=st.data())
def test_whatever_is_changed_is_found(case, data):
    chosen, told = case
    number = data.draw(st.integers(0, len(told) - 1))
    one = told[number]
    kinds = ["generation", "twice", "extra peer"]
    kinds += ["replicas", "lose replicas", "copy replicas", "knobs"] if one.replica_sets else []
    kinds += ["lose route", "target", "share", "inputs", "two routes"] if one.routes else []
    kinds += ["lose source", "foreign source"] if one.sources else []
    kinds += ["lose peer", "no address"] if one.peers else []
    match data.draw(st.sampled_from(kinds)):
        case "generation":
            changed = with_part(told, number, generation=Generation(epoch=2, number=8))
            if len(told) == 1:
                assert audit_directives(chosen, changed, {one.device_id: Generation(epoch=3, number=1)})
                return
        case "twice":
            changed = [*told, one]
        case "extra peer":
            others = [n for n in NAMES if n != one.device_id and n not in [p.device_id for p in one.peers]]
            new = Peer(device_id=data.draw(st.sampled_from([*others, "nowhere"])), address="x:9")
            changed = with_part(told, number, peers=(*one.peers, new))
        case "replicas":
            more = replace(one.replica_sets[0], replicas=one.replica_sets[0].replicas + 1)
            changed = with_part(told, number, replica_sets=(more, *one.replica_sets[1:]))
        case "lose replicas":
            changed = with_part(told, number, replica_sets=one.replica_sets[1:])
        case "copy replicas":
            changed = with_part(told, number, replica_sets=(*one.replica_sets, one.replica_sets[0]))
        case "knobs":
            other = replace(one.replica_sets[0], knobs={"length": 3})
            changed = with_part(told, number, replica_sets=(other, *one.replica_sets[1:]))
        case "lose route":
            changed = with_part(told, number, routes=one.routes[1:])
        case "target":
            route = replace(one.routes[0], targets=(Target(device_id="nowhere", share_ratio=1.0),))
            changed = with_part(told, number, routes=(route, *one.routes[1:]))
        case "share":
            target = replace(one.routes[0].targets[0], share_ratio=0.9)
            route = replace(one.routes[0], targets=(target, *one.routes[0].targets[1:]))
            changed = with_part(told, number, routes=(route, *one.routes[1:]))
        case "inputs":
            route = replace(one.routes[0], inputs=(*one.routes[0].inputs, "other"))
            changed = with_part(told, number, routes=(route, *one.routes[1:]))
        case "two routes":
            changed = with_part(told, number, routes=(*one.routes, one.routes[0]))
        case "lose source":
            changed = with_part(told, number, sources=one.sources[1:])
        case "foreign source":
            other = replace(one.sources[0], query_id="somebody")
            changed = with_part(told, number, sources=(*one.sources, other))
        case "lose peer":
            changed = with_part(told, number, peers=one.peers[1:])
        case "no address":
            changed = with_part(told, number, peers=(replace(one.peers[0], address=""), *one.peers[1:]))
    assert audit_directives(chosen, changed, {})


def test_a_plan_without_directives_and_directives_without_a_plan_are_found():
    chosen = plan(placed("cut", "camera"), placed("read", "cloud"), configuration={})
    told = directives(fleet(*DEVICES, spec=SHAPES["chain"]), [query()], [chosen], GENERATION)
    messages = [finding.message for finding in audit_directives(selection([chosen]), (), {})]
    assert "read has no replicas on cloud as its plan says" in messages
    assert "has a plan and no source" in messages
    messages = [finding.message for finding in audit_directives(selection([]), told, {})]
    assert "cut has replicas on camera that no plan asks for" in messages
    assert "has a source on camera and no plan" in messages


def test_a_directive_older_than_what_its_device_accepted_is_found():
    def told(epoch, number):
        return [
            Directive(
                device_id="camera",
                generation=Generation(epoch=epoch, number=number),
                replica_sets=(),
                routes=(),
                sources=(),
                peers=(),
            )
        ]

    accepted = {"camera": GENERATION}
    assert audit_generations(told(2, 7), accepted) == audit_generations(told(3, 1), accepted) == ()
    (finding,) = audit_generations(told(2, 6), accepted)
    assert (finding.subject, finding.message) == ("camera", "its directive 2.6 is older than 2.7, which it accepted")
    assert audit_generations(told(1, 9), accepted)
