"""`circinus logs` and `circinus tap`: lines for people, documents, files, notes and exit codes."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from fake_planner import FakePlanner, serve

from circinus.cli.main import main
from circinus.cli.saved_items import as_file
from circinus.errors import AgainstPolicy, NotFound, status_of, trailing_metadata
from circinus.look_calls import TappedField
from circinus.v1 import control_pb2, planner_pb2

pytestmark = pytest.mark.slow


class LookedAt(FakePlanner):
    """Shows what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.shows: list[Any] = []
        self.error: Exception | None = None
        self.asked: Any = None

    def _show(self, request: Any, context: Any) -> Iterator[Any]:
        self.asked = request
        yield from self.shows
        if self.error is not None:
            context.set_trailing_metadata(trailing_metadata(self.error))  # type: ignore[arg-type]
            context.abort(status_of(self.error), str(self.error))  # type: ignore[arg-type]

    def ReadLogs(self, request: Any, context: Any) -> Iterator[planner_pb2.ReadLogsResponse]:
        return self._show(request, context)

    def WatchItems(self, request: Any, context: Any) -> Iterator[planner_pb2.WatchItemsResponse]:
        return self._show(request, context)

    def TapItems(self, request: Any, context: Any) -> Iterator[planner_pb2.TapItemsResponse]:
        return self._show(request, context)


@pytest.fixture
def planner() -> LookedAt:
    return LookedAt()


@pytest.fixture(autouse=True)
def address(planner: LookedAt, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server, address = serve(planner)
    monkeypatch.setenv("CIRCINUS_PLANNER", address)
    monkeypatch.setenv("CIRCINUS_INSECURE_LOOPBACK", "1")
    yield address
    server.stop(None).wait()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    found = capsys.readouterr()
    assert "Traceback" not in found.err + found.out
    return code, found.out, found.err


def a_line(text: str, at_ms: int = 0, **changes: Any) -> control_pb2.LogLine:
    message = control_pb2.LogLine(**({"query_id": "gate", "operator_id": "read", "pid": 7, "text": text} | changes))
    message.at.FromMilliseconds(1_700_000_000_000 + at_ms)
    return message


def printed(planner: LookedAt, **changes: Any) -> None:
    planner.shows = [
        planner_pb2.ReadLogsResponse(device_id="cloud-1", lines=[a_line("later \x1b[31m", 250, cut=True)]),
        planner_pb2.ReadLogsResponse(
            device_id="camera-1", lines=[a_line("first", 1, left_out=12), a_line("an event", 2, query_id="")]
        ),
        planner_pb2.ReadLogsResponse(caught_up=True, **changes),
    ]


def test_lines_are_printed_by_time_with_their_device_and_operator(
    capsys: pytest.CaptureFixture[str], planner: LookedAt
) -> None:
    printed(planner)
    code, out, err = run(capsys, "logs", "gate", "--since", "5m", "--tail", "50")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "2023-11-14 22:13:20.001 camera-1 gate/read#0 | (12 lines left out)",
        "2023-11-14 22:13:20.001 camera-1 gate/read#0 | first",
        "2023-11-14 22:13:20.002 camera-1 agent | an event",
        "2023-11-14 22:13:20.250 cloud-1 gate/read#0 | later \N{REPLACEMENT CHARACTER}[31m …",
    ]
    assert (planner.asked.subject_id, planner.asked.since_s, planner.asked.tail) == ("gate", 300.0, 50)


def test_lines_are_one_document_and_followed_one_a_line(capsys: pytest.CaptureFixture[str], planner: LookedAt) -> None:
    printed(planner)
    code, out, _ = run(capsys, "logs", "gate", "-o", "json")
    assert (code, [one["text"] for one in json.loads(out)]) == (0, ["first", "an event", "later \x1b[31m"])
    assert set(json.loads(out)[0]) == {
        "at",
        "device_id",
        "query_id",
        "operator_id",
        "replica",
        "pid",
        "text",
        "cut",
        "left_out",
    }
    code, out, _ = run(capsys, "logs", "gate", "--follow", "-o", "json")
    *documents, error = [json.loads(line) for line in out.splitlines()]
    assert (code, [one["text"] for one in documents][:1], error["error"]["kind"]) == (4, ["first"], "Unreachable")


def test_a_device_that_can_not_be_looked_at_is_told_beside_the_others(
    capsys: pytest.CaptureFixture[str], planner: LookedAt
) -> None:
    printed(planner, notes=[planner_pb2.LookNote(device_id="hall-1", text="hall-1 is not connected")])
    code, out, err = run(capsys, "logs", "gate")
    assert (code, len(out.splitlines())) == (7, 4)
    assert "hall-1 is not connected" in err
    planner.shows = [planner_pb2.ReadLogsResponse(caught_up=True)]
    code, out, err = run(capsys, "logs", "gate", "--since", "5m", "-o", "json")
    assert (code, json.loads(out)) == (0, [])
    assert "nothing was printed since 5m" in err


def test_what_is_wrong_is_one_message_with_its_exit_code(capsys: pytest.CaptureFixture[str], planner: LookedAt) -> None:
    planner.error = NotFound("'nope' is neither a query nor an operator of one; queries: gate")
    code, out, err = run(capsys, "logs", "nope", "-o", "json")
    assert (code, json.loads(out)["error"]["kind"]) == (1, "NotFound")
    assert "queries: gate" in err
    assert run(capsys, "logs", "gate", "--since", "5")[0] == 2
    assert run(capsys, "tap", "gate", "read", "--side", "up")[0] == 2
    assert run(capsys, "tap", "gate", "read", "--for", "1h")[0] == 2
    planner.error = AgainstPolicy("camera-1: the owner of this device shows no items")
    code, out, _ = run(capsys, "tap", "gate", "read", "-o", "json")
    assert (code, len(out.splitlines()), json.loads(out)["error"]["kind"]) == (5, 1, "AgainstPolicy")


