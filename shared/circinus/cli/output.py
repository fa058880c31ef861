"""What commands print: data on stdout as table, JSON or YAML; talk on stderr.

Texts that come from elsewhere (reasons, names) are shown as they are, without markup, and without the control
characters that a terminal would obey.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from enum import Enum, StrEnum
from pathlib import PurePath
from typing import Any

import yaml
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from circinus.errors import InvalidInput

#: Where there is no terminal, nothing is wrapped: lines are for programs such as grep.
_PIPE_WIDTH = 400


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"

    @property
    def form(self) -> str:
        """As what prints tables, JSON and YAML alone is told it.

        Raises:
            InvalidInput: it can't be printed so.
        """
        if self is Output.NAME:
            raise InvalidInput("-o name is for lists of things with a name; use table, json or yaml here")
        return "table" if self is Output.WIDE else self.value


def document_of(value: Any) -> Any:
    """A value as plain lists, mappings and scalars, for JSON and YAML. What is not finite becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: document_of(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): document_of(entry) for key, entry in value.items()}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (str, bool, int)) or value is None:
        return value
    if isinstance(value, PurePath):
        return str(value)
    return [document_of(entry) for entry in value]


#: The keys that things are named by; the first that is there is the name.
_NAME_KEYS = ("name", "id", "device_id", "query_id", "pipeline_id", "query", "device", "sequence")


def emit(
    output: Output,
    value: Any,
    table: Callable[[], RenderableType],
    *,
    wide: Callable[[], RenderableType] | None = None,
) -> None:
    """Prints data on stdout; ``table`` is only called for tables. ``wide`` has more columns, if there are more.

    Raises:
        InvalidInput: names are wanted of what has none.
    """
    if output is Output.JSON:
        sys.stdout.write(json.dumps(document_of(value), indent=2, ensure_ascii=False) + "\n")
    elif output is Output.YAML:
        yaml.safe_dump(document_of(value), sys.stdout, sort_keys=False, allow_unicode=True)
    elif output is Output.NAME:
        sys.stdout.writelines(f"{name}\n" for name in _names(document_of(value)))
    else:
        console(sys.stdout).print(wide() if wide is not None and output is Output.WIDE else table())
    sys.stdout.flush()


def _names(document: Any) -> list[str]:
    """One name for each thing of a list, or for the one thing.

    Raises:
        InvalidInput: they have none.
    """
    if isinstance(document, list):
        return [name for entry in document for name in _names(entry)]
    for key in _NAME_KEYS if isinstance(document, dict) else ():
        if isinstance(found := document.get(key), (str, int)):
            return [plain(str(found)).replace("\n", " ")]
        if isinstance(found, dict):
            return _names(found)
    raise InvalidInput("-o name is for lists of things with a name; use table, json or yaml here")


def console(stream: Any) -> Console:
    """A console on a stream; without colours where NO_COLOR is set or there is no terminal."""
    made = Console(file=stream, highlight=False, markup=False, emoji=False, soft_wrap=False)
    if not made.is_terminal:
        made.width = _PIPE_WIDTH
    return made


def say(text: str, style: str = "") -> None:
    """A line for people, on stderr."""
    made = console(sys.stderr)
    made.print(Text(plain(text), style=style), soft_wrap=True)


def plain(text: str) -> str:
    """Text with what a terminal would obey made visible; line ends and tabs stay."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()) -> Table:
    """A table; the columns named in ``right`` are aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    numeric = set(right)
    for column in columns:
        made.add_column(column, justify="right" if column in numeric else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(plain(cell)) for cell in row))
    return made


def lines(*parts: RenderableType | str) -> Group:
    """Things below each other."""
    return Group(*(Text(plain(part)) if isinstance(part, str) else part for part in parts))


def amount(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits; a dash for none."""
    if value is None or not math.isfinite(value):
        return "-"
    if value and abs(value) < 10 ** (digits - 1):
        return f"{value:.{digits}g}"
    return f"{value:,.0f}"


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago, in words; a dash for never."""
    return "-" if moment is None else f"{span(max(0.0, (now - moment).total_seconds()))} ago"


def span(seconds: float) -> str:
    """A time, short."""
    whole = int(seconds)
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if whole >= size:
            return f"{whole // size} {unit}"
    return f"{whole} s"


def size(size_bytes: float) -> str:
    """Bytes in a unit for people."""
    if size_bytes < 1_024:
        return f"{size_bytes:.0f} B"
    for factor, unit in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if size_bytes >= factor:
            return f"{size_bytes / factor:.1f} {unit}"
    return "-"
