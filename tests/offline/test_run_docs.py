"""The console blocks in docs/run.md: each command prints what stands below it."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from circinus.cli.main import main

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "run.md"
_BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def printed(text: str, folder: Path) -> str:
    """A block with what its commands print now, run in a folder."""
    found = []
    for command in [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]:
        words = shlex.split(command)
        # An answer in full would fill the page.
        quiet = "json" in words
        with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()) as out:
            if words[0] == "circinus":
                main(words[1 : words.index(">") if ">" in words else None])
            else:
                run = subprocess.run(words[: words.index(">")], capture_output=True, text=True, check=True)
                out.write(run.stdout)
            shown = out.getvalue()
            if ">" in words:
                Path(words[-1]).write_text(shown)
                shown = ""
        lines = [] if quiet else [line.rstrip() for line in shown.splitlines()]
        found.append("\n".join([f"$ {command}", *lines]))
    return "\n".join(found) + "\n"


@pytest.mark.slow
def test_the_docs_show_what_is_printed(tmp_path):
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = _BLOCK.findall(DOCUMENT.read_text())
    assert len(blocks) == 3
    for text in blocks:
        assert printed(text, tmp_path) == text


def rewrite(folder: Path) -> None:
    """Writes what is printed now into the document: ``python tests/offline/test_run_docs.py FOLDER``."""
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(_BLOCK.sub(lambda match: f"```console\n{printed(match.group(1), folder)}```", text))


if __name__ == "__main__":
    rewrite(Path(sys.argv[1]))
