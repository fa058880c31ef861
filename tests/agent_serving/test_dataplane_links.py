"""What goes over the link to a peer, in what order, and what is refused; on a fake clock."""

import asyncio
import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_dataplane_book import outcome
from test_dataplane_sending import FakeClock, an_input

from circinus.errors import InvalidInput, TooLarge
from circinus.model.device import DeviceId
from circinus.model.query import QueryId
from circinus.v1 import dataplane_pb2
from edge_agent.dataplane import lanes
from edge_agent.dataplane.credit import Amount, Grants
from edge_agent.dataplane.frames import Frame, add_item, add_outcome, decode
from edge_agent.dataplane.inbound import Inbound
from edge_agent.dataplane.item import MAX_PAYLOAD_BYTES, Cause, Input, Outcome, Verdict
from edge_agent.dataplane.messages import input_of, item_header, outcome_header, outcome_of
from edge_agent.dataplane.peers import PeerLink
from edge_agent.dataplane.shaping import LearntRate, Shaper

MIB = 1024 * 1024
OTHER = QueryId("q2")


class Taken:
    """A receiver that keeps what came."""

    def __init__(self) -> None:
        self.inputs: list[Input] = []
        self.outcomes: list[Outcome] = []

    def receive_input(self, one: Input, peer: DeviceId) -> None:
        self.inputs.append(one)

    def receive_outcome(self, outcome: Outcome, peer: DeviceId) -> None:
        self.outcomes.append(outcome)


def a_link(shaper: Shaper | None = None) -> tuple[PeerLink, FakeClock, list[tuple[str, Cause]]]:
    lost: list[tuple[str, Cause]] = []
    clock = FakeClock()
    link = PeerLink(
        DeviceId("cloud"),
        shaper=shaper or Shaper(0, 0.0),
        clock=clock,
        on_lost=lambda one, cause: lost.append((one.request_id, cause)),
    )
    return link, clock, lost


async def pumped(link: PeerLink, number: int, count: int) -> list[Frame]:
    """The frames of the pump until so many messages, or ends of them, were sent."""
    frames: list[Frame] = []
    done = asyncio.Event()

    async def write(frame: list[bytes | memoryview]) -> None:
        frames.append(decode(b"".join(frame)))
        if sum(len(one.items) + len(one.outcomes) + len(one.chunks) for one in frames) >= count:
            done.set()

    pump = asyncio.create_task(link.pump(number, write))
    async with asyncio.timeout(5.0):
        await done.wait()
    pump.cancel()
    await asyncio.wait((pump,))
    return frames


def ids_of(frames: list[Frame]) -> list[str]:
    """The order in which messages, and chunks by the item that they are of, were sent."""
    names: dict[int, str] = {}
    order = []
    for frame in frames:
        for header, _ in (*frame.outcomes, *frame.items):
            names[header.stream] = header.request_id
            order.append(header.request_id)
        order.extend(names[chunk.stream] for chunk, _ in frame.chunks)
    return order


def header_of(one: Input, now_s: float = 0.0) -> dataplane_pb2.ItemMessage:
    return dataplane_pb2.ItemMessage.FromString(item_header(one, now_s))


def outcome_header_of(said: Outcome) -> dataplane_pb2.OutcomeMessage:
    return dataplane_pb2.OutcomeMessage.FromString(outcome_header(said))


def of(query_id: QueryId, request_id: str, size_bytes: int = 1, **changes: object) -> Input:
    return replace(an_input(request_id, payload=bytes(size_bytes)), query_id=query_id, **changes)  # type: ignore[arg-type]


async def test_a_link_refuses_what_it_cannot_carry_by_name() -> None:
    link, clock, _ = a_link(Shaper(8_000, 100.0))
    assert link.send_input(an_input()) is Cause.LINK_DOWN
    link.attach()
    assert link.send_input(an_input(payload=bytes(MAX_PAYLOAD_BYTES + 1))) is Cause.ITEM_TOO_LARGE
    assert link.send_input(an_input(deadline_s=clock.monotonic_s() + 0.1)) is Cause.DEADLINE
    assert link.send_input(an_input(deadline_s=clock.monotonic_s() + 10.0)) is None
    causes = [link.send_input(an_input()) for _ in range(lanes.MAX_ITEMS)]
    assert causes[-2:] == [None, Cause.LINK_FULL]


async def test_an_item_too_large_for_what_the_peer_grants_is_refused() -> None:
    link, _, _ = a_link()
    link.attach(Amount(size_bytes=1000, items=10))
    assert link.send_input(an_input(payload=bytes(1001))) is Cause.ITEM_TOO_LARGE
    assert link.send_input(an_input(payload=bytes(1000))) is None


