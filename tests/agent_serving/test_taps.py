"""Live items for who looks on: what is shown of them, how few, and that serving goes first."""

import numpy
import pytest
from test_printed import StandingClock

from circinus.layout import read
from circinus.model.directive import Generation
from circinus.payload import encode
from circinus.v1 import control_pb2
from edge_agent import taps
from edge_agent.dataplane.book import Emission
from edge_agent.dataplane.item import Work
from edge_agent.dataplane.shared import SharedMemory
from edge_agent.preview import MAX_FIELDS, shown
from edge_agent.taps import Tap, Taps

GENERATION = Generation(epoch=1, number=4)


@pytest.fixture
def clock():
    return StandingClock()


@pytest.fixture
def all_taps(clock):
    return Taps(clock)


def tap(all_taps, clock, withheld="", **wanted):
    chosen = {"query_id": "gate", "operator_id": "read", "rate_per_s": 10.0} | wanted
    made = Tap(control_pb2.TapWanted(**chosen), clock, withheld=lambda pipeline_id, bundle_digest: withheld)
    all_taps.open.append(made)
    return made


def a_work(payload=b"", **changes):
    values = {
        "request_id": "camera-1-ab-7",
        "query_id": "gate",
        "generation": GENERATION,
        "operator_id": "read",
        "deadline_s": 1_000.25,
        "inputs": {"find": payload},
    }
    return Work(**(values | changes))


def passes(all_taps, work, output=None, batches=0.0):
    payloads = work.inputs | work.gathered if output is None else {work.operator_id: output}
    all_taps.passed(
        work, payloads, output=output is not None, batches=batches, pipeline_id="words", bundle_digest="sha256:1"
    )


PAYLOAD = {
    "number": 7,
    "ratio": 0.5,
    "good": True,
    "text": '{"plate": "B-12"}',
    "picture": b"\xff\xd8\xff" + bytes(300),
    "pixels": numpy.arange(12, dtype=numpy.uint8).reshape(2, 2, 3),
}


def fields_of(message):
    return {field.name: field for field in message.fields}


def test_types_shapes_and_sizes_are_shown_without_values():
    fields = fields_of(shown("read", 999, read(encode(PAYLOAD)), values=False))
    assert {name: field.type for name, field in fields.items()} == {
        "number": "integer",
        "ratio": "real",
        "good": "flag",
        "text": "text",
        "picture": "bytes",
        "pixels": "uint8",
    }
    assert (list(fields["pixels"].shape), fields["pixels"].size_bytes) == ([2, 2, 3], 12)
    assert fields["picture"].size_bytes == 303
    assert {field.preview for field in fields.values()} == {""}


def test_values_are_shown_by_their_beginnings():
    fields = fields_of(shown("read", 999, read(encode(PAYLOAD)), values=True))
    assert fields["number"].preview == "7"
    assert fields["ratio"].preview == "0.5"
    assert fields["good"].preview == "true"
    assert (fields["text"].preview, fields["text"].cut) == ('{"plate": "B-12"}', False)
    assert (fields["picture"].preview[:8], fields["picture"].cut) == ("ff d8 ff", True)
    assert (fields["pixels"].preview, fields["pixels"].cut) == ("0 1 2 3 4 5 6 7", True)


def test_much_is_shown_in_little():
    payload = {f"f{number}": "ä" * 5_000 for number in range(100)}
    payload |= {"json": b'{"a": "' + "ä".encode() * 500 + b'"}', "nan": numpy.full(4, numpy.nan, numpy.float16)}
    message = shown("x", 1, read(encode(payload)), values=True)
    assert (len(message.fields), message.fields_left_out) == (MAX_FIELDS, 102 - MAX_FIELDS)
    assert message.ByteSize() < 16_000
    fields = fields_of(shown("x", 1, read(encode({k: payload[k] for k in ("json", "nan")})), values=True))
    assert fields["json"].preview.startswith('{"a": "ää')
    assert fields["nan"].preview == "nan nan nan nan"


def test_an_item_is_shown_with_what_it_has_left(all_taps, clock):
    looking = tap(all_taps, clock)
    passes(all_taps, a_work(encode({"number": 7})))
    chunk = looking.next_chunk(10_000)
    (item,) = chunk.items
    assert (item.number, item.request_id, item.generation, item.output) == (1, "camera-1-ab-7", 4, False)
    assert item.remaining_ms == pytest.approx(250.0)
    assert [(one.name, one.fields[0].preview) for one in item.payloads] == [("find", "")]
    assert item.withheld == ""
    assert looking.next_chunk(10_000) is None


