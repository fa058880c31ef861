from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from live_values import choices, device, fleet, pipeline, query, table
from test_live_directives import GENERATION, placed, plan

from circinus import wire
from circinus.model.device import Tier
from circinus.model.plan import Selection
from cloud_planner.core.audit_stand_bys import audit_stand_bys
from cloud_planner.core.directives import directives, empty
from cloud_planner.core.stand_by import stand_bys, with_stand_bys

CLOUD = device("cloud", tier=Tier.CLOUD, data_address="c:1", cores=16.0)
FAR = (placed("cut", "camera"), placed("read", "cloud"))


def camera(**changes):
    return device("camera", links=["cloud"], **changes)


def wanted(query_id="q", **changes):
    return replace(query(query_id, **changes), stand_by=True)


def selected(*plans):
    return Selection(
        plans=plans,
        unplaced=(),
        machines=(),
        traffic_cost_per_h=0.0,
        goodput_per_s=0.0,
        goodput_bound_per_s=0.0,
        gap_ratio=0.0,
        cost_per_h=0.0,
        cost_bound_per_h=0.0,
        cost_gap_ratio=0.0,
        solver_status="optimal",
    )


def decided(queries, plans, *devices, before=None, scores=None, **known):
    """The choices by query, and what the audit has against the directives with them."""
    there = fleet(*devices, choices={one.id: choices() for one in queries}, **known)
    told = directives(there, queries, plans, GENERATION)
    found = stand_bys(there, queries, plans, told, before=before)
    whole = with_stand_bys(told, found)
    findings = audit_stand_bys(selected(*plans), whole, {one.id: one for one in devices})
    return {choice.query_id: choice for choice in found}, whole, findings


def test_a_query_whose_plan_leaves_its_device_gets_a_plan_of_its_own_device_alone():
    found, whole, findings = decided([wanted()], [plan(*FAR)], camera(), CLOUD)
    stand_by = found["q"].stand_by
    assert not findings
    assert stand_by.needs == ("cloud",)
    assert {one.operator_id for one in stand_by.replica_sets} == {"cut", "read"}
    assert all(target.device_id == "camera" for route in stand_by.routes for target in route.targets)
    assert [directive.stand_bys for directive in whole if directive.device_id == "camera"] == [(stand_by,)]


def test_stand_bys_come_through_the_wire_unchanged():
    found, _, _ = decided([wanted()], [plan(*FAR)], camera(), CLOUD)
    stand_by = found["q"].stand_by
    digest = "sha256:" + 64 * "0"
    sets = tuple(replace(one, bundle_digest=digest, environment_digest=digest) for one in stand_by.replica_sets)
    sent = replace(empty("camera", GENERATION), stand_bys=(replace(stand_by, replica_sets=sets),))
    assert wire.directive_from_message(wire.directive_to_message(sent)) == sent


def test_a_query_that_does_not_ask_for_one_gets_none():
    found, whole, _ = decided([query()], [plan(*FAR)], camera(), CLOUD)
    assert not found
    assert not any(directive.stand_bys for directive in whole)


def test_an_all_local_plan_needs_none():
    found, _, _ = decided([wanted()], [plan(placed("cut", "camera"), placed("read", "camera"))], camera(), CLOUD)
    assert found["q"].stand_by is None
    assert not found["q"].reason


def test_where_there_is_no_room_it_is_said():
    found, whole, _ = decided([wanted()], [plan(*FAR)], camera(memory_bytes=2**28 + 2**20), CLOUD)
    assert found["q"].stand_by is None
    assert "no room on camera" in found["q"].reason
    assert not any(directive.stand_bys for directive in whole)


def test_a_process_of_the_plan_serves_the_stand_by_too():
    first, _, _ = decided([wanted()], [plan(*FAR)], camera(), CLOUD)
    cut = next(one for one in first["q"].stand_by.replica_sets if one.operator_id == "cut")
    same = placed("cut", "camera", cores=cut.cores, memory_bytes=cut.memory_bytes, replicas=cut.replicas)
    far = plan(same, placed("read", "cloud"), configuration=first["q"].stand_by.configuration)
    found, whole, findings = decided([wanted()], [far], camera(), CLOUD)
    local = next(directive for directive in whole if directive.device_id == "camera")
    assert {one.key for one in local.replica_sets} & {one.key for one in found["q"].stand_by.replica_sets}
    assert not findings


def test_a_bound_on_latency_is_kept_if_it_can_be_and_told_if_not():
    kept, _, _ = decided([wanted(latency_ms=1_000.0)], [plan(*FAR)], camera(), CLOUD)
    assert kept["q"].stand_by.latency_ms.value <= 1_000.0
    missed, _, _ = decided([wanted(latency_ms=5.0)], [plan(*FAR)], camera(), CLOUD)
    assert missed["q"].stand_by.latency_ms.value > 5.0


def test_of_what_fits_the_nearest_to_the_bound_on_accuracy_is_taken():
    spec = pipeline()
    known = table(spec)
    keys = sorted(known.scores)
    known = replace(known, scores={key: dict.fromkeys(range(4), 0.5 + 0.1 * place) for place, key in enumerate(keys)})
    there = fleet(camera(), CLOUD, spec=spec, tables=known)
    told = directives(there, [wanted()], [plan(*FAR)], GENERATION)
    (found,) = stand_bys(there, [wanted()], [plan(*FAR)], told)
    assert found.stand_by.accuracy_ratio.value == 0.8


def test_what_is_in_force_stays_while_nothing_better_is_found():
    first, _, _ = decided([wanted()], [plan(*FAR)], camera(), CLOUD)
    stand_by = first["q"].stand_by
    moved = replace(stand_by, latency_ms=replace(stand_by.latency_ms, value=stand_by.latency_ms.value * 1.05))
    again, _, _ = decided([wanted()], [plan(*FAR)], camera(), CLOUD, before={"q": moved})
    assert again["q"].stand_by == moved


@settings(max_examples=40, deadline=None)
@given(
    cores=st.sampled_from([0.5, 1.0, 2.0, 4.0]),
    memory_bytes=st.integers(2**28, 2**31),
    rates=st.lists(st.sampled_from([0.5, 2.0, 8.0, 30.0]), min_size=1, max_size=4),
)
def test_no_device_is_ever_asked_for_more_than_it_has(cores, memory_bytes, rates):
    box = camera(cores=cores, memory_bytes=memory_bytes)
    queries = [wanted(f"q{number}", rate_per_s=rate) for number, rate in enumerate(rates)]
    plans = [plan(placed("cut", "cloud"), placed("read", "cloud"), query_id=one.id) for one in queries]
    local = placed("cut", "camera", cores=0.25)
    plans[0] = plan(local, placed("read", "cloud"), query_id="q0")
    found, _, findings = decided(queries, plans, box, CLOUD)
    assert not findings
    assert all(choice.stand_by is not None or choice.reason for choice in found.values())
