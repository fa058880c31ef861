"""Payloads survive the wire; what can't travel is refused."""

import numpy as np
import pytest

from circinus import payload


def test_every_kind_of_field_survives():
    image = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    value = {"image": image, "raw": b"\x00\x01", "text": "käse", "score": 0.5, "count": 3, "ok": True}
    back = payload.decode(payload.encode(value))
    assert np.array_equal(back.pop("image"), image)
    assert back == {"raw": b"\x00\x01", "text": "käse", "score": 0.5, "count": 3, "ok": True}
    assert isinstance(back["ok"], bool)


@pytest.mark.parametrize("dtype", [">f4", "<f8", "int64", "bool"])
def test_arrays_of_any_order_survive(dtype):
    array = np.asfortranarray(np.arange(12).reshape(3, 4).astype(dtype))
    assert np.array_equal(payload.decode(payload.encode({"a": array}))["a"], array)


def test_numpy_numbers_become_plain_ones():
    assert payload.decode(payload.encode({"n": np.int32(4), "x": np.float32(0.5)})) == {"n": 4, "x": 0.5}


def test_equal_payloads_have_equal_bytes():
    assert payload.encode({"a": 1, "b": 2}) == payload.encode({"b": 2, "a": 1})


@pytest.mark.parametrize("bad", [None, [1, 2], {"x": 1}, object(), np.array([None, "x"]), np.array(["x"])])
def test_what_cannot_travel_is_named(bad):
    with pytest.raises(TypeError, match="'field'"):
        payload.encode({"field": bad})


def test_what_is_no_mapping_is_named():
    with pytest.raises(TypeError, match="a payload is list; it must be a mapping"):
        payload.encode([1, 2, 3])


def test_a_tensor_whose_bytes_do_not_fit_its_shape_is_refused():
    message = payload.to_message({"a": np.zeros((4, 4), np.uint8)})
    message.fields["a"].tensor.shape[0] = 2**40
    with pytest.raises(ValueError, match="shape"):
        payload.from_message(message)


def test_bytes_that_are_no_payload_are_refused():
    with pytest.raises(ValueError, match="no payload"):
        payload.decode(b"\xff\xff\xff")
