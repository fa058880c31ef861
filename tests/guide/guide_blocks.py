"""The blocks of docs/write-a-pipeline.md.

``case=meter file=FILE`` is a file; ``step=NAME`` a few commands, which end with ``exit=CODE`` (0); ``output=NAME`` what
a step says in the end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "write-a-pipeline.md"
_FILE = re.compile(r"^```\w+ case=meter file=([\w./-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_STEP = re.compile(r"^```sh step=(\w+)(?: exit=(\d))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_OUTPUT = re.compile(r"^```text output=(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Commands of the guide; ``said`` is what they say in the end, empty where the guide doesn't show it."""

    commands: str
    exit_code: int
    said: str


def files() -> dict[str, str]:
    """The guide's files, by name, in its order."""
    found = _FILE.findall(DOCUMENT.read_text())
    assert len(dict(found)) == len(found), "a file stands twice in the guide"
    return dict(found)


def steps() -> dict[str, Step]:
    """The guide's steps, by name, in its order."""
    text = DOCUMENT.read_text()
    outputs = dict(_OUTPUT.findall(text))
    return {
        name: Step(commands=commands, exit_code=int(code or 0), said=outputs.get(name, ""))
        for name, code, commands in _STEP.findall(text)
    }


def write_files(folder: Path, *, below: str = "") -> None:
    """Writes the guide's files, those whose names begin so."""
    for name, text in files().items():
        if name.startswith(below):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
