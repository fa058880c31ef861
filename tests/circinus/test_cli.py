"""The `circinus` command: what it prints where, and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from fake_planner import FakePlanner, serve

from circinus import errors
from circinus.cli import plugged
from circinus.cli.main import main

QUERIES = """\
- {id: gate, pipeline: documents, content: clean, source: camera-1, rate_per_s: 2,
   slo: {latency_ms: 500, accuracy: 0.8}}
- {id: dream, pipeline: documents, content: clean, source: camera-1, rate_per_s: 1, slo: {accuracy: 0.995}}
"""
SUBMIT = ["query", "submit", "--pipeline", "documents", "--content", "clean", "--source", "camera-1", "--rate", "2"]


@pytest.fixture
def planner() -> FakePlanner:
    return FakePlanner()


@pytest.fixture(autouse=True)
def address(planner: FakePlanner, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server, address = serve(planner)
    monkeypatch.setenv("CIRCINUS_PLANNER", address)
    monkeypatch.setenv("CIRCINUS_INSECURE_LOOPBACK", "1")
    yield address
    planner.hang.set()
    server.stop(None).wait()


@pytest.fixture
def queries(tmp_path: Path) -> str:
    path = tmp_path / "queries.yaml"
    path.write_text(QUERIES)
    return str(path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    found = capsys.readouterr()
    assert "Traceback" not in found.err + found.out
    return code, found.out, found.err


def test_status_says_where_the_planner_stands(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "status")
    assert (code, err) == (0, "")
    assert "1 connected of 2 known" in out


def test_json_and_yaml_hold_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    _, as_json, _ = run(capsys, "device", "ls", "-o", "json")
    _, as_yaml, _ = run(capsys, "device", "ls", "-o", "yaml")
    (device,) = json.loads(as_json)
    assert device["device"]["id"] == "camera-1"
    assert yaml.safe_load(as_yaml) == [device]


def test_a_device_is_shown_with_its_links_and_processes(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "device", "show", "camera-1")
    assert code == 0
    assert "to cloud-1: 20 Mbit/s, round trip 30 ms, emulated" in out
    assert "read/0: pid 4711" in out


def test_an_unknown_device_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "device", "show", "camera-9")
    assert (code, out) == (1, "")
    assert "there is no device 'camera-9'; known: camera-1" in err


def test_queries_of_a_file_are_submitted_and_waited_for(capsys: pytest.CaptureFixture[str], queries: str) -> None:
    code, out, err = run(capsys, "query", "submit", "-f", queries, "--wait")
    assert code == 3
    assert "submitted: gate, dream" in err
    assert "profiling accuracy of documents/clean on cloud-1: 50/100 samples, about 12 s to go" in err
    assert "rolling out: generation 3" in err
    assert "p95 ≤ 500 ms, accuracy ≥ 0.8" in out
    assert "accuracy 0.995 is out of reach: best 0.97" in out


def test_without_wait_submission_ends_well(capsys: pytest.CaptureFixture[str], queries: str) -> None:
    code, _, err = run(capsys, "query", "submit", "-f", queries)
    assert code == 0
    assert "profiling" not in err


def test_a_query_by_flags_is_submitted(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    code, out, _ = run(capsys, *SUBMIT, "--id", "x", "--latency-ms", "400", "--percentile", "0.99", "-o", "json")
    assert code == 0
    assert json.loads(out)[0]["query"]["slo"] == {
        "latency_ms": 400.0,
        "percentile_ratio": 0.99,
        "accuracy_ratio": None,
        "accuracy_margin_ratio": 0.0,
        "cost_per_h": None,
    }
    assert planner.queries["x"].query.weight == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([*SUBMIT, "--accuracy", "95"], "slo accuracy is 95; it must be above 0 and at most 1; it is a ratio"),
        ([*SUBMIT, "--latency-ms", "0"], "slo latency_ms is 0; it must be above 0"),
        ([*SUBMIT, "-f", "queries.yaml"], "give either a file (-f) or a query by flags"),
        (["query", "submit"], "nothing to submit"),
        (["query", "submit", "--pipeline", "x"], "also needs --content, --source, --rate"),
        (["query", "submit", "-f", "/nowhere/queries.yaml"], "/nowhere/queries.yaml: no such file"),
        (["query", "submit", "--rate", "fast"], "--rate"),
        (["qurey"], "No such command 'qurey'"),
        (["status", "-o", "xml"], "'xml' is not one of"),
        (["status", "--planner", "10.0.0.1:7400"], "is not on loopback"),
        (["status", "--planner", "nowhere"], "is not HOST:PORT"),
        (["plan", "--report", "x.json"], "--report goes with --offline only"),
        (["ledger", "--since", "yesterday"], "--since 'yesterday' is neither a duration"),
        (["pipeline", "lint", "/nowhere"], "/nowhere/pipeline.yaml: no such file"),
    ],
)
def test_what_is_wrong_with_the_input_is_exit_code_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    code, out, err = run(capsys, *arguments)
    assert (code, out) == (2, "")
    assert expected in err


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.InvalidInput("bad"), 2),
        (errors.NotFound("none"), 1),
        (errors.NotAllowed("no"), 5),
        (errors.TimedOut("slow"), 6),
        (errors.Unreachable("the store is away"), 4),
        (errors.Internal("oh"), 1),
    ],
)
def test_each_refusal_has_its_exit_code(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner, error: errors.CircinusError, expected: int
) -> None:
    planner.fail_with = error
    code, out, err = run(capsys, "status", "-o", "json")
    assert code == expected
    assert json.loads(out) == {"error": {"kind": type(error).__name__, "message": error.message, "exit_code": expected}}
    assert error.message in err


def test_a_planner_that_is_not_there_is_exit_code_4(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "status", "--planner", "127.0.0.1:1")
    assert code == 4
    assert "no planner answers at 127.0.0.1:1; start one" in err


def test_a_wrong_command_with_json_still_gives_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "query", "submit", "--rate", "x", "--output=json")
    assert code == 2
    assert json.loads(out)["error"]["exit_code"] == 2


def test_all_errors_of_a_file_come_with_their_lines(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "q.yaml"
    path.write_text(QUERIES.replace("rate_per_s: 2", "rate_per_s: 0").replace("0.995", "99.5"))
    code, out, err = run(capsys, "query", "submit", "-f", str(path), "-o", "json")
    assert code == 2
    assert f"{path}:1: query 'gate': rate_per_s is 0" in err
    assert [violation["line"] for violation in json.loads(out)["error"]["violations"]] == [1, 3]


def test_the_dry_run_shows_plans_why_and_what_is_not_placed(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner, queries: str, tmp_path: Path
) -> None:
    run(capsys, "query", "submit", "-f", queries)
    extra = tmp_path / "extra.yaml"
    extra.write_text("- {id: later, pipeline: documents, content: hard, source: camera-1, rate_per_s: 1}\n")
    code, out, _ = run(capsys, "plan", "-f", str(extra))
    assert code == 3
    assert planner.extra == ["later"]
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "QUERY / OPERATOR WHERE KNOBS SHARE TIME ms ACCURACY COST/h P(SLO)" in rows
    assert "rectify camera-1 scale=0.75 1 × 0.5 core 31.4" in rows
    assert "read cloud-1 engine=rapidocr spell=true 2 × 1 core, 60% of items 140" in rows
    assert "gate p95 412 (390–450) 0.914 (0.88–0.95) 0.0312 0.981" in rows
    assert "gate: next best is all on [red]camera-1[/red] at 0.0412/h (+32%)" in rows
    assert "dream accuracy 0.995 is out of reach: best 0.97" in rows
    assert "later content hard is not profiled yet" in rows
    assert "goodput 2/s, bound 2.1/s (gap 5.0%)" in rows


def test_the_dry_run_is_well_when_all_is_placed(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, *SUBMIT)
    code, out, _ = run(capsys, "plan", "-o", "json")
    assert code == 0
    assert json.loads(out)["selection"]["plans"][0]["configuration"]["read.spell"] is True


def test_a_query_is_shown_with_its_plan(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, *SUBMIT, "--id", "gate", "--latency-ms", "400", "--percentile", "0.99")
    code, out, _ = run(capsys, "query", "show", "gate")
    assert code == 0
    assert "p99 412 (390–450)" in out
    assert "camera-1 → cloud-1" in out


@pytest.mark.parametrize("since", ["999999d", "0001-01-01"])
def test_a_ledger_since_ever_is_since_the_first_moment_that_can_be_named(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner, since: str
) -> None:
    code, _, _ = run(capsys, "ledger", "--since", since)
    assert code == 0
    assert planner.since.isoformat() == "1970-01-01T00:00:00"


def test_the_ledger_sets_seen_beside_planned(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    code, out, _ = run(capsys, "ledger", "--since", "2026-01-31T12:00Z", "--operators")
    assert code == 0
    assert planner.since.isoformat() == "2026-01-31T12:00:00"
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "gate item goodput/s 1.8 1.75" in rows
    assert "latency ms p50 300, p95 412 (390–450) p50 290, p95 431" in rows
    assert "accuracy 0.914 (0.87–0.95) 0.9 within the interval for 58 items" in rows
    assert "items 60 in 30 s 55 answered, 3 late, 2 dropped, 0 failed" in rows
    assert "causes queue_full 2" in rows
    assert any(row.startswith("gate read 10 84.1 140") for row in rows)


def test_calibration_sets_every_promise_beside_what_was_seen(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "ledger", "--calibration", "--operators")
    assert code == 0
    rows = [" ".join(line.split()) for line in out.splitlines()]
    assert "gate 4 documents/clean 0 too few items 2" in rows
    assert "gate 3 documents/clean 59 412 (380–440) 450 OUTSIDE 2 1.97 0.97 met" in rows
    assert any(row.startswith("gate 3 read cloud-1 59 84.1 (70–98) 90 3") and "deadline 1" in row for row in rows)
    assert "1 promises: latency off by 8.4% (median), throughput by 1.5%" in rows
    assert "90% intervals of latency held 0%, half-width 7.3% (median)" in rows
    assert "P(SLO) 0.95 to 0.99: promised 0.97, met 1.00 of 1" in rows
    assert "documents/read on cloud-1: profiled times x 1.05 (59 items)" in rows


def test_calibration_is_data_too(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "ledger", "--calibration", "-o", "json")
    assert code == 0
    found = json.loads(out)
    assert [one["open"] for one in found["accounts"]] == [True, False]
    assert found["accounts"][1]["operators"][0]["service_seen_ms"] == 90.0
    assert found["calibration"]["reliability"][0]["met_ratio"] == 1.0
    code, _, err = run(capsys, "ledger", "--calibration", "--since", "5m")
    assert code == 2
    assert "--since has no meaning" in err


def test_of_several_removals_some_may_fail(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, *SUBMIT, "--id", "a")
    code, out, err = run(capsys, "query", "rm", "a", "b", "-o", "json")
    assert code == 7
    assert json.loads(out) == {"removed": ["a"], "failed": {"b": "there is no query 'b'"}}
    assert "query b: there is no query 'b'" in err
    assert run(capsys, "query", "rm", "b")[0] == 1


def test_watch_ends_with_what_is_unplaced(capsys: pytest.CaptureFixture[str], queries: str) -> None:
    run(capsys, "query", "submit", "-f", queries)
    code, out, _ = run(capsys, "watch")
    assert code == 3
    assert "settled: 1 placed, 1 unplaced of 2 queries" in out


def test_lint_needs_no_planner(capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(__file__).parents[2] / "examples/documents"
    code, out, _ = run(capsys, "pipeline", "lint", str(folder), "--output", "json")
    assert code == 0
    assert json.loads(out)["errors"] == []


def test_texts_of_the_planner_do_not_reach_the_terminal_as_commands(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner
) -> None:
    planner.fail_with = errors.NotFound("\x1b]0;owned\x07")
    _, _, err = run(capsys, "status")
    assert "\x1b" not in err
    assert "owned" in err


class FakeEntry:
    def load(self) -> object:
        def command(folder: Path, *, report: Path | None, output: str) -> int:
            sys.stdout.write(f"{folder} {report} {output}\n")
            return 3

        return command


def test_planning_from_files_is_handed_to_what_is_plugged_in(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugged.metadata, "entry_points", lambda **_: (FakeEntry(),))
    assert run(capsys, "plan", "--offline", "case", "--report", "r.json") == (3, "case r.json json\n", "")
    assert run(capsys, "plan", "--offline", "case", "-o", "table") == (3, "case None table\n", "")


def test_without_the_planner_it_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugged.metadata, "entry_points", lambda **_: ())
    code, _, err = run(capsys, "plan", "--offline", "case")
    assert code == 1
    assert "pip install 'circinus[planner]'" in err


def test_a_fault_of_our_own_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(plugged.metadata, "entry_points", broken)
    code, _, err = run(capsys, "plan", "--offline", "case")
    assert code == 1
    assert err == (
        "circinus: a fault of circinus itself: ZeroDivisionError: division by zero; CIRCINUS_DEBUG=1 shows where\n"
    )


@pytest.mark.slow
@pytest.mark.system
def test_the_command_itself_ends_with_its_exit_code(address: str) -> None:
    command = [sys.executable, "-m", "circinus.cli.main", "query", "show", "nobody", "-o", "json"]
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
    assert done.returncode == 1
    assert json.loads(done.stdout)["error"]["kind"] == "NotFound"
    assert done.stderr == "circinus: there is no query 'nobody'; `circinus query ls` shows those there are\n"


@pytest.mark.slow
@pytest.mark.system
def test_a_reader_that_goes_away_is_no_fault(address: str) -> None:
    command = f"{sys.executable} -m circinus.cli.main device ls -o json | true"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert done.stderr == ""
