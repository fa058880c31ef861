"""Payloads as pieces and views: protobuf reads the same, and parts that are cut and joined are what they were."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from circinus import layout, parts, payload
from circinus.v1 import types_pb2

DTYPES = st.sampled_from(["uint8", "int64", "float32", "float64", "bool", ">f4"])
ARRAYS = st.tuples(DTYPES, st.integers(0, 70), st.integers(1, 40)).map(
    lambda drawn: np.arange(drawn[1] * drawn[2]).reshape(drawn[1:]).astype(drawn[0])
)
PLAIN = st.integers(-5, 5) | st.text(max_size=5) | st.sampled_from([b"", b"x" * 9000]) | st.booleans() | st.floats(0, 1)
PAYLOADS = st.dictionaries(st.text(max_size=70), ARRAYS | PLAIN, max_size=5)


def same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert np.array_equal(value, other[name])
        assert type(value) is type(other[name])


@given(PAYLOADS)
def test_pieces_are_the_payload_that_protobuf_reads(value):
    pieces = payload.pieces(value)
    data = b"".join(pieces)
    plain = payload.decode(payload.encode(value))
    same(payload.from_message(types_pb2.Payload.FromString(data)), plain)
    same(payload.decode(data), plain)
    same(payload.decode(memoryview(payload.encode(value))), plain)
    at = 0
    for piece in pieces:
        assert isinstance(piece, bytes) or at % layout.ALIGNMENT_BYTES == 0
        at += len(piece)


def test_large_arrays_are_views_that_nobody_can_write_to():
    image = np.arange(30_000, dtype=np.float32).reshape(100, 300)
    data = b"".join(payload.pieces({"image": image}))
    found = payload.decode(data)["image"]
    assert np.shares_memory(found, np.frombuffer(data, dtype=np.uint8))
    assert not found.flags.writeable
    assert found.flags.aligned


@given(st.binary(max_size=200))
def test_what_is_no_payload_is_refused_or_read_as_protobuf_reads_it(data):
    try:
        expected = dict(types_pb2.Payload.FromString(data).fields)
    except Exception:
        expected = None
    try:
        found = layout.read(data)
    except ValueError:
        return
    if expected is not None:
        assert found.keys() >= expected.keys()


@given(PAYLOADS, st.integers(0, 40), st.integers(1, 20))
def test_parts_joined_again_are_the_payload(value, rows, most):
    arrays_of_parts = {"rows": np.arange(rows * 3, dtype=np.int32).reshape(rows, 3), "order": np.arange(rows)}
    whole = {name: one for name, one in value.items() if not isinstance(one, np.ndarray)} | arrays_of_parts
    cut = parts.cut(payload.views(whole), "rows", most)
    assert len(cut) == max(1, min(rows, most))
    joined = payload.decode(parts.joined_bytes([b"".join(layout.pieces(part)) for part in cut]))
    same(joined, payload.decode(payload.encode(whole)))


def test_arrays_of_another_length_and_all_else_go_to_each_part():
    whole = {"crops": np.zeros((3, 2)), "frame": np.zeros((7, 2)), "text": "day"}
    found = [payload.from_views(part) for part in parts.cut(payload.views(whole), "crops")]
    assert [one["crops"].shape for one in found] == [(1, 2)] * 3
    assert all(one["frame"].shape == (7, 2) and one["text"] == "day" for one in found)


def test_no_rows_or_no_such_field_is_one_part():
    for whole in ({"crops": np.zeros((0, 2))}, {"text": "nothing"}):
        (only,) = parts.cut(payload.views(whole), "crops")
        same(payload.from_views(only), payload.decode(payload.encode(whole)))


def test_what_has_no_first_axis_is_not_cut():
    with pytest.raises(ValueError, match="fan_out names 'crops', which is no array"):
        parts.cut(payload.views({"crops": "abc"}), "crops")


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"n": 2, "a": np.zeros((1, 2))}, "field 'n' differs"),
        ({"n": 1, "a": np.zeros((1, 3))}, "field 'a' is float64 of shape"),
        ({"n": 1}, "part 1 has fields"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(other, said):
    with pytest.raises(ValueError, match=said):
        parts.join([payload.views({"n": 1, "a": np.zeros((1, 2))}), payload.views(other)])
