from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from circinus.model.directive import Generation
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.book import Book, Emission, Ending
from edge_agent.dataplane.item import Outcome, Verdict

QUERY = QueryId("q")
OUTPUTS = (OperatorId("a"), OperatorId("b"))


def emission(request_id: str, at_s: float = 0.0, deadline_ms: float = 0.0, outputs=OUTPUTS) -> Emission:
    return Emission(
        request_id=request_id,
        sequence=1,
        query_id=QUERY,
        generation=Generation(epoch=1, number=1),
        source_key="s",
        emitted_at_s=at_s,
        deadline_ms=deadline_ms,
        output_operator_ids=outputs,
    )


def outcome(request_id: str, operator: str = "a", verdict: Verdict = Verdict.ANSWERED, query: str = "q") -> Outcome:
    return Outcome(
        request_id=request_id,
        query_id=QueryId(query),
        generation_number=1,
        verdict=verdict,
        cause="" if verdict is Verdict.ANSWERED else "queue_full",
        operator_id=OperatorId(operator),
        payload=b"x",
    )


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["emit", "expire", *Verdict]),
        st.integers(0, 5),
        st.sampled_from(["a", "b", "stranger"]),
        st.floats(0, 20),
    ),
    max_size=60,
)


@given(EVENTS)
def test_every_item_ends_in_exactly_one_outcome(events) -> None:
    book, now_s, booked = Book(), 0.0, set()
    ended: Counter[str] = Counter()
    for kind, number, operator, passed_s in events:
        now_s += passed_s
        request_id = f"r{number}"
        if kind == "emit":
            if request_id not in booked:
                booked.add(request_id)
                book.emit(emission(request_id, now_s, deadline_ms=500.0))
        elif kind == "expire":
            ended.update(one.emission.request_id for one in book.expire(now_s))
        else:
            one = book.record(outcome(request_id, operator, Verdict(kind)), now_s)
            ended.update([one.emission.request_id] if one else [])
    ended.update(one.emission.request_id for one in book.expire(now_s + 11.0))
    assert ended == Counter(booked)
    assert book.count() == 0


def test_an_answer_needs_every_output_and_is_late_after_the_deadline() -> None:
    book = Book()
    book.emit(emission("r1", 10.0, deadline_ms=200.0))
    book.emit(emission("r2", 10.0, deadline_ms=200.0))
    assert book.record(outcome("r1", "a"), 10.1) is None
    first = book.record(outcome("r1", "b"), 10.2)
    assert first is not None
    assert (first.ending, set(first.outputs)) == (Ending.ANSWERED, {"a", "b"})
    book.record(outcome("r2", "a"), 10.1)
    second = book.record(outcome("r2", "b"), 10.201)
    assert second is not None
    assert second.ending is Ending.LATE


def test_repeated_foreign_and_unknown_outcomes_are_only_counted() -> None:
    book = Book()
    book.emit(emission("r1"))
    assert book.record(outcome("r1", "a"), 0.1) is None
    assert book.record(outcome("r1", "a"), 0.1) is None
    assert book.record(outcome("r1", "stranger"), 0.1) is None
    assert book.record(outcome("r1", "b", query="other"), 0.1) is None
    assert book.record(outcome("r9", "a"), 0.1) is None
    assert book.duplicates == 4
    assert book.holds("r1")


def test_an_item_of_which_nothing_is_heard_fails_after_three_deadlines_or_ten_seconds() -> None:
    book = Book()
    book.emit(emission("short", 0.0, deadline_ms=1000.0))
    book.emit(emission("long", 0.0, deadline_ms=5000.0))
    assert not book.expire(9.9)
    (short,) = book.expire(10.0)
    assert (short.emission.request_id, short.ending, short.cause) == ("short", Ending.FAILED, "timeout")
    assert not book.expire(14.9)
    (long,) = book.expire(15.0)
    assert long.emission.request_id == "long"
