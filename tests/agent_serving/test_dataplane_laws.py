"""Laws of what crosses the link between two devices: frames, chunks, credit, turns. All of it pure."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from test_dataplane_sending import an_input

from circinus.errors import CircinusError, InvalidInput, TooLarge
from circinus.model.query import QueryId
from circinus.v1 import dataplane_pb2
from edge_agent.dataplane import chunks, lanes
from edge_agent.dataplane.chunks import MIN_CHUNK_BYTES, Assembly
from edge_agent.dataplane.credit import Account, Amount, Grants
from edge_agent.dataplane.frames import Parts, add_abandoned, add_chunk, add_credit, add_item, add_outcome, decode
from edge_agent.dataplane.item import Cause, Input
from edge_agent.dataplane.lanes import Lanes
from edge_agent.dataplane.messages import input_of, item_header

KIB = 1024
INF = float("inf")
QUERIES = tuple(QueryId(f"q{number}") for number in range(4))


def cut(payload: bytes, size_bytes: int) -> list[bytes]:
    return [payload[at : at + size_bytes] for at in range(0, len(payload), size_bytes)]


@given(
    st.lists(st.tuples(st.integers(1, 40_000), st.integers(MIN_CHUNK_BYTES, 20_000)), min_size=1, max_size=4),
    st.randoms(use_true_random=False),
)
@settings(max_examples=30)
def test_whatever_the_interleaving_the_same_payloads_come_out(sizes: list[tuple[int, int]], random: object) -> None:
    payloads = {number: (bytes([number]) * size) for number, (size, _) in enumerate(sizes, start=1)}
    queues = {number: cut(payload, sizes[number - 1][1]) for number, payload in payloads.items()}
    queues = {number: some for number, some in queues.items() if len(some) > 1}
    assembly: Assembly[str] = Assembly()
    came: dict[str, bytes] = {}
    begun: set[int] = set()
    while queues:
        number = random.choice(sorted(queues))  # type: ignore[attr-defined]
        chunk = queues[number].pop(0)
        if number not in begun:
            begun.add(number)
            assembly.begin(number, f"item {number}", len(payloads[number]), memoryview(chunk), 0.0)
        elif (whole := assembly.add(number, chunk, 0.0)) is not None:
            came[whole[0]] = whole[1]
        if not queues[number]:
            del queues[number]
    assert came == {f"item {number}": payloads[number] for number in begun}
    assert (len(assembly), assembly.size_bytes) == (0, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["begin", "add", "drop", "expire"]),
            st.integers(0, 5),
            st.integers(-1, 200_000),
            st.sampled_from([0, 1, MIN_CHUNK_BYTES, 30_000, 2 * chunks.MAX_CHUNK_BYTES]),
        ),
        max_size=40,
    )
)
def test_whatever_a_peer_sends_assembly_stays_within_its_bounds(
    steps: list[tuple[str, int, int, int]],
) -> None:
    assembly: Assembly[int] = Assembly(max_open=3, max_bytes=100_000, max_payload_bytes=150_000)
    for now_s, (what, number, size, chunk) in enumerate(steps):
        with contextlib.suppress(InvalidInput, TooLarge):
            if what == "begin":
                assembly.begin(number, number, size, bytes(chunk), float(now_s))
            elif what == "add":
                whole = assembly.add(number, bytes(chunk), float(now_s))
                assert whole is None or len(whole[1]) <= 150_000
            elif what == "drop":
                assembly.drop(number)
            else:
                assembly.expire(float(now_s))
        assert len(assembly) <= 3
        assert 0 <= assembly.size_bytes <= 100_000
    assembly.expire(len(steps) + chunks.MAX_SILENCE_S)
    assert (len(assembly), assembly.size_bytes) == (0, 0)


class CreditMachine(RuleBasedStateMachine):
    """A sender and a receiver that keep the same account."""

    def __init__(self) -> None:
        super().__init__()
        self.sender = Account(10_000, 12)
        self.grants = Grants(10_000, 12)
        self.held: list[tuple[QueryId, int]] = []

    @rule(query=st.sampled_from(QUERIES), size=st.integers(0, 11_000), excess=st.booleans())
    def send(self, query: QueryId, size: int, excess: bool) -> None:
        if self.sender.fits(query, size, excess=excess):
            assert self.sender.take(query, size)
            assert self.grants.account.take(query, size)  # what the sender may send the receiver never refuses
            self.held.append((query, size))

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        self.grants.release(*self.held.pop(data.draw(st.integers(0, len(self.held) - 1))))

    @rule()
    def give_back(self) -> None:
        for query, amount in self.grants.take_owed().items():
            assert self.sender.give_back(query, amount)

    @rule(query=st.sampled_from(QUERIES), size=st.integers(0, 1 << 60), items=st.integers(0, 1 << 30))
    def lie(self, query: QueryId, size: int, items: int) -> None:
        """Whatever a peer gives back, nothing gets negative; the account is tried on a copy."""
        account = Account(10_000, 12)
        account.take(query, 500)
        account.give_back(query, Amount(size_bytes=size, items=items))
        assert 0 <= account.out.size_bytes <= 500
        assert 0 <= account.out.items <= 1

    @invariant()
    def within_the_window(self) -> None:
        for account in (self.sender, self.grants.account):
            assert 0 <= account.out.size_bytes <= 10_000
            assert 0 <= account.out.items <= 12
        assert self.grants.account.out.items >= len(self.held)

    def teardown(self) -> None:
        for one in self.held:
            self.grants.release(*one)
        self.give_back()
        assert (self.sender.out.items, self.sender.out.size_bytes) == (0, 0)
        assert (self.grants.account.out.items, self.grants.account.out.size_bytes) == (0, 0)


CreditMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
TestCredit = CreditMachine.TestCase


def test_one_query_has_a_quarter_of_the_window_and_what_is_above_the_plan_half() -> None:
    account = Account(1000, 100)
    assert account.take(QUERIES[0], 200)
    assert not account.fits(QUERIES[0], 100)
    assert account.fits(QUERIES[1], 900 - 100)
    assert not account.fits(QUERIES[1], 400, excess=True)
    assert account.take(QUERIES[1], 300)
    assert not account.fits(QUERIES[2], 1, excess=True)
    assert account.fits(QUERIES[2], 500)


names = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=200)
messages = st.lists(
    st.one_of(
        st.tuples(st.just("item"), names, st.binary(max_size=20_000)),
        st.tuples(st.just("outcome"), names, st.binary(max_size=20_000)),
        st.tuples(st.just("chunk"), st.integers(1, 2**32 - 1), st.binary(max_size=20_000)),
        st.tuples(st.just("abandoned"), st.integers(1, 2**32 - 1), st.just(b"")),
        st.tuples(st.just("credit"), names, st.just(b"")),
    ),
    max_size=5,
)


@given(messages)
@settings(max_examples=60)
def test_a_frame_is_what_protobuf_says_it_is(some: list[tuple[str, object, bytes]]) -> None:
    parts: Parts = []
    for kind, name, payload in some:
        if kind == "item":
            one = replace(an_input(str(name), deadline_s=2.0), payload=payload)
            add_item(parts, item_header(one, 1.0), memoryview(payload))
        elif kind == "outcome":
            add_outcome(parts, dataplane_pb2.OutcomeMessage(request_id=str(name)).SerializeToString(), payload)
        elif kind == "chunk":
            add_chunk(parts, int(str(name)), payload)
        elif kind == "abandoned":
            add_abandoned(parts, int(str(name)))
        else:
            add_credit(parts, str(name), 1 << 40, 3)
    data = b"".join(parts)
    theirs = dataplane_pb2.PeerFrame.FromString(data)
    for given_data in (data, bytearray(data)):
        ours = decode(given_data)
        assert [(one.request_id, bytes(payload)) for one, payload in ours.items] == [
            (one.request_id, one.payload) for one in theirs.items
        ]
        assert [(one.request_id, bytes(payload)) for one, payload in ours.outcomes] == [
            (one.request_id, one.payload) for one in theirs.outcomes
        ]
        assert [(one.stream, one.abandoned, bytes(data)) for one, data in ours.chunks] == [
            (one.stream, one.abandoned, one.data) for one in theirs.chunks
        ]
        assert [(one.query_id, one.bytes, one.items) for one in ours.credits] == [
            (one.query_id, one.bytes, one.items) for one in theirs.credits
        ]
    for header, payload in decode(data).items:
        assert input_of(header, bytes(payload), 1.0).deadline_s == 2.0


@given(st.binary(max_size=300), st.integers(0, 40), st.binary(max_size=20))
def test_any_bytes_are_a_frame_or_refused(data: bytes, at: int, noise: bytes) -> None:
    parts: Parts = []
    add_item(parts, item_header(an_input(), 1.0), bytes(9_000))
    right = b"".join(parts)
    for broken in (data, data * 40, right[:at] + noise + right[at:], right + data):
        with contextlib.suppress(CircinusError):
            decode(broken)


def all_of(waiting: Lanes, account: Account) -> list[lanes.Parcel]:
    picked = []
    while (parcel := waiting.pick(account, 0.0, INF, 0.0, 1 << 62)) is not None:
        picked.append(parcel)
    return picked


items = st.lists(
    st.tuples(st.sampled_from(QUERIES), st.integers(0, 300 * KIB), st.booleans(), st.floats(1.0, 9.0)), max_size=40
)


@given(items)
def test_all_that_waits_is_sent_once_and_whole(some: list[tuple[QueryId, int, bool, float]]) -> None:
    waiting = Lanes(64 * KIB)
    for number, (query, size, excess, deadline_s) in enumerate(some):
        one = replace(an_input(f"r{number}", deadline_s, bytes(size)), query_id=query, excess=excess)
        assert waiting.put_item(one, INF, INF) == (None, [])
    sent: dict[str, list[tuple[int, int]]] = {}
    order: list[Input] = []
    for parcel in all_of(waiting, Account(1 << 40, 1 << 20)):
        message = parcel.entry.message
        assert isinstance(message, Input)
        sent.setdefault(message.request_id, []).append((parcel.start, parcel.size_bytes))
        order.append(message)
    assert not waiting
    for number, (_, size, _, _) in enumerate(some):
        pieces = sent[f"r{number}"]
        assert [start for start, _ in pieces] == list(range(0, max(size, 1), 64 * KIB))
        assert sum(length for _, length in pieces) == size
    planned = [index for index, one in enumerate(order) if not one.excess]
    assert planned == list(range(len(planned)))  # nothing above the plan went before what is within


@given(st.lists(st.tuples(st.sampled_from(QUERIES), st.integers(1, 300 * KIB)), min_size=12, max_size=30))
@settings(max_examples=30)
def test_queries_that_wait_get_the_same_bytes_within_two_chunks(some: list[tuple[QueryId, int]]) -> None:
    chunk = 64 * KIB
    waiting = Lanes(chunk)
    left = dict.fromkeys(QUERIES, 0)
    for number, (query, size) in enumerate(some):
        waiting.put_item(replace(an_input(f"r{number}", None, bytes(size)), query_id=query), INF, INF)
        left[query] += size
    had = dict.fromkeys(QUERIES, 0.0)
    there = {query for query, size in left.items() if size}
    for parcel in all_of(waiting, Account(1 << 40, 1 << 20)):
        query = parcel.entry.message.query_id
        had[query] += parcel.size_bytes + lanes.ENVELOPE_BYTES
        left[query] -= parcel.size_bytes
        if any(left[one] == 0 for one in there):
            break
        spread = [had[one] for one in there]
        assert max(spread) - min(spread) <= 2 * (chunk + lanes.ENVELOPE_BYTES)


@given(items, st.integers(1, 20))
@settings(max_examples=30)
def test_waiting_is_bounded_and_each_item_is_kept_refused_or_named(
    some: list[tuple[QueryId, int, bool, float]], times: int
) -> None:
    waiting, gone = Lanes(64 * KIB), []
    given_items = 0
    for number, (query, size, excess, deadline_s) in enumerate(some * times):
        one = replace(an_input(f"r{number}", deadline_s, bytes(min(size, 100))), query_id=query, excess=excess)
        cause, made_room = waiting.put_item(one, INF, INF)
        assert cause in (None, Cause.LINK_FULL)
        gone += made_room + ([one] if cause is not None else [])
        given_items += 1
        assert waiting.items <= lanes.MAX_ITEMS
        if number > 200:
            break
    assert waiting.items + len(gone) == given_items
    assert len({one.request_id for one in gone}) == len(gone)


def test_what_is_ahead_of_an_item_is_its_own_query_and_as_much_of_each_other() -> None:
    waiting = Lanes(64 * KIB)
    for number in range(10):
        one = replace(an_input(f"r{number}", None, bytes(10_000)), query_id=QUERIES[0])
        waiting.put_item(one, INF, INF)
    calm = replace(an_input("calm", 1.0, bytes(10_000)), query_id=QUERIES[1])
    # 10 kB of its own and as much of the burst at 100 kB a second: 0.2 s, whatever else of the burst waits.
    assert waiting.put_item(calm, 100_000.0, 0.15)[0] is Cause.DEADLINE
    assert waiting.put_item(calm, 100_000.0, 0.25)[0] is None
    above = replace(calm, request_id="above", excess=True)
    assert waiting.put_item(above, 100_000.0, 1.0)[0] is Cause.DEADLINE
    assert waiting.put_item(above, 100_000.0, 1.5)[0] is None


def test_a_query_that_asks_again_and_again_has_no_more_than_its_turn() -> None:
    waiting, account = Lanes(64 * KIB), Account(1 << 40, 1 << 20)
    for number in range(6):
        waiting.put_item(replace(an_input(f"w{number}", None, bytes(60_000)), query_id=QUERIES[0]), INF, INF)
    served = []
    for number in range(8):
        waiting.put_item(replace(an_input(f"again{number}", None, bytes(60_000)), query_id=QUERIES[1]), INF, INF)
        parcel = waiting.pick(account, 0.0, INF, 0.0, 1 << 62)
        assert parcel is not None
        served.append(parcel.entry.message.query_id)
    assert served.count(QUERIES[0]) == pytest.approx(4, abs=1)
