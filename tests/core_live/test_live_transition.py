"""Laws of a change in steps: each fits, the last one is the target, nobody is paused without need."""

from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circinus.model.directive import Directive, Generation, Peer, ReplicaSet, Route, SourceSpec, Target, Use
from cloud_planner.core.transition import over_capacity, transition, union_use

NEW = Generation(epoch=1, number=2)


def replica_set(query, device, cores, *, version=0, memory=1, uses=(), grows=False):
    """``grows``: with another share of cores it is the same process, as one that is shared by others than before."""
    return ReplicaSet(
        key=f"{query}-{device}-{version}" if grows else f"{query}-{device}-{cores}-{version}",
        query_id=query,
        pipeline_id="words",
        operator_id="cut",
        bundle_digest="sha256:1",
        environment_digest="sha256:2",
        entry_point="words:Cut",
        knobs={},
        replicas=1,
        cores=cores,
        accelerator_slots=0,
        accelerator_memory_bytes=0,
        memory_bytes=memory,
        batch=1,
        hang_ms=1000.0,
        inputs=("source",),
        uses=uses,
    )


def source(query, rate_per_s=1.0):
    return SourceSpec(
        key=f"source-{query}",
        query_id=query,
        pipeline_id="words",
        bundle_digest="sha256:1",
        environment_digest="sha256:2",
        entry_point="words:Words",
        scorer_entry_point="words:Same",
        content="plain",
        seed=1,
        rate_per_s=rate_per_s,
        deadline_ms=500.0,
        output_operator_ids=("cut",),
    )


def fleet(*placed, version=0, grows=False):
    """Directives of queries: each (query, device, cores), its source on the device "home"."""
    sets = {}
    for query, device, cores in placed:
        sets.setdefault(device, []).append(replica_set(query, device, cores, version=version, grows=grows))
    queries = [query for query, _, _ in placed]
    routes = {query: Route(query_id=query, operator_id="cut", inputs=("source",), targets=()) for query in queries}
    home = Directive(
        device_id="home",
        generation=NEW,
        replica_sets=tuple(sets.pop("home", ())),
        routes=tuple(routes[query] for query in queries),
        sources=tuple(source(query, 1.0 + index) for index, query in enumerate(sorted(queries))),
        peers=tuple(Peer(device_id=device, address="127.0.0.1:1") for device in sorted(sets)),
    )
    rest = [
        Directive(device_id=device, generation=NEW, replica_sets=tuple(sets[device]), routes=(), sources=(), peers=())
        for device in sorted(sets)
    ]
    return (home, *rest) if placed else ()


def have(**cores):
    return {device: (amount, 100.0, 0.0, 0.0) for device, amount in cores.items()}


def sourced(directives):
    return {one.query_id for directive in directives for one in directive.sources}


def check(before, steps, after, room):
    for one, other in pairwise([before, *(step.directives for step in steps)]):
        assert not over_capacity(chain(one, other), room)
    assert steps[-1].directives == after
    wanted = sourced(before) & sourced(after)
    away = set()
    for step in steps:
        away = (away | set(step.paused)) - set(step.moved)
        assert wanted - sourced(step.directives) == away & wanted
    assert not away


def test_what_fits_side_by_side_is_one_step():
    before, after = fleet(("a", "box", 1.0)), fleet(("a", "box", 1.0), version=1)
    (step,) = transition(before, after, have(home=1.0, box=2.0))
    assert step.directives == after
    assert step.moved == ("a",)
    assert not step.paused


def test_moves_go_in_an_order_in_which_each_fits():
    room = have(home=0.0, one=1.0, two=1.0, three=1.0)
    before = fleet(("a", "one", 1.0), ("b", "two", 1.0))
    after = fleet(("a", "two", 1.0), ("b", "three", 1.0))
    steps = transition(before, after, room)
    assert [step.moved for step in steps] == [("b",), ("a",)]
    check(before, steps, after, room)


def test_a_process_that_grows_waits_for_its_room():
    room = have(home=0.0, one=1.0, two=1.0)
    before = fleet(("a", "one", 0.5), ("b", "one", 0.5), grows=True)
    after = fleet(("a", "one", 0.75), ("b", "two", 0.5), grows=True)
    steps = transition(before, after, room)
    check(before, steps, after, room)
    assert [step.moved for step in steps] == [("b",), ("a",)]


