"""Frozen dataclasses <-> plain values, by their fields and types: a new field travels by itself. PURE.

What one value says at several places (a candidate that many queries have) is written once, under ``shared``, and is one
value again when it is read. Reading is strict: every fault is told with its place, and nothing is used if there is one.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from circinus.errors import InvalidInput, Violation

MAX_ITEMS = 2_000_000
MAX_TEXT_CHARS = 10_000
MAX_FAULTS = 100
_REF = "$ref"
_NOT_FINITE = {"inf": math.inf, "-inf": -math.inf}
_BAD = object()


class Writer:
    """Values as what JSON can hold. Feed it all values first (``count``), then ``write`` them."""

    def __init__(self) -> None:
        self.shared: list[Any] = []
        self._seen: dict[int, int] = {}
        self._places: dict[int, int] = {}

    def count(self, value: Any) -> None:
        """Notes which values occur more than once."""
        if dataclasses.is_dataclass(value):
            times = self._seen.get(id(value), 0)
            self._seen[id(value)] = times + 1
            if not times:
                for part in dataclasses.fields(value):
                    self.count(getattr(value, part.name))
        elif isinstance(value, Mapping):
            for entry in value.values():
                self.count(entry)
        elif isinstance(value, (tuple, list)):
            for entry in value:
                self.count(entry)

    def write(self, value: Any) -> Any:
        """A value as plain values."""
        if isinstance(value, Enum):
            return value.value
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value)
        if isinstance(value, Mapping):
            return {str(key): self.write(entry) for key, entry in value.items()}
        if isinstance(value, (set, frozenset)):
            return sorted(self.write(entry) for entry in value)
        if isinstance(value, (tuple, list)):
            return [self.write(entry) for entry in value]
        if isinstance(value, float) and not math.isfinite(value):
            return {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
        return value

    def _dataclass(self, value: Any) -> Any:
        place = self._places.get(id(value))
        if place is not None:
            return {_REF: place}
        made = {part.name: self.write(getattr(value, part.name)) for part in dataclasses.fields(value)}
        if self._seen.get(id(value), 0) < 2:
            return made
        self._places[id(value)] = len(self.shared)
        self.shared.append(made)
        return {_REF: self._places[id(value)]}


@dataclass(slots=True)
class Reader:
    """Plain values as dataclasses. ``shared``: what references mean."""

    shared: Sequence[Any] = ()
    faults: list[Violation] = field(default_factory=list)
    _known: dict[tuple[int, Any], Any] = field(default_factory=dict)
    #: References within an entry of ``shared`` must point before it: so there are no circles.
    _below: int = 0

    def wrong(self, place: str, message: str) -> Any:
        """Notes a fault."""
        self.faults.append(Violation(field=place, message=message))
        if len(self.faults) >= MAX_FAULTS:
            self.done()
        return _BAD

    def done(self) -> None:
        """Raises what was found wrong.

        Raises:
            InvalidInput: there is at least one fault.
        """
        if self.faults:
            count = len(self.faults)
            first = self.faults[0]
            message = f"{first}" if count == 1 else f"{count} faults, the first: {first}"
            raise InvalidInput(message, tuple(self.faults))

    def read(self, kind: Any, value: Any, place: str) -> Any:
        """The value of a type that stands there; anything if a fault is noted."""
        kind = getattr(kind, "__supertype__", kind)
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            return self._union(get_args(kind), value, place)
        if kind is type(None):
            return None if value is None else self.wrong(place, f"{_shown(value)} must be null")
        if dataclasses.is_dataclass(kind):
            return self._dataclass(kind, value, place)
        if isinstance(kind, type) and issubclass(kind, Enum):
            words = [member.value for member in kind]
            if value in words and isinstance(value, str):
                return kind(value)
            return self.wrong(place, f"{_shown(value)} must be one of: {', '.join(map(str, words))}")
        if origin in (tuple, frozenset):
            return self._sequence(origin, get_args(kind), value, place)
        if origin is not None and issubclass(origin, Mapping):
            return self._mapping(get_args(kind)[1], value, place)
        return self._scalar(kind, value, place)

    def _scalar(self, kind: Any, value: Any, place: str) -> Any:
        if kind is str:
            if isinstance(value, str) and len(value) <= MAX_TEXT_CHARS:
                return value
            return self.wrong(place, f"{_shown(value)} must be a text of at most {MAX_TEXT_CHARS:,} characters")
        if kind is bool:
            return value if isinstance(value, bool) else self.wrong(place, f"{_shown(value)} must be true or false")
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind is int:
            # JSON knows one kind of number; some programs write 2.0 for 2.
            whole = number and abs(value) < 2**63 and float(value).is_integer()
            return int(value) if whole else self.wrong(place, f"{_shown(value)} must be a whole number")
        if kind is float:
            if isinstance(value, str) and value in _NOT_FINITE:
                return _NOT_FINITE[value]
            finite = number and -sys.float_info.max <= value <= sys.float_info.max
            return float(value) if finite else self.wrong(place, f"{_shown(value)} must be a number")
        raise TypeError(f"{place}: there is no reading of {kind}")

    def _union(self, kinds: tuple[Any, ...], value: Any, place: str) -> Any:
        if value is None and type(None) in kinds:
            return None
        rest = [kind for kind in kinds if kind is not type(None)]
        if len(rest) > 1:
            # Knob values: a number stays of the kind that it was written as.
            exact = [kind for kind in rest if type(value) is kind]
            if not exact:
                return self.wrong(place, f"{_shown(value)} must be a text, a number or a flag")
            rest = exact
        return self.read(rest[0], value, place)

    def _sequence(self, origin: Any, kinds: tuple[Any, ...], value: Any, place: str) -> Any:
        if not isinstance(value, list):
            return self.wrong(place, f"{_shown(value)} must be a list")
        if len(value) > MAX_ITEMS:
            return self.wrong(place, f"{len(value):,} entries are more than {MAX_ITEMS:,}")
        if origin is tuple and (len(kinds) != 2 or kinds[1] is not Ellipsis):
            if len(value) != len(kinds):
                return self.wrong(place, f"has {len(value)} entries, but must have {len(kinds)}")
            found = [self.read(kinds[n], entry, f"{place}[{n}]") for n, entry in enumerate(value)]
        else:
            found = [self.read(kinds[0], entry, f"{place}[{n}]") for n, entry in enumerate(value)]
        return _BAD if any(entry is _BAD for entry in found) else origin(found)

    def _mapping(self, kind: Any, value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            return self.wrong(place, f"{_shown(value)} must be keys with values")
        if len(value) > MAX_ITEMS:
            return self.wrong(place, f"{len(value):,} entries are more than {MAX_ITEMS:,}")
        found = {str(key): self.read(kind, entry, f"{place}.{key}") for key, entry in value.items()}
        return _BAD if any(entry is _BAD for entry in found.values()) else found

    def _dataclass(self, kind: Any, value: Any, place: str) -> Any:
        if not isinstance(value, dict):
            return self.wrong(place, f"{_shown(value)} must be keys with values")
        if set(value) == {_REF}:
            return self._reference(kind, value[_REF], place)
        hints = _hints(kind)
        parts: dict[str, Any] = {}
        good = True
        for name, entry in value.items():
            if name not in hints:
                close = get_close_matches(name, hints, n=1)
                self.wrong(f"{place}.{name}", "unknown key" + (f"; did you mean {close[0]!r}?" if close else ""))
                good = False
            else:
                parts[name] = self.read(hints[name], entry, f"{place}.{name}")
                good = good and parts[name] is not _BAD
        for part in dataclasses.fields(kind):
            required = part.default is dataclasses.MISSING and part.default_factory is dataclasses.MISSING
            if required and part.name not in parts:
                self.wrong(place, f"{part.name!r} is missing")
                good = False
        return kind(**parts) if good else _BAD

    def _reference(self, kind: Any, number: Any, place: str) -> Any:
        most = len(self.shared) if not self._below else self._below - 1
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < most:
            return self.wrong(place, f"reference {_shown(number)} must be below {most}")
        key = (number, kind)
        if key not in self._known:
            outer, self._below = self._below, number + 1
            self._known[key] = self.read(kind, self.shared[number], f"shared[{number}]")
            self._below = outer
        return self._known[key]


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
