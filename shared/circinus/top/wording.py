"""Words and figures as a terminal shows them: cut to a width, with a tone. PURE."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from rich.cells import cell_len, set_cell_size

from circinus.cli import output


class Tone(StrEnum):
    """How a text is meant. Colours only say again what the text says."""

    NONE = "none"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    DIM = "dim"
    BOLD = "bold"
    #: The row of the cursor.
    CURSOR = "cursor"
    #: The heading of a list.
    HEADING = "heading"


@dataclass(frozen=True, slots=True)
class Span:
    """A piece of a line."""

    text: str
    tone: Tone = Tone.NONE


#: A line of the screen.
Line = tuple[Span, ...]


def clean(text: str) -> str:
    """Text on one line, with what a terminal would obey made visible."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text.replace("\n", " "))


def cut(text: str, width: int) -> str:
    """Text of at most so many cells; what is left out is marked."""
    if width <= 0:
        return ""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1).rstrip() + "…"


def padded(text: str, width: int, *, right: bool = False) -> str:
    """Text of exactly so many cells."""
    short = cut(text, width)
    gap = " " * (width - cell_len(short))
    return gap + short if right else short + gap


def fitted(spans: Sequence[Span], width: int) -> Line:
    """A line cut to a width."""
    found: list[Span] = []
    left = width
    for span in spans:
        text = cut(span.text, left)
        found.append(Span(text, span.tone))
        left -= cell_len(text)
        if left <= 0 or text != span.text:
            break
    return tuple(found)


def amount(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; a dash for none."""
    return "∞" if value is not None and math.isinf(value) else output.amount(value, digits)


def percent(ratio: float | None, digits: int = 0) -> str:
    """A ratio as a percentage; a dash for none. What is not all is never shown as all."""
    if ratio is None:
        return "-"
    shown = f"{ratio:.{digits}%}"
    if shown == f"{1:.{digits}%}" and ratio < 1.0:
        return f">{1 - 10.0 ** -(digits + 2):.{digits}%}"
    return shown


def bar(ratio: float, width: int) -> str:
    """A bar of so many cells, full at 1."""
    full = round(min(1.0, max(0.0, ratio)) * width)
    return "|" * full + "." * (width - full)


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago, short; a dash for never."""
    return "-" if moment is None else output.span(max(0.0, (now - moment).total_seconds()))


def words(text: str, width: int) -> list[str]:
    """Text in lines of at most so many cells, broken at blanks where there are some."""
    lines: list[str] = []
    line = ""
    for word in text.split():
        if line and cell_len(line) + 1 + cell_len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [cut(one, width) for one in ([*lines, line] if line else lines)]


__all__ = [
    "Line",
    "Span",
    "Tone",
    "ago",
    "amount",
    "bar",
    "clean",
    "cut",
    "fitted",
    "padded",
    "percent",
    "words",
]
