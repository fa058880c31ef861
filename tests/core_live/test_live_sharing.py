"""What queries of a live fleet share: in the problem, in the selection, in the directives."""

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from live_values import choices, device, fleet, operator, pipeline, query

from circinus.model.device import Tier
from circinus.model.directive import Generation
from circinus.model.pipeline import Knob, State
from circinus.wire.directive import directive_from_message, directive_to_message
from cloud_planner.core.audit import audit
from cloud_planner.core.audit_directives import audit_directives
from cloud_planner.core.decompose import decompose
from cloud_planner.core.directives import directives
from cloud_planner.core.problem import Sharing
from cloud_planner.core.select import select
from cloud_planner.core.shares import shares_of
from cloud_planner.solver import CbcSolver
from edge_agent.dataplane.routing import RoutingTable, choose

GENERATION = Generation(epoch=1, number=1)
GIB = 2**30
TRACKED = pipeline(
    operator("cut", ["source"], [Knob(name="length", values=(1, 2))]),
    operator("track", ["cut"], state=State.PER_SOURCE),
    operator("read", ["track"], [Knob(name="fast", values=(False, True))]),
)


def served(queries, *devices, spec=None, most=8):
    """The problem, the selection, and what its devices are told, each of them audited."""
    known = {one.id: choices(spec)[:most] for one in queries}
    there = fleet(*devices, spec=spec, choices=known)
    problem = decompose(there, queries)
    selection = select(problem, CbcSolver()).selection
    assert audit(problem, selection) == ()
    told = directives(there, queries, selection.plans, GENERATION, shares_of(problem, selection.plans))
    assert audit_directives(selection, told, {}, problem) == ()
    return problem, selection, told


def reading(*names, source="stream:door", **slo):
    return [replace(query(name, **slo), input=source) for name in names]


def cores(selection):
    return sum(use.cores for use in selection.machines)


def test_queries_of_one_stream_take_less_than_two_of_their_own():
    box = device("camera", cores=4.0)
    problem, together, _ = served(reading("a", "b", latency_ms=500.0), box)
    assert problem.sharing is Sharing.PREFIX
    assert len({one.stream for one in problem.queries}) == 1
    _, apart, _ = served(reading("a", "b", source="", latency_ms=500.0), box)
    assert cores(together) == pytest.approx(cores(apart) / 2)
    # Nobody waits longer for it, either.
    assert [one.latency_ms for one in together.plans] == [one.latency_ms for one in apart.plans]


def test_a_small_box_serves_more_queries_of_one_stream():
    box = device("camera", cores=0.5)
    _, together, _ = served(reading("a", "b", "c"), box)
    _, apart, _ = served(reading("a", "b", "c", source=""), box)
    assert (len(together.plans), len(apart.plans)) == (3, 1)


@pytest.mark.parametrize("source", ["", "push:"])
def test_what_nobody_else_reads_makes_the_problem_no_larger(source):
    problem, _, _ = served(reading("a", "b", source=source, latency_ms=500.0), device("camera", cores=4.0))
    assert problem.sharing is Sharing.NONE
    steps = [step for one in problem.queries for candidate in one.candidates for step in candidate.steps]
    assert {step.share_key for step in steps} == {""}
    assert {one.stream for one in problem.queries} == {""}


def test_other_rates_and_other_devices_are_other_streams():
    one, other = reading("a", "b")
    there = [device("camera"), device("gateway", data_address="g:1", links=["camera"])]
    problem, _, _ = served([one, replace(other, rate_per_s=1.0)], *there)
    assert problem.sharing is Sharing.NONE
    problem, _, _ = served([one, replace(other, source_device_id="gateway")], *there)
    assert problem.sharing is Sharing.NONE


def test_processes_are_counted_on_only_where_memory_could_run_out():
    queries = [query(name, rate_per_s=1.0) for name in "abcdef"]
    small = device("camera", cores=4.0, memory_bytes=GIB)
    problem, selection, told = served(queries, small)
    assert problem.sharing is Sharing.PREFIX
    assert len(selection.plans) == 6
    assert sum(one.replicas * one.memory_bytes for one in told[0].replica_sets) <= GIB
    alone = [replace(one, share_key="") for one in problem.queries[0].candidates[0].steps]
    assert alone[0].pooled
    unshared = select(replace(problem, sharing=Sharing.NONE), CbcSolver()).selection
    assert len(unshared.plans) < 6
    problem, _, _ = served(queries, device("camera", cores=4.0, memory_bytes=64 * GIB))
    assert problem.sharing is Sharing.NONE


