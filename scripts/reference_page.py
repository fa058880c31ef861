"""A page of the reference that a script writes from the code, and that a test holds against it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent / "docs"


def cell(text: str) -> str:
    """A text as it may stand in a table: on one line, without columns or HTML of its own."""
    # What stands between backticks is shown as it is, but for the bar.
    pieces = re.split(r"(`[^`]*`)", " ".join(text.split()))
    plain = "".join(piece if piece.startswith("`") else piece.replace("<", "&lt;") for piece in pieces)
    return re.sub(r"(?<!\\)\|", r"\\|", plain)


def table(*titles: str, rows: list[tuple[str, ...]]) -> str:
    """A table; empty without rows."""
    if not rows:
        return ""
    lines = [titles, ("---",) * len(titles), *rows]
    return "\n" + "".join(f"| {' | '.join(cell(entry) for entry in line)} |\n" for line in lines)


def write(name: str, text: str) -> int:
    """Writes the page, or with --check among the arguments holds it against what is there; gives the exit code."""
    page = DOCS / name
    if "--check" not in sys.argv[1:]:
        page.write_text(text)
        return 0
    if not page.exists() or page.read_text() != text:
        sys.stderr.write(f"{page} is not as the code says: run .venv/bin/python {sys.argv[0]}, and commit it\n")
        return 1
    return 0
