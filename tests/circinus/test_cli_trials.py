"""What-if, differences, records, explanations and audits on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fake_planner import FakePlanner, a_plan, serve

from circinus import errors
from circinus.cli import plugged
from circinus.cli.main import main
from circinus.cli.what_if import parse_changes
from circinus.errors import InvalidInput
from circinus.model.what_if import (
    AddDevices,
    CordonDevice,
    Figure,
    RemoveDevice,
    SetPrice,
    SetRate,
    SetSlo,
    SetWeight,
    SloField,
)
from circinus.v1 import planner_pb2
from circinus.wire import explanation_to_message, what_if_from_message

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "offline"


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


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    found = capsys.readouterr()
    assert "Traceback" not in found.err + found.out
    return code, found.out, found.err


def a_diff(*, after: int = 2) -> planner_pb2.PlanDiff:
    figures = {"goodput_bound_per_s": 4, "cost_bound_per_h": 0.5, "solver_status": "optimal"}
    moved = a_plan("gate")
    moved.operators[1].device_id = "cloud-2"
    smaller = a_plan("yard")
    smaller.operators[1].replicas = 1
    return planner_pb2.PlanDiff(
        before=planner_pb2.SelectionFigures(plans=2, unplaced=2, goodput_per_s=3, cost_per_h=0.5, **figures),
        after=planner_pb2.SelectionFigures(
            plans=after, unplaced=4 - after, goodput_per_s=3.5, cost_per_h=0.75, **figures
        ),
        queries=[
            planner_pb2.QueryDiff(
                query_id="gate",
                change=planner_pb2.PLAN_CHANGE_MOVED,
                before=a_plan("gate"),
                after=moved,
                cost_before_per_h=0.1,
                cost_after_per_h=0.2,
            ),
            planner_pb2.QueryDiff(
                query_id="lost", change=planner_pb2.PLAN_CHANGE_UNPLACED, before=a_plan("lost"), reason="no [b]room[/b]"
            ),
            planner_pb2.QueryDiff(query_id="new", change=planner_pb2.PLAN_CHANGE_PLACED, after=a_plan("new")),
            planner_pb2.QueryDiff(query_id="same", change=planner_pb2.PLAN_CHANGE_UNCHANGED),
            planner_pb2.QueryDiff(query_id="wait", change=planner_pb2.PLAN_CHANGE_WAITING, reason="no profile"),
            planner_pb2.QueryDiff(
                query_id="yard", change=planner_pb2.PLAN_CHANGE_RESIZED, before=a_plan("yard"), after=smaller
            ),
        ],
        devices=[
            planner_pb2.DeviceDiff(device_id="camera-1", keep=4, cores_before=2, cores_after=2),
            planner_pb2.DeviceDiff(
                device_id="cloud-2", start=2, stop=1, keep=3, cores_before=1, cores_after=2, cost_after_per_h=0.25
            ),
        ],
    )


def test_what_changes_in_the_running_fleet_is_shown_before_it_does(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner
) -> None:
    planner.diff = a_diff()
    code, out, err = run(capsys, "plan", "--diff")
    assert (code, err) == (3, "")
    assert out.splitlines()[1].split() == ["queries", "placed", "2", "2", "-"]
    told = {line.split()[0]: line for line in out.splitlines() if line}
    assert "moved" in told["gate"]
    assert "read on cloud-1 (60%)" in told["gate"]
    assert "read on cloud-2 (60%)" in told["gate"]
    assert "0.1 → 0.2" in told["gate"]
    assert "no [b]room[/b]" in told["lost"]
    assert "rectify.scale=0.75" in told["new"]
    assert "read 2 × 1 on cloud-1" in told["yard"]
    assert "no profile" in told["wait"]
    assert told["cloud-2"].split()[1:4] == ["2", "1", "3"]
    assert "camera-1" not in told
    assert out.splitlines()[-1] == ("4 of 6 queries change, 1 stay as they are; replicas: 2 start, 1 stop, 7 stay")


def test_a_difference_as_json_and_yaml_holds_all_of_it(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner
) -> None:
    planner.diff = a_diff(after=4)
    code, as_json, _ = run(capsys, "plan", "--diff", "-o", "json")
    document = json.loads(as_json)
    assert code == 0
    assert document["queries"][0]["before"]["operators"][1]["device_id"] == "cloud-1"
    assert document["queries"][3] == {
        "query_id": "same",
        "change": "unchanged",
        "before": None,
        "after": None,
        "cost_before_per_h": 0.0,
        "cost_after_per_h": 0.0,
        "reason": "",
    }
    _, as_yaml, _ = run(capsys, "plan", "--diff", "-o", "yaml")
    assert yaml.safe_load(as_yaml) == document
    _, plain, _ = run(capsys, "plan", "-o", "json")
    assert json.loads(plain)["diff"] is None


def test_a_planner_that_tells_no_difference_is_told_to_be_old(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "plan", "--diff")
    assert (code, out) == (1, "")
    assert "is too old to tell what changes" in err


def test_what_if_sends_its_changes_and_shows_before_and_after(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner
) -> None:
    planner.diff = a_diff(after=1)
    flags = [
        "--add",
        "2",
        "edge-small@shop-3",
        "--remove",
        "gateway-1",
        "--rate",
        "q=2x",
        "--weight",
        "q=3",
        "--price",
        "vm=0.2",
    ]
    code, out, _ = run(capsys, "what-if", *flags, "--slo", "q:latency_ms=200", "--cordon", "camera-1")
    assert code == 3
    assert [what_if_from_message(change) for change in planner.changes] == [
        AddDevices(count=2, like="edge-small", site="shop-3"),
        RemoveDevice(device="gateway-1"),
        CordonDevice(device="camera-1"),
        SetRate(query="q", rate_per_s=Figure(value=2.0, factor=True)),
        SetWeight(query="q", weight=Figure(value=3.0)),
        SetPrice(device="vm", price_per_h=Figure(value=0.2)),
        SetSlo(query="q", field=SloField.LATENCY_MS, value=200.0),
    ]
    assert out.splitlines()[0] == "if q: 1 -> 2 items/s"
    assert "goodput/s" in out
    planner.diff = a_diff()
    code, out, _ = run(capsys, "what-if", "--rate", "*=2x", "-o", "json")
    assert code == 0
    assert json.loads(out)["told"] == ["q: 1 -> 2 items/s"]


def test_numbers_count_the_names_that_follow_in_order() -> None:
    changes = parse_changes(["a@s", "b", "vm"], add=["2", "c@t", "3"], remove=["2", "d"])
    assert changes == (
        AddDevices(count=2, like="a", site="s"),
        AddDevices(count=1, like="c", site="t"),
        AddDevices(count=3, like="b"),
        RemoveDevice(device="vm", count=2),
        RemoveDevice(device="d"),
    )
    assert parse_changes([], slo=["a:b:accuracy=none"]) == (SetSlo(query="a:b", field=SloField.ACCURACY, value=None),)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"add": ["2"]}, "the name of what is counted is missing"),
        ({"add": ["@shop"]}, "N CLASS@SITE"),
        ({"names": ["x"], "remove": ["y"]}, "what of 'x'"),
        ({"rate": ["q"]}, "QUERY=5 or QUERY=2x"),
        ({"rate": ["q=fast"]}, "a number such as 5, or a factor such as 2x"),
        ({"price": ["=5"]}, "DEVICE=0.2"),
        ({"slo": ["q=5"]}, "QUERY:BOUND=VALUE with one of latency_ms"),
        ({"slo": ["q:speed=5"]}, "latency_ms, percentile, accuracy, cost_per_h"),
        ({"slo": ["q:accuracy=high"]}, "a number, or none"),
    ],
)
def test_a_wrong_flag_says_how_it_should_be(flags: dict[str, list[str]], told: str) -> None:
    names = flags.pop("names", [])
    with pytest.raises(InvalidInput) as caught:
        parse_changes(names, **flags)
    assert told in str(caught.value)


def test_what_is_not_different_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "what-if")
    assert (code, out) == (2, "")
    assert "nothing is different" in err


def test_a_record_comes_in_pieces_and_is_written_as_it_is(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner, tmp_path: Path
) -> None:
    planner.record = [b'{"circinus', b'_record": 1}\n']
    code, out, err = run(capsys, "plan", "--record", tmp_path / "r.json")
    assert (code, out) == (0, "")
    assert (tmp_path / "r.json").read_bytes() == b'{"circinus_record": 1}\n'
    assert f"circinus audit {tmp_path / 'r.json'}" in err.replace("\n", "")
    planner.fail_with = errors.NotFound("nothing was decided")
    code, _, err = run(capsys, "plan", "--record", tmp_path / "other.json")
    assert code == 1
    assert "nothing was decided" in err
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    "flags",
    [
        ["--diff", "old.json"],
        ["old.json"],
        ["--offline", "x", "--diff"],
        ["--offline", "x", "old.json"],
        ["--offline", "x", "--diff", "old.json", "--report", "r"],
        ["--diff", "--record", "r.json"],
    ],
)
def test_flags_that_do_not_go_together_are_a_usage_error(capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    code, out, _ = run(capsys, "plan", *flags)
    assert (code, out) == (2, "")


def test_a_query_of_a_running_fleet_is_explained(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    plan = {"configuration": {"read.size": 1}, "operators": [], "latency_ms": 5.0, "accuracy": 0.9, "cost_per_h": 0.1}
    document = {
        "version": 1,
        "query": "gate",
        "placed": True,
        "why": "the cheapest there is",
        "exact": True,
        "plan": plan,
        "margins": [],
        "binding": [],
        "rivals": [],
        "conflict": None,
    }
    planner.explanation = explanation_to_message(document)
    code, out, err = run(capsys, "explain", "gate", "-o", "json")
    assert (code, json.loads(out), err) == (0, document, "")
    code, out, _ = run(capsys, "explain", "gate")
    assert code == 0
    assert "why: the cheapest there is" in out
    code, _, err = run(capsys, "explain", "other")
    assert code == 1
    assert "no query 'other'" in err
    planner.explanation = explanation_to_message(document | {"placed": False, "plan": None})
    assert run(capsys, "explain", "gate")[0] == 3
    assert run(capsys, "explain")[0] == 2


@pytest.mark.slow
def test_files_are_planned_recorded_audited_compared_and_tried(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    report, record, answer = tmp_path / "report", tmp_path / "record.json", tmp_path / "answer.yaml"
    code, out, _ = run(capsys, "plan", "--offline", EXAMPLE, "--report", report, "--record", record, "-o", "yaml")
    assert code == 3
    answer.write_text(out)
    assert run(capsys, "audit", record)[0] == 0
    code, out, _ = run(capsys, "audit", answer, "--against", EXAMPLE, "-o", "json")
    assert (code, json.loads(out)["findings"]) == (0, [])
    answer.write_text(answer.read_text().replace("goodput_per_s: 14.5", "goodput_per_s: 15.5"))
    code, out, _ = run(capsys, "audit", answer, "--against", EXAMPLE)
    assert code == 3
    assert "goodput is 14.5, 15.5 is claimed" in out
    code, out, _ = run(capsys, "plan", "--offline", EXAMPLE, "--diff", record, "-o", "json")
    assert code == 3
    assert {query["change"] for query in json.loads(out)["queries"]} == {"unchanged", "waiting"}
    code, out, _ = run(capsys, "what-if", "--offline", EXAMPLE, "--remove", "gateway", "-o", "json")
    assert code == 3
    told = {query["query_id"]: query["reason"] for query in json.loads(out)["diff"]["queries"]}
    assert told["gate"] == "its source gateway is gone"
    code, _, err = run(capsys, "what-if", "--offline", EXAMPLE, "--remove", "gatway")
    assert code == 2
    assert "did you mean 'gateway'" in err


def test_a_file_that_cannot_be_audited_is_a_usage_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    code, out, _ = run(capsys, "audit", tmp_path / "x.json", "--against", EXAMPLE, "-o", "json")
    assert code == 2
    assert json.loads(out)["error"]["exit_code"] == 2


def test_wrong_files_are_told_with_every_fault(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "problem.yaml").write_text("machines: [{id: a, tier: edge, core: 3}]\n")
    code, _, err = run(capsys, "what-if", "--offline", tmp_path, "--cordon", "a")
    assert code == 2
    assert "problem.yaml:1: machine a: unknown key 'core'; did you mean 'cores'?" in err


@pytest.mark.parametrize(
    "arguments",
    [("audit", "x"), ("what-if", "--offline", "x", "--cordon", "y"), ("plan", "--offline", "x", "--diff", "y")],
)
def test_without_the_planner_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr(plugged.metadata, "entry_points", lambda **_: ())
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert "pip install 'circinus[planner]'" in err