async def test_a_link_delivers_in_order_when_each_is_through() -> None:
    link, clock, _ = a_link(Shaper(8_000, 100.0))
    number = link.attach()
    one = an_input(payload=bytes(840))  # with its envelope, a second on this link
    for index in range(3):
        link.send_input(replace(one, request_id=f"r{index}"))
    frames = await pumped(link, number, 3)
    assert ids_of(frames) == ["r0", "r1", "r2"]
    assert clock.monotonic_s() == pytest.approx(103.05)


async def test_an_emulated_link_keeps_its_rate_and_lets_small_items_pass_between_chunks() -> None:
    link, clock, _ = a_link(Shaper(8_000_000, 20.0))  # 1 MB a second: chunks of 20 ms
    number = link.attach()
    link.send_input(of(OTHER, "big", 1_000_000))
    for index in range(4):
        link.send_input(of(QueryId("q1"), f"small{index}", 1000))
    frames = await pumped(link, number, 54)
    order = ids_of(frames)
    assert all(f"small{index}" in order[:12] for index in range(4))
    assert 101.0 < clock.monotonic_s() < 101.1


async def test_an_emulated_link_that_stood_still_makes_up_for_nothing() -> None:
    link, clock, _ = a_link(Shaper(8_000, 0.0))
    number = link.attach()
    link.send_input(an_input("r1", payload=bytes(840)))
    await pumped(link, number, 1)
    clock.passed_s += 50.0
    link.send_input(an_input("r2", payload=bytes(840)))
    await pumped(link, number, 1)
    assert clock.monotonic_s() == pytest.approx(152.0)


class Carrier:
    """Takes frames at once, while it is writable."""

    def __init__(self) -> None:
        self.writable = True
        self.frames: list[Frame] = []

    def put(self, frame: list[bytes | memoryview]) -> None:
        self.frames.append(decode(b"".join(frame)))

    async def write(self, frame: list[bytes | memoryview]) -> None:
        self.put(frame)


async def test_what_comes_while_nothing_waits_leaves_at_once_and_the_rest_of_a_turn_in_one_frame() -> None:
    link, _, _ = a_link()
    carrier = Carrier()
    pump = asyncio.create_task(link.pump(link.attach(), carrier.write, carrier))
    await asyncio.sleep(0)
    for index in range(4):
        link.send_input(an_input(f"r{index}"))
    assert ids_of(carrier.frames) == ["r0"]
    while len(carrier.frames) < 2:  # noqa: ASYNC110 - turns of the loop
        await asyncio.sleep(0)
    assert ids_of(carrier.frames[1:]) == ["r1", "r2", "r3"]
    await asyncio.sleep(0)
    carrier.writable = False
    link.send_input(an_input("r4"))
    assert len(carrier.frames) == 2
    while len(carrier.frames) < 3:  # noqa: ASYNC110 - turns of the loop
        await asyncio.sleep(0)
    pump.cancel()
    await asyncio.wait((pump,))


async def test_outcomes_go_first_then_what_is_planned_then_what_is_above() -> None:
    link, _, _ = a_link()
    number = link.attach()
    link.send_input(of(OTHER, "above", excess=True))
    link.send_input(of(OTHER, "planned"))
    link.send_outcome(outcome("said"))
    assert ids_of(await pumped(link, number, 3)) == ["said", "planned", "above"]


async def test_queries_take_turns_so_a_burst_waits_behind_itself() -> None:
    link, _, _ = a_link()
    number = link.attach()
    for index in range(20):
        link.send_input(of(OTHER, f"burst{index}", 60_000))
    for index in range(3):
        link.send_input(of(QueryId("q1"), f"calm{index}", 60_000))
    order = ids_of(await pumped(link, number, 23))
    assert all(f"calm{index}" in order[:8] for index in range(3))


async def test_chunks_of_a_large_item_take_turns_with_small_ones_of_the_same_query() -> None:
    link, _, _ = a_link()
    number = link.attach()
    link.send_input(an_input("big", payload=bytes(4 * MIB)))
    for index in range(3):
        link.send_input(an_input(f"small{index}"))
    order = ids_of(await pumped(link, number, 7))
    assert order[:5] == ["big", "small0", "big", "small1", "big"]


