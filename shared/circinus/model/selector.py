"""Selectors: which devices are meant, by their labels. PURE.

    selector     = requirement *("," requirement)        all of them hold
    requirement  = key | "!" key | key op value | key ["not"] "in" "(" value *("," value) ")"
    op           = "=" | "==" | "!="
    value        = word | '"' any but '"' '"'

``key``: the device has the label; ``!key``: it has not. ``key != a`` and ``key not in (a, b)`` hold, too, where there
is no such label, as in Kubernetes (whose ``notin`` is read as well). Beside labels that are set there are those that a
device has by itself: ``device``, ``site``, ``tier``, ``class`` and ``accelerator`` (a value for each kind).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from circinus.errors import InvalidInput, Violation
from circinus.model.device import Device
from circinus.model.label import KEY_RULE, is_key

MAX_SELECTOR_CHARS = 1_000
MAX_REQUIREMENTS = 32
MAX_VALUES = 64
#: Values of a label by its key; most have one.
Labels = Mapping[str, tuple[str, ...]]

_TOKEN = re.compile(r"\s*(?:(?P<word>[A-Za-z0-9][A-Za-z0-9_./-]*)|(?P<quoted>\"[^\"]*\")|(?P<sign>==|!=|[=!(),]))")
_SPACE = re.compile(r"\s*")
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]*")


def _error(text: str, place: int, message: str) -> InvalidInput:
    """What is said of a text that is no selector; ``place``: the character where it went wrong, from 1."""
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    said = f"character {place}: {message}"
    return InvalidInput(f"selector {shown!r}, {said}", (Violation(field="selector", message=said),))


class Relation(StrEnum):
    """What a requirement asks of a label."""

    HAS = "has"
    LACKS = "lacks"
    IN = "in"
    NOT_IN = "not in"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One requirement. ``values``: of IN and NOT_IN, at least one, sorted, each once."""

    key: str
    relation: Relation
    values: tuple[str, ...] = ()

    def holds(self, labels: Labels) -> bool:
        """Whether a device with these labels meets it."""
        found = labels.get(self.key, ())
        match self.relation:
            case Relation.HAS:
                return bool(found)
            case Relation.LACKS:
                return not found
            case Relation.IN:
                return any(value in self.values for value in found)
            case Relation.NOT_IN:
                return not any(value in self.values for value in found)

    def __str__(self) -> str:
        if self.relation is Relation.HAS:
            return self.key
        if self.relation is Relation.LACKS:
            return f"!{self.key}"
        if len(self.values) == 1:
            return f"{self.key}{'=' if self.relation is Relation.IN else '!='}{_written(self.values[0])}"
        return f"{self.key} {self.relation} ({', '.join(map(_written, self.values))})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selector:
    """Requirements, all of which hold of a device that is meant; without any, every device is."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether a device with these labels is meant."""
        return all(requirement.holds(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(map(str, self.requirements))


@lru_cache(maxsize=1_024)
def parse_selector(text: str) -> Selector:
    """The selector in a text; an empty one means every device.

    Raises:
        InvalidInput: it is none; the message says where and why.
    """
    return _Parser(text).selector()


def selector_fault(text: str) -> str:
    """Why a text is no selector; empty: it is one."""
    try:
        parse_selector(text)
    except InvalidInput as error:
        return error.message
    return ""


def labels_of(device: Device) -> dict[str, tuple[str, ...]]:
    """All labels of a device by which it can be selected, those that it has by itself included."""
    return selectable(
        device.labels,
        device=device.id,
        site=device.site,
        tier=device.tier,
        device_class=device.device_class,
        accelerators=(accelerator.kind for accelerator in device.accelerators if accelerator.slots > 0),
    )


def selectable(
    labels: Mapping[str, str],
    *,
    device: str,
    site: str,
    tier: str,
    device_class: str,
    accelerators: Iterable[str] = (),
) -> dict[str, tuple[str, ...]]:
    """Labels by which a device can be selected, from those that were set and what it is."""
    found: dict[str, tuple[str, ...]] = {key: (value,) for key, value in labels.items()}
    found |= {"device": (device,), "site": (site,), "tier": (tier,), "class": (device_class,)}
    kinds = tuple(sorted(set(accelerators)))
    return {**found, "accelerator": kinds} if kinds else found


def selected(devices: Sequence[Device], text: str) -> tuple[Device, ...]:
    """The devices that a selector means, in their order.

    Raises:
        InvalidInput: the text is no selector.
    """
    selector = parse_selector(text)
    return tuple(device for device in devices if selector.matches(labels_of(device)))


def _written(value: str) -> str:
    return value if _PLAIN.fullmatch(value) else f'"{value}"'


class _Parser:
    """Reads tokens one after the other; each is (kind, text, place)."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens: list[tuple[str, str, int]] = []
        self._next = 0

    def selector(self) -> Selector:
        if len(self._text) > MAX_SELECTOR_CHARS:
            raise _error(
                self._text, MAX_SELECTOR_CHARS + 1, f"{len(self._text)} characters are more than {MAX_SELECTOR_CHARS}"
            )
        self._split()
        found: list[Requirement] = []
        if self._peek()[0] == "end":
            return Selector()
        while True:
            place = self._peek()[2]
            found.append(self._requirement())
            if len(found) > MAX_REQUIREMENTS:
                raise _error(self._text, place, f"more than {MAX_REQUIREMENTS} requirements")
            kind, text, place = self._take()
            if kind == "end":
                return Selector(requirements=tuple(found))
            if text != ",":
                raise self._wrong(place, text, "a comma, or the end")

    def _split(self) -> None:
        at, text = 0, self._text
        while match := _TOKEN.match(text, at):
            kind = str(match.lastgroup)
            self._tokens.append((kind, match.group(kind), match.start(kind) + 1))
            at = match.end()
        at = _SPACE.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
        if at < len(text):
            unclosed = "this quote is not closed" if text[at] == '"' else f"{text[at]!r} can't stand here"
            raise _error(text, at + 1, unclosed)
        self._tokens.append(("end", "", len(text) + 1))

    def _peek(self, ahead: int = 0) -> tuple[str, str, int]:
        return self._tokens[min(self._next + ahead, len(self._tokens) - 1)]

    def _take(self) -> tuple[str, str, int]:
        found = self._peek()
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return found

    def _wrong(self, place: int, found: str, wanted: str) -> InvalidInput:
        return _error(self._text, place, f"{repr(found) if found else 'the end'} stands where {wanted} should")

    def _requirement(self) -> Requirement:
        if self._peek()[1] == "!":
            self._take()
            return Requirement(key=self._key(), relation=Relation.LACKS)
        key = self._key()
        _, sign, _ = self._peek()
        if sign in ("=", "==", "!="):
            self._take()
            values: tuple[str, ...] = (self._value(),)
            return Requirement(key=key, relation=Relation.NOT_IN if sign == "!=" else Relation.IN, values=values)
        if sign == "in":
            self._take()
            return Requirement(key=key, relation=Relation.IN, values=self._values())
        if sign == "notin" or (sign == "not" and self._peek(1)[1] == "in"):
            self._take()
            if sign == "not":
                self._take()
            return Requirement(key=key, relation=Relation.NOT_IN, values=self._values())
        return Requirement(key=key, relation=Relation.HAS)

    def _key(self) -> str:
        kind, text, place = self._take()
        if kind != "word":
            raise self._wrong(place, text, "a label")
        if not is_key(text):
            raise _error(self._text, place, f"{text!r} is no label: {KEY_RULE}")
        return text

    def _value(self) -> str:
        kind, text, place = self._take()
        if kind not in ("word", "quoted"):
            raise self._wrong(place, text, "a value")
        return text.strip('"')

    def _values(self) -> tuple[str, ...]:
        _, text, place = self._take()
        if text != "(":
            raise self._wrong(place, text, "( and the values that it may have")
        found = {self._value()}
        while True:
            _, text, place = self._take()
            if text == ")":
                return tuple(sorted(found))
            if text != ",":
                raise self._wrong(place, text, "a comma or )")
            found.add(self._value())
            if len(found) > MAX_VALUES:
                raise _error(self._text, place, f"more than {MAX_VALUES} values")


__all__ = [
    "MAX_SELECTOR_CHARS",
    "Labels",
    "Relation",
    "Requirement",
    "Selector",
    "labels_of",
    "parse_selector",
    "selectable",
    "selected",
    "selector_fault",
]
