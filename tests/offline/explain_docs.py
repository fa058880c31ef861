"""The case in docs/explain.md: blocks marked ``case=NAME file=FILE``, and what is said of a query, ``query=NAME``."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "explain.md"
_FILE = re.compile(r"^```\w+ case=site file=([\w.-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAID = re.compile(r"^```text case=site query=(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_case(folder: Path) -> Path:
    """Writes the case's files into a folder."""
    for name, text in _FILE.findall(DOCUMENT.read_text()):
        (folder / name).write_text(text)
    return folder


def said() -> dict[str, str]:
    """What the document says is printed, by query; of the fleet by an empty name."""
    return dict(_SAID.findall(DOCUMENT.read_text()))


def rewrite() -> None:
    """Writes what is printed now into the document: ``python tests/offline/explain_docs.py``."""

    def printed(match: re.Match[str]) -> str:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "circinus.cli.main", "explain", "--offline", str(write_case(Path(folder)))]
            command += [match.group(1)] if match.group(1) else []
            text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return match.group(0).splitlines()[0] + "\n" + text + "```"

    DOCUMENT.write_text(_SAID.sub(printed, DOCUMENT.read_text()))


if __name__ == "__main__":
    rewrite()