async def test_chunks_get_smaller_on_a_real_link_that_turns_out_to_be_slow() -> None:
    link, clock, _ = a_link()
    number = link.attach()
    chunks: list[int] = []
    done = asyncio.Event()

    async def write(frame: list[bytes | memoryview]) -> None:
        size = sum(map(len, frame))
        chunks.append(size)
        clock.passed_s += size / MIB  # 1 MiB a second
        if len(chunks) == 12:
            done.set()

    for index in range(3):
        link.send_input(an_input(f"r{index}", payload=bytes(4 * MIB)))
    pump = asyncio.create_task(link.pump(number, write))
    async with asyncio.timeout(5.0):
        await done.wait()
    pump.cancel()
    await asyncio.wait((pump,))
    assert chunks[0] > MIB
    assert max(chunks[2:]) < 64 * 1024


async def test_what_is_above_the_plan_makes_room_first_then_the_query_that_has_most() -> None:
    link, _, lost = a_link()
    link.attach()
    half = lanes.MAX_ITEMS // 2
    for index in range(half):
        link.send_input(of(OTHER, f"above{index}", excess=True))
        link.send_input(of(OTHER, f"planned{index}"))
    assert link.send_input(of(QueryId("q1"), "calm")) is None
    assert lost == [(f"above{half - 1}", Cause.LINK_FULL)]
    for index in range(half - 1):
        link.send_input(of(OTHER, f"more{index}"))
    assert link.send_input(of(OTHER, "too much")) is Cause.LINK_FULL
    assert link.send_input(of(OTHER, "above", excess=True)) is Cause.LINK_FULL
    del lost[:]
    assert link.send_input(of(QueryId("q1"), "calm2")) is None
    assert lost == [(f"more{half - 2}", Cause.LINK_FULL)]


async def test_an_item_that_cannot_be_in_time_any_more_is_given_up_even_half_sent() -> None:
    link, clock, lost = a_link(Shaper(8_000_000, 0.0))
    number = link.attach()
    assert link.send_input(of(OTHER, "late", 1_000_000, deadline_s=101.5)) is None
    for index in range(5):  # they come later, and take their half of the link
        link.send_input(of(QueryId("q1"), f"r{index}", 200_000, deadline_s=clock.monotonic_s() + 30.0))
    frames = await pumped(link, number, 60)
    assert lost == [("late", Cause.DEADLINE)]
    late = sum(name == "late" for name in ids_of(frames))
    assert 10 < late < 50
    assert sum(chunk.abandoned for frame in frames for chunk, _ in frame.chunks) == 1


async def test_without_credit_items_wait_and_outcomes_do_not() -> None:
    link, _, _ = a_link()
    number = link.attach(Amount(size_bytes=1000, items=2))
    for index in range(4):
        link.send_input(of(QueryId(f"q{index}"), f"r{index}", 400))
    assert ids_of(await pumped(link, number, 2)) == ["r0", "r1"]
    link.send_outcome(outcome("said"))
    assert ids_of(await pumped(link, number, 1)) == ["said"]
    assert (link.outstanding.items, link.outstanding.size_bytes) == (2, 800)
    assert link.returned(QueryId("q0"), Amount(size_bytes=400, items=1))
    assert ids_of(await pumped(link, number, 1)) == ["r2"]
    assert not link.returned(QueryId("q9"), Amount(size_bytes=400, items=1))


async def test_a_lost_stream_loses_items_by_name_and_keeps_outcomes() -> None:
    link, _, lost = a_link()
    number = link.attach()
    link.send_input(an_input("r1"))
    link.send_outcome(outcome("r2"))
    link.send_outcome(replace(outcome("r3"), payload=bytes(3 * MIB)))
    link.detach(number)
    assert lost == [("r1", Cause.LINK_DOWN)]
    assert not link.connected
    assert ids_of(await pumped(link, link.attach(), 4)) == ["r2", "r3", "r3", "r3"]


async def test_a_stream_that_breaks_half_way_loses_items_and_sends_outcomes_again_whole() -> None:
    link, _, lost = a_link()
    number = link.attach()
    link.send_input(an_input("item", payload=bytes(3 * MIB)))
    link.send_outcome(replace(outcome("said"), payload=bytes(3 * MIB)))

    async def write(frame: list[bytes | memoryview]) -> None:
        if not link.outstanding.items:
            return  # the outcome's first chunk
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await link.pump(number, write)
    link.detach(number)
    assert lost == [("item", Cause.LINK_DOWN)]
    frames = await pumped(link, link.attach(), 3)
    assert sum(len(payload) for frame in frames for _, payload in (*frame.outcomes, *frame.chunks)) == 3 * MIB


async def test_the_end_of_a_replaced_stream_changes_nothing() -> None:
    link, _, lost = a_link()
    old = link.attach()
    link.attach()
    link.send_input(an_input("r1"))
    link.detach(old)
    assert link.connected
    assert not lost