def test_a_tight_bound_is_not_planned_at_the_cap():
    queries = [query(name, rate_per_s=1.0, latency_ms=120.0) for name in "abcdef"]
    problem, _, _ = served(queries, device("camera", cores=4.0, memory_bytes=GIB))
    assert problem.sharing is Sharing.NONE


def test_equal_replicas_share_a_process_wherever_they_meet():
    _, selection, (told,) = served([query("a"), query("b")], device("camera", cores=4.0), most=1)
    assert {one.replicas for one in told.replica_sets} == {1}
    assert [[(use.query_id, use.operator_id) for use in one.uses] for one in told.replica_sets] == [
        [("a", "cut"), ("b", "cut")],
        [("a", "read"), ("b", "read")],
    ]
    assert sum(one.cores for one in told.replica_sets) == pytest.approx(cores(selection))


def test_a_process_stays_as_queries_come_and_go():
    box = device("camera", cores=4.0)
    keys = [
        {one.key for one in served([query(name) for name in names], box, most=1)[2][0].replica_sets}
        for names in ("a", "ab", "b", "bc")
    ]
    assert keys[0] == keys[1] == keys[2] == keys[3]


def test_what_carries_state_is_shared_by_those_of_one_stream_alone():
    box = device("camera", cores=4.0)
    _, _, (told,) = served([query("a"), query("b")], box, spec=TRACKED, most=1)
    assert sorted(len(one.uses) for one in told.replica_sets if one.operator_id == "track") == [1, 1]
    _, _, (told,) = served(reading("a", "b"), box, spec=TRACKED, most=1)
    assert [one.operator_id for one in told.replica_sets] == ["cut", "track", "read"]


def test_the_follower_takes_over_with_the_same_processes():
    box = device("camera", cores=4.0)
    _, _, (both,) = served(reading("a", "b"), box, most=1)
    _, _, (left,) = served(reading("b"), box, most=1)
    assert {one.key for one in both.replica_sets} == {one.key for one in left.replica_sets}
    assert {one.key for one in both.sources} == {one.key for one in left.sources}
    leaders = [(one.query_id, one.leader_query_id, dict(one.given_by)) for one in both.sources]
    assert leaders == [("a", "", {}), ("b", "a", {"cut": "a", "read": "a"})]
    assert [one.leader_query_id for one in left.sources] == [""]


def test_uses_say_what_is_still_to_come_and_the_latest_deadline_of_all():
    early, late = reading("a", "b", latency_ms=400.0)
    late = replace(late, slo=replace(late.slo, latency_ms=600.0), weight=2.0)
    _, selection, (told,) = served([early, late], device("camera", cores=4.0), most=1)
    read_ms = next(part.service_ms for part in selection.plans[0].operators if part.operator_id == "read")
    cut, read = (one.uses[0] for one in told.replica_sets)
    assert (cut.query_id, cut.weight, cut.rate_per_s, cut.deadline_ms) == ("a", 3.0, 2.0, 600.0)
    assert cut.after_ms == pytest.approx(read_ms)
    assert read.after_ms == 0.0


def test_where_ways_part_each_has_its_own_deadline():
    early, late = reading("a", "b", latency_ms=400.0)
    late = replace(late, slo=replace(late.slo, latency_ms=600.0))
    known = choices()
    there = fleet(
        device("camera", cores=4.0),
        choices={"a": known[:1], "b": [one for one in known if one.configuration["read.fast"]][:1]},
    )
    problem = decompose(there, [early, late])
    selection = select(problem, CbcSolver()).selection
    (told,) = directives(there, [early, late], selection.plans, GENERATION, shares_of(problem, selection.plans))
    assert audit_directives(selection, (told,), {}, problem) == ()
    ways = {(one.query_id, one.operator_id): (dict(one.given_by), one.earlier_ms) for one in told.routes}
    assert ways["a", "cut"] == ({"source": "a"}, 0.0)
    assert ways["a", "read"] == ({"cut": "a"}, 200.0)
    assert ways["b", "read"] == ({"cut": "a"}, 0.0)
    assert ("b", "cut") not in ways


INPUTS = st.sampled_from(["", "stream:door", "stream:door", "stream:hall"])


