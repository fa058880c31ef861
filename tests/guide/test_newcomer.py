"""The newcomer's way: how pages are read and typed; the quickstart, done as it says; and the whole way."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from guide_blocks import files

from circinus.cli.main import app

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
import newcomer  # noqa: E402 - a script, found where scripts are

sys.path.remove(str(ROOT / "scripts"))
QUICKSTART = "docs/quickstart.md"


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def walked(*arguments: str, within_s: float) -> tuple[int, str]:
    """The script's exit code, and all that it and what it typed said."""
    with subprocess.Popen(
        [sys.executable, str(ROOT / "scripts/newcomer.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            said, _ = process.communicate(timeout=within_s)
        finally:
            # It ends what it started; killed, it could not.
            if process.poll() is None:
                process.terminate()
    return process.returncode, said


def way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str) -> newcomer.Way:
    """A way whose only page is this text."""
    monkeypatch.setattr(newcomer, "ROOT", tmp_path)
    (tmp_path / "page.md").write_text(page)
    return newcomer.Way(tmp_path, newcomer.PORT, set())


def test_blocks_are_found_with_their_lines() -> None:
    page = "# Page\n\n```sh step=one exit=3\n# why\nfirst \\\n  goes on\nsecond\n```\n\n```\nnot typed\n```\n"
    page += "```python case=x file=a/b.py\nx = 1\n```\n"
    step, file = newcomer.blocks("page.md", page)
    assert (step.step, step.line, step.exit_code) == ("one", 4, 3)
    assert list(step.commands()) == [(5, "first   goes on"), (7, "second")]
    assert (file.file, file.text) == ("a/b.py", "x = 1\n")


@pytest.mark.parametrize("page", newcomer.PAGES)
def test_each_page_of_the_way_has_steps(page: str) -> None:
    steps = [block.step for block in newcomer.blocks(page, (ROOT / page).read_text()) if block.step]
    assert steps
    assert len(set(steps)) == len(steps)


def test_the_example_is_what_the_guide_makes() -> None:
    for name, text in files().items():
        if name.startswith("meter/"):
            assert (ROOT / "examples" / name).read_text() == text, name


def test_the_commands_of_the_quickstart_are_ones_that_there_are() -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    import cli_docs

    sys.path.remove(str(ROOT / "scripts"))
    known = dict(cli_docs.commands())
    assert app is cli_docs.app
    for block in newcomer.blocks(QUICKSTART, (ROOT / QUICKSTART).read_text()):
        for line, command in block.commands():
            words = shlex.split(command)
            if words[0] != "circinus":
                continue
            name = max((key for key in known if words[: len(key.split())] == key.split()), key=len)
            options = {option for entry in known[name].params for option in (*entry.opts, *entry.secondary_opts)}
            assert [word for word in words if word.startswith("-") and word not in options] == [], line


@pytest.mark.slow
def test_what_is_typed_stays_for_what_is_typed_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "```sh step=one\nexport A=1\nmkdir -p ~/in && cd ~/in\n```\n```text file=b.txt\nwritten\n```\n"
    page += '```sh step=two exit=3\ntest "$A" = 1 && test "$(cat b.txt)" = written && touch done\n'
    page += "exit_with() { return 3; }\nexit_with\n```\n"
    way(tmp_path, monkeypatch, page).walk(["page.md"])
    assert (tmp_path / "in" / "done").exists()


@pytest.mark.slow
def test_it_stops_where_something_fails_and_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = "text\n```sh step=one\nsleep 60 & echo $! > pid\nfalse\ntouch later\n```\n"
    with pytest.raises(newcomer.Failed, match=r"page\.md:4 \(step one\): false: ended with exit code 1"):
        way(tmp_path, monkeypatch, page).walk(["page.md"])
    assert not (tmp_path / "later").exists()
    # What the page left running was ended.
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


@pytest.mark.slow
def test_a_failure_that_is_meant_has_to_happen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(newcomer.Failed, match="ended with exit code 0, not with 3"):
        way(tmp_path, monkeypatch, "```sh step=one exit=3\ntrue\n```\n").walk(["page.md"])


@pytest.mark.slow
@pytest.mark.system
def test_the_quickstart_goes_as_it_says(tmp_path: Path) -> None:
    # Fewer samples, so that it takes less time; their intervals are wider, so what is asked for is less.
    edits = {
        "pipeline.yaml": {"samples: 24": "samples: 8"},
        "queries.yaml": {"accuracy: 0.97": "accuracy: 0.6", "accuracy: 0.9}": "accuracy: 0.6}"},
    }
    for name, text in files().items():
        if name.startswith("meter/"):
            path = tmp_path / "try-circinus" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            for old, new in edits.get(path.name, {}).items():
                assert old in text
                text = text.replace(old, new)
            path.write_text(text)
    # What is left out is a part of the whole way.
    left_out = [word for step in ("install", "none", "why", "remove", "mend") for word in ("--skip", step)]
    where = ("--home", str(tmp_path), "--port", str(free_port()))
    code, said = walked("--page", QUICKSTART, *left_out, *where, within_s=600)
    assert code == 0, said[-4000:]
    assert "dusk: placed" in said
    report = (tmp_path / "try-circinus/report.html").read_text()
    assert "dusk" in report


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.long
def test_the_whole_way_goes_as_it_says(tmp_path: Path) -> None:
    where = ("--home", str(tmp_path), "--port", str(free_port()))
    code, said = walked("--skip-demo", "--skip", "setup", "--skip", "install", *where, within_s=900)
    assert code == 0, said[-4000:]
    assert os.path.exists(tmp_path / "try-circinus/report.html")
