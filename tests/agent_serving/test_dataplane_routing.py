from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_fleet import QUERY, directive, generation, replica_set, route, source

from circinus.model.device import DeviceId, Link
from circinus.model.directive import Target
from circinus.model.pipeline import SOURCE, OperatorId
from edge_agent.dataplane.item import Input
from edge_agent.dataplane.joins import MAX_WAITING, WAIT_S, Joins
from edge_agent.dataplane.routing import RoutingTable, choose
from edge_agent.dataplane.shaping import Shaper, shaper_for


def targets(*shares: float) -> tuple[Target, ...]:
    return tuple(Target(device_id=DeviceId(f"d{index}"), share_ratio=share) for index, share in enumerate(shares))


@given(st.lists(st.floats(0.05, 1.0), min_size=1, max_size=4), st.text(max_size=20), st.integers(0, 10**9))
def test_any_few_items_in_a_row_meet_the_shares(weights: list[float], source_id: str, first: int) -> None:
    shares = [weight / sum(weights) for weight in weights]
    chosen = Counter(choose(targets(*shares), f"{source_id}-{first + index}") for index in range(100))
    for index, share in enumerate(shares):
        assert abs(chosen[DeviceId(f"d{index}")] - 100 * share) <= 4


@given(st.text(max_size=200))
def test_the_same_item_always_goes_to_the_same_device(request_id: str) -> None:
    assert choose(targets(0.3, 0.7), request_id) == choose(targets(0.3, 0.7), request_id)


def test_without_targets_there_is_no_device() -> None:
    assert choose((), "r-1") is None


def test_outputs_nobody_reads_are_answers_and_a_route_to_the_source_adds_more() -> None:
    routes = (route("a", ("source",), "x"), route("b", ("a",), "x"))
    a, b = OperatorId("a"), OperatorId("b")
    plain = RoutingTable(directive("x", 1, routes=routes))
    assert (plain.answers(QUERY, a), plain.answers(QUERY, b)) == (False, True)
    both = RoutingTable(directive("x", 1, routes=(*routes, route(SOURCE, ("a", "b"), "camera"))))
    assert (both.answers(QUERY, a), both.answers(QUERY, b)) == (True, True)
    at_home = RoutingTable(directive("x", 1, routes=routes, sources=(source(("a",)),)))
    assert at_home.answers(QUERY, a)


def test_a_table_knows_what_runs_here_and_what_it_joins() -> None:
    table = RoutingTable(directive("x", 1, sets=(replica_set("j", "Join", ("a", "b"), key="k"),)))
    assert table.replica_set_keys(QUERY, OperatorId("j")) == ("k",)
    assert table.inputs(QUERY, OperatorId("j")) == ("a", "b")
    assert table.replica_set_keys(QUERY, OperatorId("other")) == ()


def an_input(request_id: str, name: str, payload: bytes = b"x") -> Input:
    return Input(
        request_id=request_id,
        query_id=QUERY,
        generation=generation(1),
        operator_id=OperatorId("j"),
        input_name=OperatorId(name),
        deadline_s=None,
        payload=payload,
    )


WANTED = (OperatorId("a"), OperatorId("b"), OperatorId("c"))


@given(st.lists(st.tuples(st.sampled_from(["r1", "r2"]), st.sampled_from(WANTED)), max_size=30))
def test_a_join_is_complete_once_all_inputs_of_one_item_came(arrivals: list[tuple[str, OperatorId]]) -> None:
    joins = Joins()
    missing = {"r1": set(WANTED), "r2": set(WANTED)}
    for request_id, name in arrivals:
        work = joins.add(an_input(request_id, name, name.encode()), WANTED, 0.0)
        missing[request_id].discard(name)
        if missing[request_id]:
            assert work is None
        else:
            assert work is not None
            assert work.inputs == {one: one.encode() for one in WANTED}
            missing[request_id] = set(WANTED)


def test_joins_are_bounded_in_number_and_time() -> None:
    joins = Joins()
    for number in range(MAX_WAITING + 3):
        joins.add(an_input(f"r{number}", "a"), WANTED, 0.0)
    assert [one.request_id for one in joins.overflow(1.0)] == ["r0", "r1", "r2"]
    assert len(joins.overflow(WAIT_S)) == MAX_WAITING
    assert joins.count_older(generation(2)) == 0


def test_a_message_waits_for_the_one_before_it_and_arrives_half_a_round_trip_later() -> None:
    shaper = Shaper(8_000, 100.0)  # 1000 bytes a second
    assert shaper.send(500, 10.0) == pytest.approx(10.55)
    assert shaper.arrival_s(500, 10.1) == pytest.approx(11.05)
    assert shaper.send(500, 10.1) == pytest.approx(11.05)
    assert shaper.send(1000, 20.0) == pytest.approx(21.05)


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.floats(0, 1)), max_size=20),
    st.integers(0, 10**8),
    st.floats(0, 500),
)
def test_a_shaped_link_is_first_in_first_out_and_never_faster_than_its_rate(
    messages: list[tuple[int, float]], bandwidth: int, rtt_ms: float
) -> None:
    shaper, now_s, last_s, sent = Shaper(bandwidth, rtt_ms), 0.0, 0.0, 0
    for size, passed_s in messages:
        now_s += passed_s
        arrival_s = shaper.send(size, now_s)
        sent += size
        assert arrival_s >= max(last_s, now_s + rtt_ms / 2000 - 1e-9)
        if bandwidth:
            assert arrival_s + 1e-6 >= sent * 8 / bandwidth * (1 - 1e-9)
        last_s = arrival_s


def test_a_real_or_unknown_link_is_not_shaped() -> None:
    real = Link(peer=DeviceId("x"), bandwidth_bit_per_s=1000, rtt_ms=100.0)
    assert shaper_for(real).send(10**6, 5.0) == 5.0
    assert shaper_for(None).send(10**6, 5.0) == 5.0
