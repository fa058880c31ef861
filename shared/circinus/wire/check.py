"""Checks of what came over the wire. Each names the field, the value and the limit."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sized

from circinus.errors import InvalidInput, TooLarge, Violation
from circinus.model.label import labels_fault
from circinus.model.query import INPUT_PATTERN, INPUT_RULE, SINK_PATTERN, SINK_RULE
from circinus.model.selector import selector_fault

MAX_NAME_CHARS = 200
MAX_TEXT_CHARS = 4_000
MAX_LIST_ITEMS = 10_000
#: Longest URI of an input.
MAX_URI_CHARS = 1_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:@/+ -]*")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def _invalid(field: str, message: str) -> InvalidInput:
    return InvalidInput(f"{field}: {message}", (Violation(field=field, message=message),))


def name(field: str, value: str, *, empty: bool = False) -> str:
    """An id: short, printable, no path tricks.

    Raises:
        InvalidInput: it is not.
    """
    if empty and not value:
        return value
    if len(value) > MAX_NAME_CHARS or not _NAME.fullmatch(value) or ".." in value:
        shown = value[:60]
        raise _invalid(
            field, f"{shown!r} is no name: letters, digits and _.:@/+- only, at most {MAX_NAME_CHARS} characters"
        )
    return value


def digest(field: str, value: str) -> str:
    """A digest: "sha256:" and 64 hex digits.

    Raises:
        InvalidInput: it is not.
    """
    if not _DIGEST.fullmatch(value):
        raise _invalid(field, f"{value[:80]!r} is no digest: it must be sha256: and 64 hex digits")
    return value


def uri(field: str, value: str) -> str:
    """What a source reads: empty, or a scheme and what it names, such as camera:0 or file:/srv/street.mp4.

    Raises:
        InvalidInput: it is not.
    """
    if value and (len(value) > MAX_URI_CHARS or not re.fullmatch(INPUT_PATTERN, value)):
        raise _invalid(field, f"{value[:60]!r} is no input: {INPUT_RULE}")
    return value


def sink(field: str, value: str) -> str:
    """Where results are written: empty, or file: and an absolute path.

    Raises:
        InvalidInput: it is not.
    """
    if value and (len(value) > MAX_URI_CHARS or not re.fullmatch(SINK_PATTERN, value)):
        raise _invalid(field, f"{value[:60]!r} is no sink: {SINK_RULE}")
    return value


def selector(field: str, value: str) -> str:
    """A selector, or nothing.

    Raises:
        InvalidInput: it is not.
    """
    if fault := selector_fault(value):
        raise _invalid(field, fault)
    return value


def labels(field: str, values: Mapping[str, str]) -> dict[str, str]:
    """Labels that somebody sets, by key.

    Raises:
        InvalidInput: one of them is none, or there are too many.
    """
    if fault := labels_fault(values):
        raise _invalid(field, fault)
    return dict(sorted(values.items()))


def text(field: str, value: str) -> str:
    """Text for people, bounded.

    Raises:
        InvalidInput: it is too long.
    """
    if len(value) > MAX_TEXT_CHARS:
        raise _invalid(field, f"{len(value)} characters are more than {MAX_TEXT_CHARS}")
    return value


def number(field: str, value: float, *, low: float = 0.0, high: float = 1e15) -> float:
    """A finite number within bounds.

    Raises:
        InvalidInput: it is NaN, infinite or out of bounds.
    """
    if not math.isfinite(value) or not low <= value <= high:
        raise _invalid(field, f"{value!r} is not between {low:g} and {high:g}")
    return value


def ratio(field: str, value: float) -> float:
    """A number from 0 to 1.

    Raises:
        InvalidInput: it is not.
    """
    return number(field, value, high=1.0)


def size(field: str, values: Sized, limit: int = MAX_LIST_ITEMS) -> None:
    """A list that isn't too long.

    Raises:
        TooLarge: it is.
    """
    if len(values) > limit:
        raise TooLarge(f"{field}: {len(values)} entries are more than {limit}")
