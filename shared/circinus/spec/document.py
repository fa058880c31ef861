"""A YAML text as typed values, with every error kept with its line.

Reading goes on after an error: a reader that finds nothing usable returns None, and the caller carries on with
what there is. ``finish`` raises all errors together. The text is read as YAML 1.1 by PyYAML's safe resolver, and
what that version silently turns into something else (``no`` into false, ``010`` into 8, ``1e-3`` into text) is
refused with a word on how to write it.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from circinus.model.pipeline import KnobValue
from circinus.spec.errors import SpecError, SpecErrors

MAX_TEXT_CHARACTERS = 262_144
MAX_DEPTH = 20
MAX_ERRORS = 100
#: Of so many words to choose from, an error lists all.
MAX_KNOWN = 12

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_INT64 = 2**63
_PLAIN_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_LIKE_NUMBER = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+")
_KINDS = {"bool": "true or false", "int": "a whole number", "float": "a number", "null": "empty", "str": "text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A key of a mapping with its value; each has its own line."""

    key: yaml.ScalarNode
    value: yaml.Node


class Document:
    """One YAML text: typed access to its nodes, and all errors found so far."""

    def __init__(self, text: str, filename: str, *, max_characters: int = MAX_TEXT_CHARACTERS) -> None:
        self.filename = filename
        self._errors: list[SpecError] = []
        self.root = self._compose(text, max_characters)

    def error(self, at: yaml.Node | int, message: str) -> None:
        """Keeps an error; ``at`` is the node it is about, or a line."""
        line = at if isinstance(at, int) else at.start_mark.line + 1
        self._errors.append(SpecError(file=self.filename, line=line, message=message))

    def finish(self) -> None:
        """Does nothing if all is well.

        Raises:
            SpecErrors: every error found, the first MAX_ERRORS of them.
        """
        if self._errors:
            raise SpecErrors(sorted(set(self._errors))[:MAX_ERRORS])

    def _compose(self, text: str, max_characters: int) -> yaml.Node | None:
        if len(text) > max_characters:
            self.error(0, f"the file has {len(text):,} characters; the limit is {max_characters:,}")
            return None
        try:
            # Events come one by one, so depth is known before a recursive composer meets it.
            if not self._check_events(text):
                return None
            node = self._node(text)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = error.problem or error.context or ""
            # libyaml reads ahead, so on a flood of brackets its own bound is met before ours.
            too_deep = "nesting depth" in problem
            text = f"nested more than {MAX_DEPTH} deep" if too_deep else f"not valid YAML: {problem}"
            self.error(mark.line + 1 if mark else 1, text)
            return None
        except (yaml.YAMLError, ValueError) as error:
            self.error(1, f"not valid YAML: {' '.join(str(error).split())}")
            return None
        if node is None:
            self.error(1, "the file is empty")
        return node

    def _node(self, text: str) -> yaml.Node | None:
        """The one document of a text; what reads several has its own way."""
        node: yaml.Node | None = yaml.compose(text, Loader=_LOADER)
        return node

    def _check_events(self, text: str) -> bool:
        depth = 0
        for event in yaml.parse(text, Loader=_LOADER):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.AliasEvent):
                self.error(line, f"alias *{event.anchor}: aliases are not supported; write the value out")
                return False
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
                if depth > MAX_DEPTH:
                    self.error(line, f"nested more than {MAX_DEPTH} deep")
                    return False
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
        return True

    def mapping(
        self, node: yaml.Node | None, what: str, *, required: Iterable[str] = (), optional: Iterable[str] | None = ()
    ) -> dict[str, Entry]:
        """The entries of a mapping by key. ``optional`` None: any key will do.

        Unknown, repeated and missing keys are errors; an entry that is written but empty counts as missing.
        """
        if node is None:
            return {}
        if not isinstance(node, yaml.MappingNode):
            self.error(node, f"{what} must be a mapping (key: value), is {kind_of(node)}")
            return {}
        needed = tuple(required)
        known = None if optional is None else (*needed, *optional)
        entries: dict[str, Entry] = {}
        for key_node, value in node.value:
            key = self._key(key_node, what)
            if key is None:
                continue
            if key in entries:
                first = entries[key].key.start_mark.line + 1
                self.error(key_node, f"{what}: key {key!r} is repeated (first on line {first})")
            elif known is not None and key not in known:
                self.error(key_node, f"{what}: unknown key {key!r}{suggestion(key, known)}")
            else:
                entries[key] = Entry(key=key_node, value=value)
        for key in needed:
            if key not in entries:
                self.error(node, f"{what}: key {key!r} is missing")
        return entries

    def _key(self, node: yaml.Node, what: str) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == f"{_TAG}str":
            return str(node.value)
        shown = f" {node.value!r}" if isinstance(node, yaml.ScalarNode) else ""
        self.error(node, f"{what}: key{shown} must be text, is {kind_of(node)}; put it in quotes")
        return None

    @staticmethod
    def named(node: yaml.Node, noun: str) -> str:
        """What to call a mapping in messages: the noun and, if it has one, its id."""
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if key.value == "id" and isinstance(value, yaml.ScalarNode) and value.value:
                    return f"{noun} {str(value.value)[:80]!r}"
        return noun

    def sequence(self, node: yaml.Node | None, what: str, *, at_least: int = 0, at_most: int) -> list[yaml.Node]:
        """The elements of a list with so many elements."""
        if node is None:
            return []
        if not isinstance(node, yaml.SequenceNode):
            self.error(node, f"{what} must be a list, is {kind_of(node)}")
            return []
        if len(node.value) < at_least:
            self.error(node, f"{what} is empty; it needs at least {at_least}")
        if len(node.value) > at_most:
            self.error(node, f"{what} has {len(node.value):,} elements; the limit is {at_most:,}")
            return []
        return list(node.value)

    def text(
        self,
        node: yaml.Node | None,
        what: str,
        *,
        pattern: str = "",
        rule: str = "",
        at_most: int = 500,
        empty: bool = False,
    ) -> str | None:
        """Text, that matches the whole of ``pattern`` if there is one; ``rule`` says the pattern in words."""
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode) or node.tag != f"{_TAG}str":
            hint = "; put it in quotes" if isinstance(node, yaml.ScalarNode) and node.value else ""
            self.error(node, f"{what} must be text, is {kind_of(node)}{hint}")
            return None
        value = str(node.value)
        if not value and not empty:
            self.error(node, f"{what} is empty")
        elif len(value) > at_most:
            self.error(node, f"{what} has {len(value)} characters; the limit is {at_most}")
        elif pattern and not re.fullmatch(pattern, value):
            self.error(node, f"{what} {value!r} must be {rule}")
        else:
            return value
        return None

    def texts(self, node: yaml.Node | None, what: str, *, at_least: int = 0, at_most: int) -> tuple[str, ...]:
        """A list of texts without repeats."""
        return tuple(value for value, _ in self.located_texts(node, what, at_least=at_least, at_most=at_most))

    def located_texts(
        self, node: yaml.Node | None, what: str, *, at_least: int = 0, at_most: int
    ) -> list[tuple[str, yaml.Node]]:
        """A list of texts without repeats, each with its node."""
        found: dict[str, yaml.Node] = {}
        for element in self.sequence(node, what, at_least=at_least, at_most=at_most):
            value = self.text(element, f"{what}: each element")
            if value is None:
                continue
            if value in found:
                self.error(element, f"{what}: {value!r} is repeated")
            else:
                found[value] = element
        return list(found.items())

    def integer(self, node: yaml.Node | None, what: str, *, at_least: int, at_most: int) -> int | None:
        """A whole number in a range."""
        value = self.scalar(node, what)
        if node is None or value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int):
            self.error(node, f"{what} must be a whole number, is {kind_of(node)}")
        elif not at_least <= value <= at_most:
            self.error(node, f"{what} is {value:,}; it must be {at_least:,} to {at_most:,}")
        else:
            return value
        return None

    def number(
        self, node: yaml.Node | None, what: str, *, above: float, at_most: float, hint: str = "", closed: bool = False
    ) -> float | None:
        """A finite number in (above, at_most], or [above, at_most] if ``closed``; ``hint`` is for one outside."""
        value = self.scalar(node, what)
        if node is None or value is None:
            return None
        if isinstance(value, (bool, str)):
            self.error(node, f"{what} must be a number, is {kind_of(node)}")
        elif not above < value <= at_most and not (closed and value == above):
            low = "at least" if closed else "above"
            self.error(node, f"{what} is {value:g}; it must be {low} {above:g} and at most {at_most:,}{hint}")
        else:
            return float(value)
        return None

    def flag(self, node: yaml.Node | None, what: str) -> bool | None:
        """True or false."""
        value = self.scalar(node, what)
        if isinstance(value, bool):
            return value
        if node is not None and value is not None:
            self.error(node, f"{what} must be true or false, is {kind_of(node)}")
        return None

    def choice(self, node: yaml.Node | None, what: str, noun: str, names: Sequence[str]) -> str | None:
        """One of some names; ``noun`` is what they are names of."""
        value = self.text(node, f"{what}: {noun}")
        if node is None or value is None or value in names:
            return value
        self.error(node, f"{what}: unknown {noun} {value!r}{suggestion(value, names)}")
        return None

    def scalar(self, node: yaml.Node | None, what: str) -> KnobValue | None:
        """A plain value: text, a whole number, a number, true or false."""
        if node is None:
            return None
        if not isinstance(node, yaml.ScalarNode):
            self.error(node, f"{what} must be one plain value, is {kind_of(node)}")
            return None
        raw, kind = str(node.value), node.tag.removeprefix(_TAG)
        if kind == "str":
            # A number as people write it that YAML 1.1 takes for text.
            if not node.style and _LIKE_NUMBER.fullmatch(raw):
                self.error(node, f"{what}: YAML reads {raw} as text; write it without an exponent, or put it in quotes")
                return None
            return raw
        if kind == "bool":
            if raw.lower() in ("true", "false"):
                return raw.lower() == "true"
            self.error(node, f"{what}: YAML reads {raw} as true or false; put it in quotes, or write true or false")
        elif kind == "int":
            return self._integer_value(node, what, raw)
        elif kind == "float":
            return self._float_value(node, what, raw)
        elif kind == "null":
            self.error(node, f"{what} is empty" + (f" (YAML reads {raw} as nothing; put it in quotes)" if raw else ""))
        else:
            self.error(node, f"{what}: YAML reads {raw} as a {kind}; put it in quotes")
        return None

    def _integer_value(self, node: yaml.Node, what: str, raw: str) -> int | None:
        if not _PLAIN_INTEGER.fullmatch(raw):
            self.error(
                node, f"{what}: {raw} is no plain decimal number to YAML; put it in quotes or write it in decimals"
            )
        elif not -_INT64 <= (value := int(raw.replace("_", ""))) < _INT64:
            self.error(node, f"{what}: {raw} does not fit in 64 bits")
        else:
            return value
        return None

    def _float_value(self, node: yaml.Node, what: str, raw: str) -> float | None:
        try:
            value = float(raw.replace("_", "").replace(".inf", "inf").replace(".nan", "nan").lower())
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            self.error(node, f"{what}: {raw} is not a finite decimal number")
            return None
        return value


def nodes_of(text: str) -> list[yaml.Node]:
    """The documents of a text that has several; empty ones are left out."""
    return [node for node in yaml.compose_all(text, Loader=_LOADER) if node is not None and node.tag != f"{_TAG}null"]


def kind_of(node: yaml.Node) -> str:
    """What a node is, in words."""
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    return _KINDS.get(node.tag.removeprefix(_TAG), node.tag.removeprefix(_TAG))


def suggestion(word: str, known: Iterable[str]) -> str:
    """What to say after an unknown word: the known one that is closest, or what there is to choose from."""
    candidates = list(known)
    close = difflib.get_close_matches(word, candidates, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(candidates)}" if len(candidates) <= MAX_KNOWN else ""
