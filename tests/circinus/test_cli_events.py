"""`circinus events`: what happened, as a table, as documents, and line by line."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fake_planner import FakePlanner, serve

from circinus.cli.main import main
from circinus.v1 import planner_pb2


@pytest.fixture
def planner() -> FakePlanner:
    found = FakePlanner()
    for number, name in enumerate(("agent_connected", "generation_created", "directive_refused"), start=1):
        event = planner_pb2.PlannerEvent(cursor=number, kind="device", name=name, fields={"device": "b\x1b[31m"})
        event.at.FromSeconds(1_700_000_000 + number)
        found.happened.append(event)
    return found


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


def test_events_are_listed_after_a_cursor_and_by_kind(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    code, out, err = run(capsys, "events")
    assert (code, err) == (0, "")
    assert "2023-11-14 22:13:21" in out
    assert "\x1b" not in out
    code, out, _ = run(capsys, "events", "--after", "1", "-n", "5", "--kind", "plan", "--kind", "device", "-o", "json")
    assert (code, [one["cursor"] for one in json.loads(out)]) == (0, [2, 3])
    assert (planner.asked_events.limit, list(planner.asked_events.kinds)) == (5, ["plan", "device"])


def test_events_that_are_forgotten_are_told(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    planner.missed = True
    code, _, err = run(capsys, "events", "--after", "1")
    assert code == 0
    assert "events before these are forgotten" in err


def test_followed_events_are_one_a_line_until_the_planner_goes(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner
) -> None:
    code, out, err = run(capsys, "events", "--follow", "-o", "json")
    assert code == 4
    assert [json.loads(line)["name"] for line in out.splitlines()[:3]] == [one.name for one in planner.happened]
    assert "go on after cursor 3" in err