@st.composite
def fleets(draw):
    spec = draw(st.sampled_from([None, TRACKED]))
    everything = choices(spec)
    queries, known = [], {}
    for number in range(draw(st.integers(2, 4))):
        latency_ms = draw(st.sampled_from([None, 300.0, 700.0]))
        name = f"q{number}"
        made = query(
            name, rate_per_s=draw(st.sampled_from([1.0, 4.0])), **({"latency_ms": latency_ms} if latency_ms else {})
        )
        queries.append(replace(made, input=draw(INPUTS)))
        known[name] = tuple(draw(st.lists(st.sampled_from(everything), min_size=1, max_size=2, unique_by=id)))
    memory = draw(st.sampled_from([GIB, 8 * GIB]))
    devices = [
        device("camera", cores=draw(st.sampled_from([0.5, 1.0, 2.0])), memory_bytes=memory, links=["cloud"]),
        device("cloud", tier=Tier.CLOUD, data_address="c:1", memory_bytes=memory, price_per_h=1.0),
    ]
    return fleet(*devices, spec=spec, choices=known), queries


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(case=fleets(), data=st.data())
def test_whatever_is_shared_every_query_has_each_operator_once_for_each_item(case, data):
    there, queries = case
    problem = decompose(there, queries)
    selection = select(problem, CbcSolver()).selection
    assert audit(problem, selection) == ()
    told = directives(there, queries, selection.plans, GENERATION, shares_of(problem, selection.plans))
    assert audit_directives(selection, told, {}, problem) == ()
    assert cores(selection) == pytest.approx(sum(o.cores * o.replicas for one in told for o in one.replica_sets))
    assert [directive_from_message(directive_to_message(one)) for one in with_digests(told)] == with_digests(told)
    runs = walked(told)
    sources = {one.query_id: one for found in told for one in found.sources}
    for plan in selection.plans:
        for part in plan.operators:
            runner = sources[plan.query_id].given_by.get(part.operator_id, plan.query_id)
            assert runs[runner, part.operator_id] == 1
    assert sum(runs.values()) == sum(
        1
        for plan in selection.plans
        for part in plan.operators
        if part.operator_id not in sources[plan.query_id].given_by
    )
    for changed in tampered(told, data):
        assert audit_directives(selection, changed, {}, problem)


def walked(told):
    """How often each run gets all its inputs for one item of each source."""
    tables = {one.device_id: RoutingTable(one) for one in told}
    inputs, runs = Counter(), Counter()

    def reach(device_id, query_id, name):
        for route in tables[device_id].successors(query_id, name):
            place = (route.query_id, route.operator_id)
            inputs[place] += 1
            there = choose(route.targets, "item-1")
            assert tables[there].replica_set_keys(*place)
            if inputs[place] % len(route.inputs) == 0:
                runs[place] += 1
                reach(there, *place)

    for one in told:
        for source in one.sources:
            if not source.leader_query_id:
                reach(one.device_id, source.query_id, "source")
    return runs


def with_digests(told):
    """Digests of bundles as the wire wants them."""
    digest = "sha256:" + "0" * 64
    return [
        replace(
            one,
            replica_sets=tuple(replace(s, bundle_digest=digest, environment_digest=digest) for s in one.replica_sets),
            sources=tuple(replace(s, bundle_digest=digest, environment_digest=digest) for s in one.sources),
        )
        for one in told
    ]


def tampered(told, data):
    """The directives with one thing changed that is about sharing."""
    for number, one in enumerate(told):
        followers = [place for place, source in enumerate(one.sources) if source.leader_query_id]
        if followers:
            place = data.draw(st.sampled_from(followers))
            for changes in (
                {"leader_query_id": ""},
                {"leader_query_id": "nobody"},
                {"given_by": {}, "rate_per_s": 9.0},
            ):
                sources = list(one.sources)
                sources[place] = replace(sources[place], **changes)
                yield swapped(told, number, replace(one, sources=tuple(sources)))
        given = [place for place, route in enumerate(one.routes) if route.given_by]
        if given:
            place = data.draw(st.sampled_from(given))
            routes = list(one.routes)
            routes[place] = replace(routes[place], given_by={})
            yield swapped(told, number, replace(one, routes=tuple(routes)))
        for place, found in enumerate(one.replica_sets):
            for changed in (replace(found, cores=found.cores * 1.1), replace(found, uses=found.uses[1:], query_id="x")):
                sets = list(one.replica_sets)
                sets[place] = changed
                yield swapped(told, number, replace(one, replica_sets=tuple(sets)))


def swapped(told, number, changed):
    return [changed if place == number else one for place, one in enumerate(told)]
