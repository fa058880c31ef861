"""`circinus query watch`, and how plans that are not certified and figures that are no accuracy are shown."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from fake_planner import FakePlanner, a_plan, a_query_state, serve

from circinus.cli.main import main
from circinus.cli.query_watch import configuration_text
from circinus.model.plan import Interval
from circinus.model.query import Budget, Guarantee, Slo
from circinus.model.search import SearchPhase, SearchState, SearchStep
from circinus.v1 import planner_pb2, types_pb2
from circinus.wire import query_from_message, search_to_message

SUBMIT = ["query", "submit", "--pipeline", "documents", "--content", "clean", "--source", "camera-1", "--rate", "2"]
LARGE, SMALL = {"read.size": 640, "read.model": "large"}, {"read.size": 320, "read.model": "large"}
START = datetime(2026, 1, 1, tzinfo=UTC)


def a_step(elapsed_s: float, phase: SearchPhase, size: dict[str, str | int], low: float) -> SearchStep:
    return SearchStep(
        at=START + timedelta(seconds=elapsed_s),
        phase=phase,
        configuration=size,
        accuracy_ratio=Interval(value=0.95, low=low, high=1.0),
        cost_per_h=0.03,
        samples_done=int(elapsed_s) * 10,
        elapsed_s=elapsed_s,
    )


STEPS = (
    a_step(1.5, SearchPhase.UNKNOWN, LARGE, 0.5),
    a_step(4.0, SearchPhase.PROVISIONAL, SMALL, 0.8),
    a_step(12.0, SearchPhase.CERTIFIED, SMALL, 0.9),
)


def a_search(count: int, **changes: object) -> SearchState:
    """What is known after so many steps."""
    step = STEPS[count - 1]
    search = SearchState(
        phase=step.phase,
        configuration=step.configuration,
        probability_ratio=0.83,
        accuracy_ratio=step.accuracy_ratio,
        cost_per_h=step.cost_per_h,
        samples_done=step.samples_done,
        operator_s=3.5,
        profile_cost=0.002,
        candidates_left=7,
        eta_s=20.0,
        history=STEPS[:count],
    )
    return replace(search, **changes)  # type: ignore[arg-type]


CERTIFIED = a_search(3, finished=True, eta_s=None)


@pytest.fixture
def planner() -> FakePlanner:
    made = FakePlanner()
    made.watched = [
        a_query_state(a_search(1)),
        # More samples are no line of their own.
        a_query_state(a_search(1, samples_done=19, eta_s=15.0)),
        a_query_state(a_search(2)),
        a_query_state(CERTIFIED),
        a_query_state(CERTIFIED, serving=True),
    ]
    return made


@pytest.fixture(autouse=True)
def address(planner: FakePlanner, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server, address = serve(planner)
    monkeypatch.setenv("CIRCINUS_PLANNER", address)
    monkeypatch.setenv("CIRCINUS_INSECURE_LOOPBACK", "1")
    yield address
    planner.hang.set()
    server.stop(None).wait()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(list(arguments))
    found = capsys.readouterr()
    assert "Traceback" not in found.err + found.out
    return code, found.out, found.err


def rows(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


@pytest.fixture
def gate(capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, *SUBMIT, "--id", "gate")


@pytest.mark.usefixtures("gate")
def test_each_change_of_what_is_known_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "query", "watch", "gate")
    assert (code, err) == (0, "")
    *found, last = rows(out)
    assert found == [
        "1.5 s best known model=large size=640 accuracy 0.95 (0.5–1) cost 0.03/h 10 samples about 20 s to go",
        "4.0 s provisional, P 0.83 model=large size=320 accuracy 0.95 (0.8–1) cost 0.03/h 40 samples about 20 s to go",
        "12.0 s certified model=large size=320 accuracy 0.95 (0.9–1) cost 0.03/h 120 samples finished",
    ]
    assert last.endswith(
        "certified model=large size=320 accuracy 0.95 (0.9–1) cost 0.03/h 120 samples finished serving"
    )


@pytest.mark.usefixtures("gate")
def test_who_comes_late_is_told_how_it_came(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    planner.watched = [a_query_state(replace(CERTIFIED, agreement=True), serving=True)]
    code, out, _ = run(capsys, "query", "watch", "gate")
    assert code == 0
    assert rows(out) == [
        "1.5 s best known model=large size=640 agreement 0.95 (0.5–1) cost 0.03/h 10 samples",
        "4.0 s provisional model=large size=320 agreement 0.95 (0.8–1) cost 0.03/h 40 samples",
        "12.0 s certified model=large size=320 agreement 0.95 (0.9–1) cost 0.03/h 120 samples finished serving",
    ]


@pytest.mark.usefixtures("gate")
def test_as_json_each_line_is_an_object(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(capsys, "query", "watch", "gate", "-o", "json")
    assert code == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [(line["phase"], line["finished"], line["serving"]) for line in found] == [
        ("unknown", False, False),
        ("provisional", False, False),
        ("certified", True, False),
        ("certified", True, True),
    ]
    assert found[1] == {
        "query_id": "gate",
        "elapsed_s": 4.0,
        "phase": "provisional",
        "configuration": {"read.model": "large", "read.size": 320},
        "accuracy_ratio": {"value": 0.95, "low": 0.8, "high": 1.0},
        "agreement": False,
        "cost_per_h": 0.03,
        "samples_done": 40,
        "probability_ratio": 0.83,
        "eta_s": 20.0,
        "finished": False,
        "stopped": "",
        "serving": False,
    }


@pytest.mark.usefixtures("gate")
def test_a_query_that_is_refused_is_exit_code_3(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    refused = SearchState(phase=SearchPhase.REFUSED, finished=True, samples_done=90)
    planner.watched = [a_query_state(refused, reason="no configuration has accuracy 0.995")]
    code, out, err = run(capsys, "query", "watch", "gate")
    assert (code, err) == (3, "gate: no configuration has accuracy 0.995\n")
    assert rows(out)[0].endswith("s refused 90 samples finished")


@pytest.mark.usefixtures("gate")
def test_a_search_that_was_stopped_says_why(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    stopped = a_search(2, finished=True, stopped="budget of 40 samples is used up")
    planner.watched = [a_query_state(stopped, serving=True)]
    code, out, _ = run(capsys, "query", "watch", "gate")
    assert code == 0
    assert rows(out)[-1].endswith("40 samples stopped: budget of 40 samples is used up serving")


@pytest.mark.usefixtures("gate")
def test_without_a_search_the_querys_own_phase_is_told(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner
) -> None:
    planner.watched = [a_query_state(None), a_query_state(None, serving=True)]
    code, out, _ = run(capsys, "query", "watch", "gate")
    assert code == 0
    assert [row.split(" s ")[1] for row in rows(out)] == ["profiling 0 samples", "placed 0 samples serving"]


@pytest.mark.usefixtures("gate")
def test_a_time_out_is_exit_code_6_and_one_line_of_json(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner
) -> None:
    planner.watched = planner.watched[:1]
    planner.hanging = True
    code, out, err = run(capsys, "query", "watch", "gate", "--timeout", "0.5", "-o", "json")
    assert code == 6
    assert "gate is not settled within 0.5 s; it goes on, `circinus query watch gate` shows how far it is" in err
    first, last = map(json.loads, out.splitlines())
    assert (first["phase"], last["error"]["exit_code"]) == ("unknown", 6)


def test_a_query_that_is_not_there_cannot_be_watched(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "query", "watch", "nobody")
    assert code == 1
    assert "there is no query 'nobody'" in err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.usefixtures("gate")
def test_on_a_terminal_a_bar_moves_below_lines_that_stay(shared: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    out, err = (Terminal() if shared else io.StringIO()), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(["query", "watch", "gate"]) == 0
    assert "certified" in out.getvalue()
    assert "searching gate" in (out if shared else err).getvalue()
    if not shared:
        assert len(out.getvalue().splitlines()) == 4


def test_operators_are_named_only_where_they_must_be() -> None:
    assert configuration_text({"a.size": 1, "b.size": 2, "b.fast": True}) == "a.size=1 b.size=2 fast=true"
    assert len(configuration_text({f"a.knob{number}": "x" * 9 for number in range(9)})) == 60


def test_a_search_is_asked_for_by_flags(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    flags = ["--budget-samples", "5000", "--budget-seconds", "60", "--budget-cost", "0.25", "--guarantee", "population"]
    code, out, _ = run(capsys, *SUBMIT, "--id", "x", "--accuracy", "0.9", "--accuracy-margin", "0.02", *flags)
    assert code == 0
    assert "accuracy ≥ 0.9 (margin 0.02, of the population)" in out
    query = query_from_message(planner.queries["x"].query)
    assert query.slo == Slo(accuracy_ratio=0.9, accuracy_margin_ratio=0.02)
    assert (query.guarantee, query.budget) == (Guarantee.POPULATION, Budget(samples=5_000, seconds=60.0, cost=0.25))
    _, out, _ = run(capsys, "query", "show", "x")
    assert "profiling budget: 5,000 samples, 60 s of operators, cost 0.25" in out


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--guarantee", "all"], "--guarantee"),
        (["--budget-samples", "0"], "budget samples is 0; it must be 1 to 1,000,000,000"),
        (["--budget-cost", "-1"], "budget cost is -1; it must be above 0"),
        (["--accuracy-margin", "0.1"], "slo accuracy_margin is for accuracy, which is missing"),
    ],
)
def test_what_is_wrong_with_the_flags_is_exit_code_2(
    capsys: pytest.CaptureFixture[str], flags: list[str], expected: str
) -> None:
    code, out, err = run(capsys, *SUBMIT, *flags)
    assert (code, out) == (2, "")
    assert expected in err


def make_provisional(planner: FakePlanner, query_id: str, search: SearchState) -> None:
    state = planner.queries[query_id]
    state.plan.CopyFrom(a_plan(query_id))
    state.plan.certainty = types_pb2.CERTAINTY_PROVISIONAL
    state.plan.slo_probability_ratio = 0.83
    state.search.CopyFrom(search_to_message(search))


@pytest.mark.usefixtures("gate")
def test_provisional_plans_are_shown_as_such(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    make_provisional(planner, "gate", a_search(2))
    run(capsys, *SUBMIT, "--id", "proven")
    _, out, _ = run(capsys, "query", "ls")
    assert "serving, provisional, P 0.83" in out
    assert out.count("provisional") == 1
    _, out, _ = run(capsys, "query", "show", "gate")
    assert "search: provisional, 40 samples, 7 candidates left, 3.5 s of operators, cost 0.002; goes on" in rows(out)
    code, out, _ = run(capsys, "plan")
    assert code == 0
    assert "gate p95 412 (390–450) 0.914 (0.88–0.95) 0.0312 provisional, P 0.83" in rows(out)
    assert "proven p95 412 (390–450) 0.914 (0.88–0.95) 0.0312 0.981" in rows(out)
    assert "2/s of 1 plan more is provisional, not counted" in rows(out)


@pytest.mark.usefixtures("gate")
def test_what_is_no_accuracy_is_called_agreement(capsys: pytest.CaptureFixture[str], planner: FakePlanner) -> None:
    make_provisional(planner, "gate", a_search(2, agreement=True))
    planner.queries["gate"].query.slo.accuracy_ratio = 0.9
    _, out, _ = run(capsys, "query", "show", "gate")
    assert "agreement ≥ 0.9" in out
    assert "AGREEMENT" in out
    assert "accuracy" not in out.lower()
    _, out, _ = run(capsys, "ledger")
    assert "agreement 0.914 (0.87–0.95) 0.9 within the interval for 58 items" in rows(out)


@pytest.mark.usefixtures("gate")
def test_beside_accuracies_each_agreement_is_called_one(
    capsys: pytest.CaptureFixture[str], planner: FakePlanner
) -> None:
    make_provisional(planner, "gate", a_search(2, agreement=True))
    proven = planner_pb2.QueryState()
    proven.CopyFrom(planner.queries["gate"])
    proven.query.id, proven.query.content = "proven", "hard"
    proven.ClearField("search")
    proven.plan.CopyFrom(a_plan("proven"))
    planner.queries["proven"] = proven
    _, out, _ = run(capsys, "plan")
    assert "AGREEMENT OR ACCURACY" in out
    assert any("agreement 0.914 (0.88–0.95)" in row for row in rows(out) if row.startswith("gate"))
    assert any("accuracy 0.914 (0.88–0.95)" in row for row in rows(out) if row.startswith("proven"))
