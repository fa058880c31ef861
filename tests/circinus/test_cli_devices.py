"""`circinus device label`, `cordon`, `drain` and `leave`: what they ask for, say and end with."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fake_planner import FakePlanner, serve

from circinus.cli.main import main
from circinus.spec.errors import SpecErrors
from circinus.spec.queries import parse_queries
from circinus.v1 import planner_pb2


@pytest.fixture
def planner() -> FakePlanner:
    return FakePlanner()


@pytest.fixture(autouse=True)
def address(planner: FakePlanner, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
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


def progress(**changes: object) -> planner_pb2.DrainProgress:
    return planner_pb2.DrainProgress(device_id="camera-1", **changes)


def test_labels_are_set_taken_away_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "device", "label", "camera-1", "zone=a", "gpu", "old=x")[:2] == (0, "gpu\nold=x\nzone=a\n")
    assert run(capsys, "device", "label", "camera-1", "old-", "zone=b")[:2] == (0, "gpu\nzone=b\n")
    code, out, _ = run(capsys, "device", "label", "camera-1", "-o", "json")
    assert (code, json.loads(out)) == (0, {"gpu": "", "zone": "b"})
    assert "gpu,zone=b" in run(capsys, "device", "ls")[1]
    assert run(capsys, "device", "label", "camera-1", "--reset")[:2] == (0, "no labels\n")


@pytest.mark.parametrize("label", ["site=x", "two words=x", "k=two words", "-=x", "k--"])
def test_what_is_no_label_is_refused_before_it_is_asked_for(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner, label: str
) -> None:
    code, out, err = run(capsys, "device", "label", "camera-1", "--", label)
    assert (code, out) == (2, "")
    assert "label" in err
    assert not planner.device.labels


def test_devices_come_in_pages_and_by_selector(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    planner.page_of = ("a", "b", "c")
    code, out, _ = run(capsys, "device", "ls", "-l", "site=hall,!old", "-o", "json")
    assert code == 0
    assert [state["device"]["id"] for state in json.loads(out)] == ["a", "b", "c"]
    assert planner.selectors == ["site=hall,!old"] * 3


def test_a_cordon_says_why_and_is_lifted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "device", "cordon", "camera-1", "--why", "a new fan")[0] == 0
    assert "connected, cordoned" in run(capsys, "device", "ls")[1]
    assert "a new fan" in run(capsys, "device", "show", "camera-1")[1]
    assert run(capsys, "device", "uncordon", "camera-1")[0] == 0
    assert "cordoned" not in run(capsys, "device", "ls")[1]


def test_a_drain_says_what_it_waits_for_and_that_it_is_empty(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner
) -> None:
    planner.drains = [progress(moving=["q1/read"], waits_for="a plan without it"), progress(ended=True)]
    code, out, err = run(capsys, "device", "drain", "camera-1", "--why", "a new fan")
    assert code == 0
    assert "camera-1 is empty" in out
    assert "waits for a plan without it" in err
    code, out, _ = run(capsys, "device", "drain", "camera-1", "--no-wait")
    assert code == 0
    assert "runs there still: q1/read" in out


def test_a_drain_that_leaves_something_ends_with_7_and_names_it(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner
) -> None:
    stays = [planner_pb2.Staying(query_id="q1", reason="its source is this device")]
    planner.drains = [progress(staying=stays, ended=True)]
    code, out, _ = run(capsys, "device", "drain", "camera-1")
    assert code == 7
    assert "stays: q1/source: its source is this device" in out
    code, out, _ = run(capsys, "device", "leave", "camera-1", "-o", "json")
    assert code == 7
    assert json.loads(out)["gone"] is False


def test_a_drain_that_takes_too_long_ends_with_6(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    planner.drains = [progress(waits_for="b1 is starting")]
    planner.hanging = True
    code, _, err = run(capsys, "device", "drain", "camera-1", "--timeout", "0.5")
    planner.hang.set()
    assert code == 6
    assert "waits for b1 is starting; it goes on" in err


def test_a_device_leaves_by_force_only_if_that_is_meant(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner
) -> None:
    planner.drains = [progress(ended=True)]
    code, out, err = run(capsys, "device", "leave", "camera-1", "--force")
    assert (code, out, planner.forced) == (2, "", False)
    assert "add --yes" in err
    code, out, _ = run(capsys, "device", "leave", "camera-1", "--force", "--yes")
    assert (code, planner.forced) == (0, True)
    assert "camera-1 has left; its name is free" in out


def test_a_query_has_a_selector_by_flag_and_by_file(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    flags = ["--pipeline", "documents", "--content", "clean", "--source", "camera-1", "--rate", "2", "--id", "gate"]
    assert run(capsys, "query", "submit", *flags, "--selector", "gpu,!old")[0] == 0
    assert planner.queries["gate"].query.selector == "gpu,!old"
    assert "on devices: gpu,!old" in run(capsys, "query", "show", "gate")[1]
    code, _, err = run(capsys, "query", "submit", *flags, "--selector", "gpu,,old")
    assert code == 2
    assert "character 5: ',' stands where a label should" in err
    with pytest.raises(SpecErrors, match="yaml:2: .*character 1"):
        parse_queries("- {id: a, pipeline: p, content: c, source: s, rate_per_s: 1,\n   selector: '=x'}\n")
