"""Templates: everything escaped, figures and times as people read them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined

_MINUS = "\N{MINUS SIGN}"
_NONE = "\N{EN DASH}"


class Templates:
    """The templates of this package. ``asset`` gives the address of a static file."""

    def __init__(self, assets: Mapping[str, str]) -> None:
        self._environment = Environment(
            loader=PackageLoader("cloud_planner.dashboard", "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(
            number=number,
            percent=percent,
            ms=milliseconds,
            gib=gibibytes,
            count=count,
            money=money,
            ago=ago,
            span=span,
            clock=clock_text,
            path=path_text,
            anchor=anchor,
        )
        self._environment.globals.update(asset=assets.__getitem__, query_string=query_string)
        # Macros are there in every template and block, without an import.
        self._environment.globals["ui"] = self._environment.get_template("macros.html").module

    def page(self, template: str, context: Mapping[str, Any]) -> str:
        """A whole page."""
        return self._environment.get_template(template).render(context)

    def block(self, template: str, block: str, context: Mapping[str, Any]) -> str:
        """One block of a page."""
        found = self._environment.get_template(template)
        return "".join(found.blocks[block](found.new_context(dict(context))))


def number(value: float | None, digits: int = 3) -> str:
    """So many digits that mean something, never in powers of ten: 0.0123, 4.56, 12,300."""
    if value is None or math.isnan(value):
        return _NONE
    if math.isinf(value):
        return f"{_MINUS if value < 0 else ''}\N{INFINITY}"
    if value == 0.0:
        return "0"
    magnitude = math.floor(math.log10(abs(value)))
    decimals = min(max(0, digits - 1 - magnitude), 9)
    text = f"{round(value, digits - 1 - magnitude):,.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text.replace("-", _MINUS)


def count(value: float | None) -> str:
    """A whole number."""
    return _NONE if value is None else f"{round(value):,}"


def percent(ratio: float | None, digits: int = 1) -> str:
    """A ratio in percent. What is not all is never rounded to all."""
    if ratio is None or math.isnan(ratio):
        return _NONE
    text = f"{100.0 * ratio:.{digits}f}"
    if ratio < 1.0 and float(text) >= 100.0:
        text = f"{100.0 - 10.0**-digits:.{digits}f}"
    return f"{text}\N{NARROW NO-BREAK SPACE}%"


def milliseconds(value: float | None) -> str:
    """A time in milliseconds, with its unit."""
    if value is None:
        return _NONE
    return f"{number(value)}\N{NARROW NO-BREAK SPACE}ms" if value < 10_000 else f"{number(value / 1e3)}\u202fs"


def gibibytes(value: float | None) -> str:
    """Bytes in GiB, or MiB below one."""
    if value is None:
        return _NONE
    return f"{number(value / 2**30)}\u202fGiB" if value >= 2**30 else f"{number(value / 2**20)}\u202fMiB"


def money(value: float | None) -> str:
    """An amount; the currency is the prices' own."""
    if value is None:
        return _NONE
    return f"{value:,.2f}" if abs(value) >= 0.1 or value == 0.0 else number(value, 2)


def span(seconds: float | None) -> str:
    """A span of time in its two largest units."""
    if seconds is None:
        return _NONE
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        if left >= size or (unit == "s" and not parts):
            parts.append(f"{left // size}\u202f{unit}")
            left %= size
    return " ".join(parts[:2])


def ago(moment: datetime | None, now: datetime) -> str:
    """How long ago a moment was, coarse, so that it seldom changes."""
    if moment is None:
        return _NONE
    gone_s = (now - moment) / timedelta(seconds=1)
    if gone_s < 60:
        return "now"
    return f"{span(gone_s // 60 * 60).split(' ')[0]} ago"


def clock_text(moment: datetime) -> str:
    """A moment in UTC, to the second."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def path_text(text: str) -> str:
    """A name as one segment of a path."""
    return quote(text, safe="")


def anchor(text: str) -> str:
    """An id of an element for any text, the same for the same."""
    return hashlib.blake2s(str(text).encode(), digest_size=6).hexdigest()


def query_string(values: Mapping[str, object], **changes: object) -> str:
    """Values and changes as a query string, without what is empty."""
    merged = {**values, **changes}
    return urlencode({key: str(value) for key, value in merged.items() if value not in ("", None)})


__all__ = ["Templates", "ago", "anchor", "count", "money", "number", "percent", "query_string", "span"]