def test_a_real_link_is_believed_slow_only_after_a_while() -> None:
    learnt = LearntRate()
    learnt.written(MIB, 0.1, 1.0)
    assert learnt.at_most_bytes_per_s(1.0) == float("inf")
    for _ in range(5):
        learnt.written(MIB, 0.1, 2.0)
    assert 10 * MIB <= learnt.at_most_bytes_per_s(6.0) <= 20 * MIB
    for _ in range(100):  # it is quick again
        learnt.written(MIB, 0.001, 6.0)
    assert learnt.at_most_bytes_per_s(6.0) > 900 * MIB
    assert learnt.at_most_bytes_per_s(12.0) == float("inf")


def test_items_and_outcomes_survive_the_wire() -> None:
    one = replace(an_input(deadline_s=105.0), excess=True, part=2, parts=5)
    assert input_of(header_of(one, 100.0), one.payload, 200.0) == replace(one, deadline_s=205.0)
    assert input_of(header_of(an_input(), 100.0), b"", 200.0).deadline_s is None
    for verdict in Verdict:
        said = outcome("r1", verdict=verdict)
        assert outcome_of(outcome_header_of(said), said.payload) == said


@pytest.mark.parametrize("field", ["request_id", "query_id", "operator_id", "input_name"])
@pytest.mark.parametrize("text", ["", "x" * 201])
def test_ids_from_the_wire_are_bounded(field: str, text: str) -> None:
    header = header_of(an_input())
    setattr(header, field, text)
    with pytest.raises(InvalidInput, match=field):
        input_of(header, b"", 0.0)


def test_bad_numbers_sizes_and_kinds_from_the_wire_are_refused() -> None:
    header = header_of(an_input())
    header.remaining_ms = float("nan")
    with pytest.raises(InvalidInput, match="remaining_ms"):
        input_of(header, b"", 0.0)
    header = header_of(an_input())
    header.part, header.parts = 3, 3
    with pytest.raises(InvalidInput, match="part 3 of 3"):
        input_of(header, b"", 0.0)
    with pytest.raises(TooLarge):
        input_of(header_of(an_input()), bytes(MAX_PAYLOAD_BYTES + 1), 0.0)
    with pytest.raises(InvalidInput, match="kind"):
        outcome_of(dataplane_pb2.OutcomeMessage(request_id="r", query_id="q", operator_id="o"), b"")
    strange = outcome_header_of(outcome("r1", verdict=Verdict.FAILED))
    strange.cause = "made up"
    assert outcome_of(strange, b"").cause == "unknown"


@given(st.binary(max_size=200))
def test_any_bytes_are_an_item_or_refused(data: bytes) -> None:
    message = dataplane_pb2.ItemMessage()
    try:
        message.ParseFromString(data)
    except Exception:  # no message at all: gRPC refuses it
        return
    with contextlib.suppress(InvalidInput, TooLarge):
        input_of(message, b"", 0.0)


def sent(add: object, header: object, payload: bytes) -> bytes:
    parts: list[bytes | memoryview] = []
    add(parts, header, payload)  # type: ignore[operator]
    return b"".join(parts)


def test_a_peer_that_breaks_the_rules_is_refused_and_counted_and_the_rest_goes_on() -> None:
    link, clock, _ = a_link()
    receiver = Taken()
    inbound = Inbound(link, Grants(window_bytes=10_000, window_items=4), receiver, clock)
    for number, change in enumerate(
        (
            {"size_bytes": 1 << 60, "stream": 1},
            {"size_bytes": 9_000, "stream": 0},
            {"size_bytes": 10, "stream": 2},
            {"query_id": ""},
        ),
        start=1,
    ):
        header = header_of(an_input())
        for name, value in change.items():
            setattr(header, name, value)
        inbound.receive(sent(add_item, header.SerializeToString(), bytes(8_000)))
        assert link.refused == number
    inbound.receive(b"\xff" * 100)
    inbound.receive(b"\xff" * 100_000)
    inbound.receive(sent(add_item, item_header(an_input(), 0.0), bytes(20_000)))
    inbound.receive(dataplane_pb2.PeerFrame(chunks=[{"stream": 9, "data": b"x"}]).SerializeToString())
    credit = {"query_id": "q1", "bytes": 1 << 40, "items": 3}
    inbound.receive(dataplane_pb2.PeerFrame(credits=[credit]).SerializeToString())
    assert link.refused == 9
    assert not receiver.inputs
    inbound.receive(sent(add_item, item_header(an_input("right"), 0.0), bytes(900)))
    inbound.receive(sent(add_outcome, outcome_header(outcome("said")), b"yes"))
    assert [one.request_id for one in receiver.inputs] == ["right"]
    assert [one.payload for one in receiver.outcomes] == [b"yes"]
