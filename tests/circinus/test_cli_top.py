"""`circinus top --once`, and what it says where there is no terminal or no textual."""

from __future__ import annotations

import builtins
import io
import json
import sys
from collections.abc import Iterator

import pytest
from fake_planner import FakePlanner, a_plan, a_query_state, serve

from circinus.cli.main import main


@pytest.fixture
def planner() -> FakePlanner:
    made = FakePlanner()
    made.queries["gate"] = a_query_state(None, serving=True)
    made.queries["gate"].plan.CopyFrom(a_plan())
    return made


@pytest.fixture(autouse=True)
def address(planner: FakePlanner, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server, address = serve(planner)
    monkeypatch.setenv("CIRCINUS_PLANNER", address)
    monkeypatch.setenv("CIRCINUS_INSECURE_LOOPBACK", "1")
    yield address
    server.stop(None).wait()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["top", *arguments])
    found = capsys.readouterr()
    assert "Traceback" not in found.err + found.out
    return code, found.out, found.err


def test_one_picture_as_text(capsys):
    code, out, _ = run(capsys, "--once")
    assert code == 0
    assert "camera-1" in out
    assert "98.0%" in out
    assert "\x1b" not in out


def test_one_picture_as_a_document(capsys):
    code, out, _ = run(capsys, "-o", "json")
    found = json.loads(out)
    assert code == 0
    assert found["queries"][0]["burn_ratio"] == 0.4
    assert found["devices"][0]["runs"] == ["gate/read"]
    assert found["query"] is None


def test_one_query_with_its_operators(capsys):
    _, out, _ = run(capsys, "--once", "--query", "gate")
    assert "next best: all on [red]camera-1[/red]" in out
    assert "cloud-1 60%" in out
    _, out, _ = run(capsys, "-o", "json", "--query", "gate")
    assert json.loads(out)["query"]["state"]["plan"]["cost_per_h"] == pytest.approx(0.0312)


def test_a_query_that_is_not_there_is_said_so(capsys):
    assert "there is no query gone" in run(capsys, "--once", "--query", "gone")[1]


def test_without_a_terminal_it_says_what_to_type(capsys):
    code, out, err = run(capsys)
    assert (code, out) == (2, "")
    assert "circinus top --once" in err


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_without_textual_it_says_in_one_line_what_to_install(monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("textual"):
            raise ModuleNotFoundError("No module named 'textual'", name="textual")
        return real(name, *args, **kwargs)

    for name in [name for name in sys.modules if name == "circinus.top.screen" or name.startswith("textual")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", without)
    out, err = Tty(), Tty()
    monkeypatch.setattr(sys, "stdin", Tty())
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(["top"]) == 1
    assert "pip install 'circinus[top]'" in err.getvalue()
    assert len(err.getvalue().strip().splitlines()) == 1
    assert out.getvalue() == ""


def test_names_are_not_what_it_prints(capsys):
    assert run(capsys, "-o", "name")[0] == 2
    assert run(capsys, "--filter", "x")[0] == 2


def test_a_planner_that_is_not_there_is_exit_code_4(capsys, monkeypatch):
    monkeypatch.setenv("CIRCINUS_PLANNER", "127.0.0.1:1")
    code, out, _ = run(capsys, "-o", "json")
    assert code == 4
    assert json.loads(out)["error"]["kind"] == "Unreachable"
