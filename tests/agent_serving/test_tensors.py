"""Tensors of the Open Inference Protocol and the fields of payloads that they are."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circinus import layout
from circinus.errors import InvalidInput
from circinus.model.query import QueryId
from circinus.payload import encode
from circinus.v1 import open_inference_pb2 as protocol
from circinus.v1 import types_pb2
from edge_agent.ingress.known import Known
from edge_agent.ingress.tensors import FieldShape, Kind, add_output, fields_of_request, shapes_of

_CODES = {
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "FP16": "e", "FP32": "f", "FP64": "d", "BOOL": "?",
}  # fmt: skip


def request(*tensors, raw=(), **kinds):
    made = protocol.ModelInferRequest(inputs=tensors, raw_input_contents=raw)
    for name, kind in kinds.items():
        made.parameters[f"kind.{name}"].string_param = kind
    return made


def tensor(name="x", datatype="FP32", shape=(1,), **contents):
    made = protocol.ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    for key, values in contents.items():
        getattr(made.contents, key).extend(values)
    return made


def fields(made, known=None, *, strict=False):
    return fields_of_request(made, known or {}, strict=strict)


def bytes_raw(*elements):
    return b"".join(struct.pack("<I", len(one)) + one for one in elements)


@pytest.mark.parametrize("datatype", _CODES)
@settings(max_examples=20)
@given(data=st.data())
def test_raw_numbers_go_in_and_come_out_as_they_are(datatype, data):
    shape = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    count = 1
    for extent in shape:
        count *= extent
    raw = struct.pack(f"<{count}{_CODES[datatype]}", *([1] * count))
    field = fields(request(tensor(datatype=datatype, shape=shape), raw=[raw]))["x"]
    assert (list(field.shape), bytes(field.raw)) == (shape, raw)
    response = protocol.ModelInferResponse()
    add_output(response, "x", field)
    assert (response.outputs[0].datatype, list(response.outputs[0].shape)) == (datatype, shape)
    assert response.raw_output_contents[0] == raw


@pytest.mark.parametrize(
    ("datatype", "contents", "packed"),
    [
        ("INT8", {"int_contents": [-1, 2]}, struct.pack("<2b", -1, 2)),
        ("INT64", {"int64_contents": [-(2**63), 2]}, struct.pack("<2q", -(2**63), 2)),
        ("UINT16", {"uint_contents": [0, 65535]}, struct.pack("<2H", 0, 65535)),
        ("UINT64", {"uint64_contents": [2**64 - 1, 0]}, struct.pack("<2Q", 2**64 - 1, 0)),
        ("FP32", {"fp32_contents": [0.5, 2.0]}, struct.pack("<2f", 0.5, 2.0)),
        ("FP64", {"fp64_contents": [0.5, 2.0]}, struct.pack("<2d", 0.5, 2.0)),
        ("BOOL", {"bool_contents": [True, False]}, b"\x01\x00"),
    ],
)
def test_typed_contents_are_packed(datatype, contents, packed):
    assert fields(request(tensor(datatype=datatype, shape=[2], **contents)))["x"].raw == packed


def test_bytes_are_text_only_where_that_is_known_or_said():
    made = tensor(datatype="BYTES", shape=[1])
    raw = [bytes_raw("grüße".encode())]
    assert fields(request(made, raw=raw))["x"].data == "grüße".encode()
    assert fields(request(made, raw=raw, x="text"))["x"].text == "grüße"
    assert fields(request(made, raw=raw), {"x": FieldShape(kind=Kind.TEXT)})["x"].text == "grüße"


def test_a_number_becomes_what_the_pipeline_reads():
    whole = tensor(datatype="INT32", int_contents=[3])
    assert fields(request(whole), {"x": FieldShape(kind=Kind.INTEGER)})["x"].integer == 3
    assert fields(request(whole), {"x": FieldShape(kind=Kind.REAL)})["x"].real == 3.0
    assert fields(request(whole))["x"].dtype == "int32"
    assert fields(request(tensor(datatype="FP64", shape=[], fp64_contents=[0.5])))["x"].real == 0.5


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (request(), "there must be 1 to"),
        (request(tensor(), tensor(), raw=[b"1234", b"1234"]), "needs a name of its own"),
        (request(tensor(), raw=[b"1234", b"1234"]), "2 entries for 1 inputs"),
        (request(tensor(shape=[-1]), raw=[b""]), "extents must be 0 or more"),
        (request(tensor(shape=[2**20, 2**20]), raw=[b""]), "extents must be 0 or more"),
        (request(tensor(shape=[2]), raw=[b"1234"]), "needs 8 bytes, has 4"),
        (request(tensor(datatype="FP8"), raw=[b"1"]), "datatype 'FP8' is unknown"),
        (request(tensor(datatype="FP16", fp32_contents=[1])), "send raw_input_contents"),
        (request(tensor(fp32_contents=[1]), raw=[b"1234"]), "both raw and typed"),
        (request(tensor(shape=[3], fp32_contents=[1])), "needs 3 values"),
        (request(tensor(datatype="UINT8", uint_contents=[256])), "a value is no UINT8"),
        (request(tensor(datatype="BYTES", shape=[2]), raw=[bytes_raw(b"a", b"b")]), "use shape [1]"),
        (request(tensor(datatype="BYTES"), raw=[b"\x05\x00\x00\x00ab"]), "is cut off"),
        (request(tensor(datatype="BYTES"), raw=[b"\x05\x00"]), "in the middle of a length"),
        (request(tensor(datatype="BYTES"), raw=[bytes_raw(b"\xff")], x="text"), "no text in UTF-8"),
        (request(tensor(), raw=[b"1234"], x="text"), "send BYTES with one element"),
        (request(tensor(), raw=[b"1234"], x="picture"), "must be one of"),
        (request(tensor(fp32_contents=[0.5]), x="integer"), "must be a whole number"),
        (request(tensor(shape=[2], fp32_contents=[1, 2]), x="real"), "it must be one real"),
    ],
)
def test_a_bad_tensor_is_named_with_what_is_wrong(made, reason):
    with pytest.raises(InvalidInput) as caught:
        fields(made)
    assert reason in str(caught.value)
    assert caught.value.violations


def test_fields_that_are_no_arrays_come_out_as_tensors_of_one_element():
    response = protocol.ModelInferResponse()
    values = {"real": 0.5, "integer": -3, "flag": True, "text": "hé", "data": b"\x00"}
    for name, value in values.items():
        add_output(response, name, types_pb2.Field(**{name: value}))
    assert [(one.datatype, list(one.shape)) for one in response.outputs] == [
        ("FP64", [1]),
        ("INT64", [1]),
        ("BOOL", [1]),
        ("BYTES", [1]),
        ("BYTES", [1]),
    ]
    raw = response.raw_output_contents
    assert (struct.unpack("<d", raw[0]), struct.unpack("<q", raw[1]), raw[2]) == ((0.5,), (-3,), b"\x01")
    assert raw[3] == bytes_raw("hé".encode())


def test_what_a_generator_makes_binds_callers_and_what_callers_send_does_not():
    known = Known()
    pushed = {"image": FieldShape(kind=Kind.DATA)}
    known.answered("q1", pushed, {"read.text": FieldShape(kind=Kind.TEXT)})
    assert known.inputs("q1") == (pushed, False)
    for rows, more in ((2, {"note": "x"}), (3, {})):
        known.emitted(QueryId("q1"), encode({"image": np.zeros((rows, 4), np.uint8), **more}))
    assert known.wants_item(QueryId("q1"))
    # Only what every item has, in shapes that all have.
    assert known.inputs("q1") == ({"image": FieldShape(kind=Kind.TENSOR, dtype="uint8", shape=(-1, 4))}, True)
    known.emitted(QueryId("q1"), encode({"image": np.zeros((9, 9), np.uint8)}))
    assert not known.wants_item(QueryId("q1"))
    known.answered("q1", pushed, {"read.text": FieldShape(kind=Kind.TEXT)})
    assert known.inputs("q1")[1]
    assert known.outputs("q1") == {"read.text": FieldShape(kind=Kind.TEXT)}


def test_what_is_seen_of_a_payload_is_its_types_and_shapes():
    message = types_pb2.Payload()
    message.fields["a"].tensor.CopyFrom(types_pb2.Tensor(dtype="uint8", shape=[2, 3], raw=bytes(6)))
    message.fields["b"].text = "x"
    data = message.SerializeToString()
    assert layout.read(data)
    seen = shapes_of(data)
    assert seen == {"a": FieldShape(kind=Kind.TENSOR, dtype="uint8", shape=(2, 3)), "b": FieldShape(kind=Kind.TEXT)}
    wider = FieldShape(kind=Kind.TENSOR, dtype="uint8", shape=(2, 4))
    assert seen["a"].merged(wider).shape == (2, -1)
