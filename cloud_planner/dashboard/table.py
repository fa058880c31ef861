"""Tables with sort, filter and pages, all on the server. PURE."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

R = TypeVar("R")
SIZES = (25, 50, 100, 250)
_SIZE = 50
_MAX_FILTER_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Column(Generic[R]):
    """A column. ``key`` stands in addresses. ``sort``: what rows are sorted by (None goes last); None: they are not.

    ``numeric``: figures, to the right. ``narrow``: also shown on a phone. ``title``: what it is, in a sentence.
    """

    key: str
    label: str
    sort: Callable[[R], Any] | None = None
    numeric: bool = False
    narrow: bool = False
    title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is wanted of a table, as an address says it. ``only``: further filters by name, of those that are known."""

    sort: str
    descending: bool = False
    filter: str = ""
    page: int = 1
    size: int = _SIZE
    only: Mapping[str, str]

    @classmethod
    def read(
        cls,
        query: str,
        columns: Sequence[Column[Any]],
        *,
        sort: str,
        descending: bool = False,
        only: Sequence[str] = (),
    ) -> Wanted:
        """Reads a query string; what makes no sense counts as not said."""
        values = dict(parse_qsl(query, max_num_fields=20))
        sortable = {column.key for column in columns if column.sort is not None}
        said = values.get("sort", "")
        key = said.removeprefix("-")
        if key not in sortable:
            said, key = ("-" if descending else "") + sort, sort
        page, size = values.get("page", ""), values.get("size", "")
        return cls(
            sort=key,
            descending=said.startswith("-"),
            filter=values.get("q", "").strip()[:_MAX_FILTER_CHARS],
            page=int(page) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
            size=int(size) if size.isdigit() and int(size[:4]) in SIZES else _SIZE,
            only={name: values[name][:_MAX_FILTER_CHARS] for name in only if values.get(name)},
        )

    def query(self, **changes: object) -> str:
        """The query string that says this, with changes."""
        values: dict[str, object] = {
            "q": self.filter,
            **self.only,
            "sort": ("-" if self.descending else "") + self.sort,
            "size": self.size if self.size != _SIZE else "",
            "page": self.page if self.page > 1 else "",
        }
        values |= changes
        return urlencode({key: str(value) for key, value in values.items() if value not in ("", None)})

    def sorted_by(self, key: str) -> str:
        """The query string for a click on a column: it sorts, and turns round where it does already."""
        turned = "-" if key == self.sort and not self.descending else ""
        return self.query(sort=turned + key, page="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut(Generic[R]):
    """The rows of one page. ``matching`` of ``total`` rows are on all pages together."""

    wanted: Wanted
    columns: Sequence[Column[R]]
    rows: Sequence[R]
    matching: int
    total: int
    first: int

    @property
    def pages(self) -> int:
        """How many pages there are."""
        return max(1, math.ceil(self.matching / self.wanted.size))


def cut(
    rows: Sequence[R],
    wanted: Wanted,
    columns: Sequence[Column[R]],
    text: Callable[[R], str],
    only: Mapping[str, Callable[[R], str]] | None = None,
) -> Cut[R]:
    """Filters, sorts and cuts rows: O(n log n). ``text``: what a filter's words are looked for in, all of them.

    ``only``: by the name of a further filter, what it must be equal to.
    """
    words = wanted.filter.casefold().split()
    found = [row for row in rows if all(word in text(row).casefold() for word in words)] if words else list(rows)
    for name, value in wanted.only.items():
        of = (only or {}).get(name)
        if of is not None:
            found = [row for row in found if of(row) == value]
    by = next((column.sort for column in columns if column.key == wanted.sort and column.sort is not None), None)
    if by is not None:
        # Rows come by id and sorting is stable, so ties go by id.
        known = [(key, row) for row in found if (key := by(row)) is not None]
        unknown = [row for row in found if by(row) is None]
        known.sort(key=lambda pair: pair[0], reverse=wanted.descending)
        found = [*(row for _, row in known), *unknown]
    pages = max(1, math.ceil(len(found) / wanted.size))
    page = min(max(1, wanted.page), pages)
    first = (page - 1) * wanted.size
    here = Wanted(
        sort=wanted.sort,
        descending=wanted.descending,
        filter=wanted.filter,
        page=page,
        size=wanted.size,
        only=wanted.only,
    )
    return Cut(
        wanted=here,
        columns=columns,
        rows=found[first : first + wanted.size],
        matching=len(found),
        total=len(rows),
        first=first,
    )


__all__ = ["SIZES", "Column", "Cut", "Wanted", "cut"]
