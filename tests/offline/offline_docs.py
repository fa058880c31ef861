"""The cases in docs/offline.md: code blocks marked ``case=NAME file=FILE`` and ``case=NAME output=FORMAT``."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "offline.md"
_BLOCK = re.compile(r"^```\w+ case=(\w+) (file|output)=([\w.-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> dict[str, dict[str, str]]:
    """Texts by case and by file, or by output format."""
    found: dict[str, dict[str, str]] = {}
    for case, what, name, text in _BLOCK.findall(DOCUMENT.read_text()):
        if what == kind:
            found.setdefault(case, {})[name] = text
    return found


def write_case(case: str, folder: Path) -> Path:
    """Writes a case's files into a folder."""
    for name, text in blocks("file")[case].items():
        (folder / name).write_text(text)
    return folder


def rewrite() -> None:
    """Writes what is printed now into the document: ``python tests/offline/offline_docs.py``."""

    def printed(match: re.Match[str]) -> str:
        case, what, output, _ = match.groups()
        if what != "output":
            return match.group(0)
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "cloud_planner.offline", str(write_case(case, Path(folder))), "-o", output]
            text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        return match.group(0).splitlines()[0] + "\n" + text + "```"

    DOCUMENT.write_text(_BLOCK.sub(printed, DOCUMENT.read_text()))


if __name__ == "__main__":
    rewrite()