def test_a_circle_pauses_the_query_that_is_missed_the_least_and_says_for_how_long():
    room = have(home=0.0, one=1.0, two=1.0)
    before = fleet(("a", "one", 1.0), ("b", "two", 1.0))
    after = fleet(("a", "two", 1.0), ("b", "one", 1.0))
    steps = transition(before, after, room)
    check(before, steps, after, room)
    assert [sorted(step.paused) for step in steps] == [["a"], [], []]
    assert steps[0].paused["a"] == pytest.approx(6.0)


def test_a_circle_is_broken_through_a_third_device_if_there_is_one():
    room = have(home=0.0, one=1.0, two=1.0, three=1.0)
    before = fleet(("a", "one", 1.0), ("b", "two", 1.0))
    after = fleet(("a", "two", 1.0), ("b", "one", 1.0))

    def elsewhere(group):
        return [fleet((query, "three", 1.0)) for query in group]

    steps = transition(before, after, room, detours=elsewhere)
    check(before, steps, after, room)
    assert not any(step.paused for step in steps)
    assert steps[0].detours == ("a",)


def test_a_full_device_swaps_one_query_by_a_pause():
    room = have(home=0.0, box=1.0)
    before, after = fleet(("a", "box", 1.0)), fleet(("a", "box", 1.0), version=1)
    steps = transition(before, after, room)
    check(before, steps, after, room)
    assert list(steps[0].paused) == ["a"]


def test_queries_that_share_processes_move_together():
    uses = tuple(Use(query_id=query, operator_id="cut", inputs=("source",)) for query in "ab")

    def shared(version):
        target = Target(device_id="box", share_ratio=1.0)
        route = [Route(query_id=query, operator_id="cut", inputs=("source",), targets=(target,)) for query in "ab"]
        home = Directive(
            device_id="home",
            generation=NEW,
            replica_sets=(),
            routes=tuple(route),
            sources=(source("a"), source("b")),
            peers=(),
        )
        there = replica_set("a", "box", 1.0, version=version, uses=uses)
        return home, Directive(device_id="box", generation=NEW, replica_sets=(there,), routes=(), sources=(), peers=())

    steps = transition(shared(0), shared(1), have(home=1.0, box=1.0))
    assert list(steps[0].paused) == ["a", "b"]
    assert steps[1].moved == ("a", "b")


def test_a_lost_device_is_waited_for_by_no_step():
    room = have(home=0.0, box=1.0)
    before = fleet(("a", "gone", 1.0), ("b", "box", 1.0))
    after = fleet(("a", "box", 0.5), ("b", "box", 0.5), version=1)
    steps = transition(before, after, room)
    assert len(steps) > 1
    assert all(one.device_id != "gone" for step in steps for one in step.directives)
    assert steps[-1].directives == after


SHARES = st.sampled_from([0.25, 0.5, 1.0])
PLACES = st.sampled_from(["home", "one", "two", "three"])


@st.composite
def changes(draw):
    """Two sets of directives that fit each alone, on devices with little more than they need."""
    count = draw(st.integers(1, 7))
    placed = [
        [(f"q{index}", draw(PLACES), draw(SHARES)) for index in range(count) if draw(st.integers(0, 9))]
        for _ in range(2)
    ]
    grows = draw(st.booleans())
    before, after = fleet(*placed[0], grows=grows), fleet(*placed[1], version=draw(st.integers(0, 1)), grows=grows)
    room = {}
    for device in ("home", "one", "two", "three"):
        needs = [union_use(directives).get(device, (0.0,) * 4)[0] for directives in (before, after)]
        room[device] = max(needs) + draw(st.sampled_from([0.0, 0.25, 1.0]))
    return before, after, have(**room)


@given(changes(), st.booleans())
@settings(max_examples=120, deadline=None)
def test_every_step_fits_and_the_last_one_is_the_target(change, third):
    before, after, room = change

    def elsewhere(group):
        (query,) = group
        return [fleet((query, device, 0.25)) for device in ("one", "two", "three")]

    steps = transition(before, after, room, detours=elsewhere) if third else transition(before, after, room)
    check(before, steps, after, room)


@given(changes())
@settings(max_examples=40, deadline=None)
def test_there_is_one_step_exactly_where_all_fits_at_once(change):
    before, after, room = change
    at_once = not over_capacity(chain(before, after), room)
    assert (len(transition(before, after, room)) == 1) >= at_once