def an_item(number: int, *fields: control_pb2.TappedField, **changes: Any) -> control_pb2.TappedItem:
    payload = control_pb2.TappedPayload(name="read", size_bytes=2_048, fields=fields)
    item = control_pb2.TappedItem(
        number=number,
        request_id=f"camera-1-ab-{number}",
        query_id="gate",
        operator_id="read",
        output=True,
        size_bytes=2_048,
        parts=1,
        payloads=[payload],
        **changes,
    )
    item.at.FromMilliseconds(1_700_000_000_250)
    return item


PIXELS = control_pb2.TappedField(name="pixels", type="uint8", shape=[2, 3], size_bytes=6, whole_bytes=6)


def test_items_are_shown_by_id_time_size_type_and_shape(capsys: pytest.CaptureFixture[str], planner: LookedAt) -> None:
    pixels = control_pb2.TappedField(name="pixels", type="uint8", shape=[2, 3], size_bytes=6)
    text = control_pb2.TappedField(name="plate", type="text", size_bytes=4, preview="B-12", cut=True)
    planner.shows = [
        planner_pb2.WatchItemsResponse(device_id="camera-1", items=[an_item(1, pixels, text, remaining_ms=87.4)]),
        planner_pb2.WatchItemsResponse(device_id="camera-1", items=[an_item(2, pixels)], items_left_out=5),
    ]
    code, out, err = run(capsys, "tap", "gate", "read", "--count", "2", "--rate", "5", "--for", "10s")
    assert (code, err) == (0, "")
    assert out.splitlines()[:4] == [
        "22:13:20.250 camera-1 gate/read out camera-1-ab-1  87 ms left  2.0 KiB",
        "    pixels  uint8[2, 3]  6 B",
        "    plate  text  4 B  B-12 …",
        "(5 items left out)",
    ]
    asked = planner.asked
    assert (asked.query_id, asked.operator_id, asked.output, asked.rate_per_s) == ("gate", "read", True, 5.0)
    assert isinstance(asked, planner_pb2.WatchItemsRequest)
    code, out, err = run(capsys, "tap", "gate", "read", "--count", "3", "-o", "json")
    documents = [json.loads(line) for line in out.splitlines()]
    assert (code, len(documents)) == (7, 2)
    assert documents[0]["payloads"][0]["fields"][0] == {
        "name": "pixels",
        "type": "uint8",
        "shape": [2, 3],
        "size_bytes": 6,
        "preview": "",
        "cut": False,
    }


def test_pictures_are_saved_and_withheld_values_are_told(
    capsys: pytest.CaptureFixture[str], planner: LookedAt, tmp_path: Path
) -> None:
    piece = control_pb2.ItemPiece(number=1, payload="read", field="pixels", data=bytes(range(6)))
    planner.shows = [
        planner_pb2.TapItemsResponse(device_id="camera-1", items=[an_item(1, PIXELS)], pieces=[piece]),
        planner_pb2.TapItemsResponse(device_id="camera-1", items=[an_item(2, withheld="shapes alone")]),
    ]
    code, out, err = run(capsys, "tap", "gate", "read", "--save", str(tmp_path / "seen"))
    assert (code, isinstance(planner.asked, planner_pb2.TapItemsRequest)) == (0, True)
    (made,) = (tmp_path / "seen").iterdir()
    assert made.name == "camera-1-ab-1-read-out-read-pixels.png"
    assert f"saved {made}" in out
    assert "values are not shown: shapes alone" in err


def test_where_no_item_comes_it_says_what_to_look_at(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "tap", "gate", "read", "--for", "1s")
    assert code == 6
    assert "no item was seen at gate/read within 1s: `circinus query show gate`" in err


def test_arrays_and_bytes_become_files_that_others_read(tmp_path: Path) -> None:
    pixels = numpy.arange(24, dtype=numpy.uint8).reshape(2, 4, 3)
    data, suffix = as_file(TappedField(name="x", type="uint8", shape=(2, 4, 3), data=pixels.tobytes()))
    assert suffix == "png"
    width, height, bits, kind = struct.unpack(">IIBB", data[16:26])
    assert (width, height, bits, kind) == (4, 2, 8, 2)
    at = data.index(b"IDAT")
    rows = zlib.decompress(data[at + 4 : at + 4 + struct.unpack(">I", data[at - 4 : at])[0]])
    assert rows == b"\0" + pixels[0].tobytes() + b"\0" + pixels[1].tobytes()
    numbers = numpy.arange(6, dtype=numpy.float32).reshape(1, 6)
    data, suffix = as_file(TappedField(name="x", type="float32", shape=(1, 6), data=numbers.tobytes()))
    (path := tmp_path / f"x.{suffix}").write_bytes(data)
    assert numpy.array_equal(numpy.load(path), numbers)
    assert as_file(TappedField(name="x", type="bytes", data=b"\xff\xd8\xff!"))[1] == "jpg"
    assert as_file(TappedField(name="x", type="bytes", data=b"RIFF\0\0\0\0WAVE"))[1] == "wav"
    assert as_file(TappedField(name="x", type="bytes", data=b"?"))[1] == "bin"