def test_only_items_of_the_side_the_query_and_the_operator_are_seen(all_taps, clock):
    given, got = tap(all_taps, clock, output=True), tap(all_taps, clock)
    other = tap(all_taps, clock, query_id="hall")
    passes(all_taps, a_work(), output=encode({"number": 1}))
    assert (len(given.next_chunk(999).items), got.next_chunk(999), other.next_chunk(999)) == (1, None, None)


def test_values_that_the_owner_keeps_are_not_there(all_taps, clock):
    looking = tap(all_taps, clock, withheld="shapes alone", values=True, whole_bytes=1_000)
    passes(all_taps, a_work(encode(PAYLOAD)))
    chunk = looking.next_chunk(100_000)
    (item,) = chunk.items
    assert item.withheld == "shapes alone"
    assert {field.preview for field in item.payloads[0].fields} == {""}
    assert not chunk.pieces
    assert b"plate" not in chunk.SerializeToString()


def test_the_rate_is_kept_and_a_count_ends_it(all_taps, clock):
    looking = tap(all_taps, clock, rate_per_s=2.0, count=4)
    for _ in range(30):
        passes(all_taps, a_work(encode({"number": 1})))
        clock.s += 0.1
    chunk = looking.next_chunk(100_000)
    assert (len(chunk.items), chunk.ended, chunk.items_left_out) == (4, True, 0)


def test_where_items_queue_nothing_is_copied(all_taps, clock):
    looking = tap(all_taps, clock)
    passes(all_taps, a_work(encode({"number": 1})), batches=5.0)
    chunk = looking.next_chunk(1_000)
    assert (len(chunk.items), chunk.items_left_out) == (0, 1)


def test_what_waits_is_bounded_and_the_rest_is_counted(all_taps, clock):
    looking = tap(all_taps, clock, rate_per_s=20.0)
    for _ in range(100):
        passes(all_taps, a_work(encode({"text": "x" * 300})))
        clock.s += 1.0
    sent, left_out = 0, 0
    while (chunk := looking.next_chunk(2_000)) is not None:
        assert chunk.ByteSize() < 2_500
        sent, left_out = sent + len(chunk.items), left_out + chunk.items_left_out
    assert (sent, left_out) == (taps.MAX_WAITING, 100 - taps.MAX_WAITING)


class CostlyClock(StandingClock):
    """Each look at it takes ten milliseconds."""

    def monotonic_s(self):
        self.s += 0.01
        return self.s


def test_all_taps_together_have_a_small_part_of_the_time():
    clock = CostlyClock()
    all_taps = Taps(clock)
    looking = tap(all_taps, clock, rate_per_s=20.0)
    for _ in range(50):
        passes(all_taps, a_work(encode({"number": 1})))
    chunk = looking.next_chunk(100_000)
    assert 1 <= len(chunk.items) < 10
    assert chunk.items_left_out > 5


def test_whole_fields_follow_an_item_in_pieces(all_taps, clock):
    memory = SharedMemory()
    pixels = numpy.arange(90_000, dtype=numpy.uint8).reshape(300, 300)
    payload = encode({"pixels": pixels, "large": bytes(3_000_000)})
    looking = tap(all_taps, clock, values=True, whole_bytes=1_000_000, output=True)
    passes(all_taps, a_work(), output=memory.of_bytes([payload]))
    found, data = [], b""
    while (chunk := looking.next_chunk(12_000)) is not None:
        assert chunk.ByteSize() < taps.PIECE_BYTES + 1_000
        found += chunk.items
        data += b"".join(piece.data for piece in chunk.pieces if piece.field == "pixels")
    (item,) = found
    fields = fields_of(item.payloads[0])
    assert (fields["pixels"].whole_bytes, fields["large"].whole_bytes) == (90_000, 0)
    assert data == pixels.tobytes()


def test_what_is_no_payload_is_left_to_serving(all_taps, clock):
    looking = tap(all_taps, clock)
    passes(all_taps, a_work(b"\xff\xff\xff no payload"))
    chunk = looking.next_chunk(1_000)
    assert (len(chunk.items), chunk.items_left_out) == (0, 1)


def test_items_of_a_source_are_seen_as_it_makes_them(all_taps, clock):
    looking = tap(all_taps, clock, operator_id="source", output=True)
    emission = Emission(
        request_id="camera-1-ab-8",
        sequence=8,
        query_id="gate",
        generation=GENERATION,
        source_key="s",
        emitted_at_s=1_000.0,
        deadline_ms=500.0,
        output_operator_ids=("read",),
    )
    all_taps.emitted(emission, encode({"number": 1}), "words", "sha256:1")
    (item,) = looking.next_chunk(1_000).items
    assert (item.operator_id, item.remaining_ms, item.payloads[0].name) == ("source", 500.0, "source")
