"""docs/cli.md is what the code says, and each command shows an example of itself."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from circinus.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import cli_docs  # noqa: E402 - a script, found where scripts are

sys.path.remove(str(ROOT / "scripts"))
COMMANDS = dict(cli_docs.commands())


def test_the_page_is_as_the_code_says() -> None:
    assert cli_docs.PAGE.read_text() == cli_docs.page(), "run .venv/bin/python scripts/cli_docs.py"


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_shows_an_example_of_itself(name: str) -> None:
    words = shlex.split(cli_docs.example_of(COMMANDS[name]).partition(" > ")[0])
    assert " ".join(words[: len(name.split())]) == name
    # Its options are ones that the command has.
    known = {option for parameter in COMMANDS[name].params for option in (*parameter.opts, *parameter.secondary_opts)}
    assert [word for word in words if word.startswith("-") and word.partition("=")[0] not in known] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_gets_a_script_that_completes(capsys: pytest.CaptureFixture[str], shell: str) -> None:
    assert main(["completion", shell]) == 0
    assert "_CIRCINUS_COMPLETE" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize(
    ("words", "expected"), [("circinus dev", "device"), ("circinus token create --dev", "--device")]
)
def test_bash_is_told_what_may_come_next(words: str, expected: str) -> None:
    asked = {"_CIRCINUS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", "from circinus.cli.main import main; main()"],
        env={**os.environ, **asked},
        capture_output=True,
        text=True,
        check=False,
    )
    assert expected in done.stdout.split()


@pytest.mark.slow
@pytest.mark.system
def test_the_script_for_bash_is_taken_by_bash(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = 'eval "$(circinus completion bash)" && complete -p circinus'
    done = subprocess.run(
        ["bash", "-c", command], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert "circinus" in done.stdout, done.stderr
