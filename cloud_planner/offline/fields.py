"""Typed fields out of a record, with every fault noted and reading going on. PURE.

A field that is missing where it may be, or that is wrong, gives its default: one bad figure must not hide the
next one. Whatever was read is only used if no fault was found.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from typing import TypeVar

from cloud_planner.offline.documents import Faults, Node, Place, Record, Scalar, Sequence

E = TypeVar("E", bound=StrEnum)

_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:+@-]{0,127}")
ID_RULE = "letters, digits and . _ / : + @ - (at most 128, the first a letter or digit)"
#: No figure beyond this is meant.
MAX_NUMBER = 1e18


def suggestion(word: str, known: Iterable[str]) -> str:
    """What somebody who wrote this word may have meant, as the end of a message."""
    names = sorted(name for name in known if name)
    close = get_close_matches(word, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else ""


def is_id(text: str) -> bool:
    """Whether a text can be an id."""
    return _ID.fullmatch(text) is not None


@dataclass(slots=True)
class Fields:
    """The fields of one record. ``what`` names it in messages. Call ``done`` after the last field."""

    record: Record
    faults: Faults
    what: str
    asked: set[str] = field(default_factory=set)

    @property
    def place(self) -> Place:
        """Where the record begins."""
        return self.record.place

    def place_of(self, name: str) -> Place:
        """Where a field stands; the record itself if it is missing."""
        node = self.record.entries.get(name)
        return node.place if node is not None else self.place

    def has(self, name: str) -> bool:
        """Whether the field was given a value."""
        self.asked.add(name)
        node = self.record.entries.get(name)
        return node is not None and not (isinstance(node, Scalar) and node.value is None)

    def node(self, name: str, *, required: bool = False) -> Node | None:
        """The field as it was written; None if it is missing or empty."""
        if self.has(name):
            return self.record.entries[name]
        if required:
            self.faults.add(self.place, f"{self.what}: {name!r} is missing")
        return None

    def _wrong(self, name: str, message: str) -> None:
        self.faults.add(self.place_of(name), f"{self.what}: {name} {message}")

    def text(self, name: str, *, required: bool = False, default: str = "") -> str:
        """A text; a number or flag counts as what was written."""
        node = self.node(name, required=required)
        if node is None:
            return default
        if not isinstance(node, Scalar):
            self._wrong(name, "must be a single word")
            return default
        return node.text

    def id(self, name: str, *, required: bool = False) -> str:
        """An id."""
        text = self.text(name, required=required)
        if text and not is_id(text):
            self._wrong(name, f"{text!r} must be {ID_RULE}")
        return text

    def number(
        self,
        name: str,
        *,
        default: float = 0.0,
        required: bool = False,
        above: float | None = None,
        low: float | None = 0.0,
        high: float = MAX_NUMBER,
    ) -> float:
        """A number with low <= number <= high and number > above."""
        found = self.number_or_none(name, required=required, above=above, low=low, high=high)
        return default if found is None else found

    def number_or_none(
        self,
        name: str,
        *,
        required: bool = False,
        above: float | None = None,
        low: float | None = 0.0,
        high: float = MAX_NUMBER,
    ) -> float | None:
        """A number, or None where it is missing or wrong."""
        node = self.node(name, required=required)
        if node is None:
            return None
        value = node.value if isinstance(node, Scalar) else None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            shown = f"{node.text!r} is not" if isinstance(node, Scalar) else "must be"
            self._wrong(name, f"{shown} a number")
        elif above is not None and value <= above:
            self._wrong(name, f"is {node_text(node)}, but must be above {above:g}")
        elif (low is not None and value < low) or value > high or value < -MAX_NUMBER:
            self._wrong(name, f"is {node_text(node)}, but must be {_range(low, high)}")
        else:
            return float(value)
        return None

    def integer(self, name: str, *, default: int, low: int = 0, high: int = 1_000_000) -> int:
        """A whole number in low..high."""
        value = self.number_or_none(name, low=low, high=high)
        if value is None:
            return default
        if value != int(value):
            self._wrong(name, f"is {value:g}, but must be a whole number")
            return default
        return int(value)

    def flag(self, name: str, *, default: bool) -> bool:
        """True or false."""
        node = self.node(name)
        if node is None:
            return default
        if not isinstance(node, Scalar) or not isinstance(node.value, bool):
            self._wrong(name, "must be true or false")
            return default
        return node.value

    def choice(self, name: str, kind: type[E], *, default: E | None = None) -> E:
        """One of the words of an enumeration; the first of them if it is missing without a default, or wrong."""
        words = [member.value for member in kind]
        fallback = default if default is not None else next(iter(kind))
        text = self.text(name, required=default is None)
        if not text:
            return fallback
        if text not in words:
            self._wrong(name, f"is {text!r}, but must be one of: {', '.join(words)}")
            return fallback
        return kind(text)

    def scalars(self, name: str, *, required: bool = False) -> tuple[Scalar, ...]:
        """A list of single values; one value alone is a list of one."""
        node = self.node(name, required=required)
        if node is None:
            return ()
        items = node.items if isinstance(node, Sequence) else (node,)
        for item in items:
            if not isinstance(item, Scalar) or item.value is None:
                self.faults.add(item.place, f"{self.what}: {name} must list single values")
        return tuple(item for item in items if isinstance(item, Scalar) and item.value is not None)

    def names(self, name: str, *, required: bool = False) -> tuple[str, ...]:
        """A list of words, each once."""
        words = tuple(scalar.text for scalar in self.scalars(name, required=required))
        for word in sorted({word for word in words if words.count(word) > 1}):
            self._wrong(name, f"names {word!r} twice")
        return words

    def record_of(self, name: str) -> Record | None:
        """A record within this one."""
        node = self.node(name)
        if node is not None and not isinstance(node, Record):
            self._wrong(name, "must be keys with values")
            return None
        return node

    def records(self, name: str) -> tuple[Record, ...]:
        """A list of records within this one."""
        node = self.node(name)
        if node is None:
            return ()
        if not isinstance(node, Sequence):
            self._wrong(name, "must be a list")
            return ()
        for item in node.items:
            if not isinstance(item, Record):
                self.faults.add(item.place, f"{name} must list entries with keys")
        return tuple(item for item in node.items if isinstance(item, Record))

    def skip(self, *names: str) -> None:
        """Fields that are known but mean nothing here."""
        self.asked.update(names)

    def done(self) -> None:
        """Notes every field that nothing asked for."""
        for name, place in self.record.key_places.items():
            if name not in self.asked:
                self.faults.add(place, f"{self.what}: unknown key {name!r}{suggestion(name, self.asked)}")


def node_text(node: Node) -> str:
    """What was written, for messages."""
    return node.text if isinstance(node, Scalar) else "a list"


def _range(low: float | None, high: float) -> str:
    if high >= MAX_NUMBER:
        return "below 1e18" if low is None else f"at least {low:g} and below 1e18"
    return f"{low:g}..{high:g}"
