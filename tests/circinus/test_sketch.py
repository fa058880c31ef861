from math import ceil

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circinus.errors import CircinusError, InvalidInput
from circinus.sketch import MAX_BUCKETS, MAX_VALUE, RELATIVE_ERROR, Sketch, add_message
from circinus.v1 import types_pb2

FIGURES = st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e12)), min_size=1, max_size=200)
#: Rounding at the border of a bucket.
SLACK = 1e-6


def at_rank(values: list[float], share: float) -> float:
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


@settings(deadline=None)
@given(FIGURES, st.floats(0.0, 1.0))
def test_any_quantile_is_within_one_percent_of_the_figure_at_its_rank(values: list[float], share: float) -> None:
    true = at_rank(values, share)
    assert abs(Sketch(values).quantile(share) - true) <= (RELATIVE_ERROR + SLACK) * true


@settings(deadline=None)
@given(FIGURES, FIGURES)
def test_a_merge_is_what_all_figures_together_would_have_given(one: list[float], other: list[float]) -> None:
    merged = Sketch(one)
    merged.merge(Sketch(other))
    assert merged == Sketch(one + other)
    assert merged.count == len(one) + len(other)


@settings(deadline=None)
@given(st.one_of(st.just([]), FIGURES), st.one_of(st.just([]), FIGURES))
def test_messages_add_up_as_sketches_do(one: list[float], other: list[float]) -> None:
    message = Sketch(one).message()
    add_message(message, Sketch(other).message())
    assert Sketch.of(message) == Sketch(one + other)


@settings(deadline=None)
@given(FIGURES)
def test_a_sketch_comes_over_the_wire_as_it_was(values: list[float]) -> None:
    sketch = Sketch(values)
    assert Sketch.of(types_pb2.Sketch.FromString(sketch.message().SerializeToString())) == sketch


def test_nothing_is_a_sketch_too() -> None:
    empty = Sketch.of(types_pb2.Sketch())
    assert (empty.count, empty.quantile(0.95), empty.mean) == (0, 0.0, 0.0)
    empty.merge(Sketch([1.0, 2.0]))
    assert empty == Sketch([1.0, 2.0])


def test_buckets_are_bounded_and_high_quantiles_stay_exact() -> None:
    values = [1e-8 * 1.02**step for step in range(2500)]
    sketch = Sketch(values)
    assert len(sketch.message().indices) == MAX_BUCKETS
    assert sketch.count == 2500
    for share in (0.7, 0.95, 0.99):
        assert sketch.quantile(share) == pytest.approx(at_rank(values, share), rel=RELATIVE_ERROR + SLACK)
    assert Sketch.of(sketch.message()) == sketch


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_what_is_no_figure_is_refused(value: float) -> None:
    with pytest.raises(InvalidInput):
        Sketch().add(value)


HOSTILE = [
    types_pb2.Sketch(indices=[1, 2], counts=[1], sum=2.0, min=1.0, max=1.04),
    types_pb2.Sketch(indices=[2, 1], counts=[1, 1], sum=2.0, min=1.0, max=1.04),
    types_pb2.Sketch(indices=[1, 1], counts=[1, 1], sum=2.0, min=1.0, max=1.02),
    types_pb2.Sketch(indices=[1], counts=[0], sum=0.0),
    types_pb2.Sketch(indices=[1], counts=[2**63], sum=1.0, min=1.0, max=1.01),
    types_pb2.Sketch(indices=[2**30], counts=[1], sum=1.0, min=1.0, max=1.0),
    types_pb2.Sketch(indices=[1], counts=[1], sum=float("nan"), min=1.01, max=1.01),
    types_pb2.Sketch(indices=[1], counts=[1], sum=1e300, min=1.01, max=1.01),
    types_pb2.Sketch(indices=[1], counts=[1], sum=1.01, min=5.0, max=1.01),
    types_pb2.Sketch(indices=[1], counts=[1], sum=50.0, min=1.0, max=50.0),
    types_pb2.Sketch(sum=1.0),
    types_pb2.Sketch(max=1.0),
    types_pb2.Sketch(indices=range(MAX_BUCKETS + 1), counts=[1] * (MAX_BUCKETS + 1)),
]


@pytest.mark.parametrize("message", HOSTILE)
def test_a_hostile_message_is_refused(message: types_pb2.Sketch) -> None:
    with pytest.raises(CircinusError):
        Sketch.of(message, "telemetry.latency_ms")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_a_sketch_or_refused(data: bytes) -> None:
    message = types_pb2.Sketch()
    try:
        message.ParseFromString(data)
    except Exception:  # no message at all: gRPC refuses it
        return
    try:
        sketch = Sketch.of(message)
    except CircinusError:
        return
    assert 0.0 <= sketch.quantile(0.95) <= MAX_VALUE
