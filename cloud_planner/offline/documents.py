"""Text of YAML, JSON and CSV files into values that know their line. PURE.

YAML is read from its events rather than by a loader: each value keeps its line, scalars are resolved by the
YAML 1.2 core schema (so that ``no`` and ``on`` are words and ``1e-05`` is a number, as in JSON), depth and
number of values are bounded, and nothing can be constructed. JSON is read as the subset of YAML that it is.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import yaml

from circinus.errors import InvalidInput, Violation
from circinus.model.pipeline import KnobValue

MAX_DEPTH = 32
MAX_VALUES = 2_000_000
MAX_ERRORS = 100

_INTEGER = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Place:
    """A line of a file; the first line is 1."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A single value; ``text`` is how it was written."""

    place: Place
    value: KnobValue | None
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A list."""

    place: Place
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Keys and values, in the order in which they were written; ``key_places`` says where each key stands."""

    place: Place
    entries: Mapping[str, Node]
    key_places: Mapping[str, Place]


Node = Scalar | Sequence | Record


@dataclass(slots=True)
class Faults:
    """What is wrong with the files; collected so that all of it can be said at once."""

    found: list[tuple[Place, str]] = field(default_factory=list)

    def add(self, place: Place, message: str) -> None:
        """Notes a fault; the same one only once."""
        if (place, message) not in self.found[-MAX_ERRORS:]:
            self.found.append((place, message))

    def raise_if_any(self) -> None:
        """Raises what was collected.

        Raises:
            InvalidInput: there is at least one fault; its violations are in the order of files and lines.
        """
        if not self.found:
            return
        ordered = sorted(self.found)
        violations = [Violation(field=str(place), message=message) for place, message in ordered[:MAX_ERRORS]]
        more = f" (the first {MAX_ERRORS} are shown)" if len(ordered) > MAX_ERRORS else ""
        raise InvalidInput(f"{len(ordered)} errors in the files{more}", tuple(violations))


def resolve(text: str) -> KnobValue | None:
    """The value of an unquoted scalar: nothing, a flag, a number, or else the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


@dataclass(slots=True)
class _Open:
    """A list or record whose end hasn't been read yet."""

    place: Place
    is_record: bool
    anchor: str | None = None
    items: list[Node] = field(default_factory=list)
    entries: dict[str, Node] = field(default_factory=dict)
    key_places: dict[str, Place] = field(default_factory=dict)
    key: str | None = None
    #: The key was refused: its value is read over.
    skipping: bool = False

    def take(self, node: Node, faults: Faults) -> None:
        """Takes an item, a key or a value."""
        if not self.is_record:
            self.items.append(node)
        elif self.skipping:
            self.skipping = False
        elif self.key is not None:
            self.entries[self.key] = node
            self.key = None
        elif not isinstance(node, Scalar):
            faults.add(node.place, "a key must be a single word")
            self.skipping = True
        elif node.text in self.entries:
            faults.add(node.place, f"{node.text!r} is given twice (first in line {self.key_places[node.text].line})")
            self.skipping = True
        else:
            self.key = node.text
            self.key_places[node.text] = node.place

    def close(self) -> Node:
        """The value, now that its end is known."""
        if self.is_record:
            return Record(place=self.place, entries=self.entries, key_places=self.key_places)
        return Sequence(place=self.place, items=tuple(self.items))


def read_document(text: str, file: str, faults: Faults) -> Node | None:
    """The one document of a YAML or JSON file; None if it is empty or can't be read (a fault says so)."""
    if file.endswith(".json"):
        # A tab can only be white space in JSON; YAML does not take it for indentation.
        text = text.replace("\t", " ")
    try:
        return _from_events(text, file, faults)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.context, error.problem) if part)
        faults.add(Place(file=file, line=mark.line + 1 if mark else 1), f"not valid YAML: {problem}")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        faults.add(Place(file=file, line=line), f"not valid YAML: {error.reason}")
    return None


def _from_events(text: str, file: str, faults: Faults) -> Node | None:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    stack: list[_Open] = []
    root: Node | None = None
    documents = 0
    # An alias is the very value that it stands for, so a small file stays small however often it refers to itself.
    anchors: dict[str | None, Node] = {}
    for values, event in enumerate(yaml.parse(text, Loader=loader)):
        mark = event.start_mark
        place = Place(file=file, line=mark.line + 1 if mark is not None else 1)
        node: Node | None = None
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                faults.add(place, "a file holds one document: take out the line '---'")
                return root
        elif isinstance(event, yaml.AliasEvent):
            node = anchors.get(event.anchor)
            if node is None:
                faults.add(place, f"alias *{event.anchor} stands for nothing, or for something that it is in")
                node = Scalar(place=place, value=None, text="")
        elif isinstance(event, yaml.ScalarEvent):
            node = _scalar(event, place, faults)
            if event.anchor is not None:
                anchors[event.anchor] = node
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            is_record = isinstance(event, yaml.MappingStartEvent)
            stack.append(_Open(place=place, is_record=is_record, anchor=event.anchor))
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            closed = stack.pop()
            node = closed.close()
            if closed.anchor is not None:
                anchors[closed.anchor] = node
        if len(stack) > MAX_DEPTH or values > MAX_VALUES:
            limit = f"nested deeper than {MAX_DEPTH}" if len(stack) > MAX_DEPTH else f"more than {MAX_VALUES} values"
            faults.add(place, f"{limit}: put large tables in a CSV file")
            return None
        if node is not None and stack:
            stack[-1].take(node, faults)
        elif node is not None:
            root = node
    return root


def _scalar(event: yaml.ScalarEvent, place: Place, faults: Faults) -> Scalar:
    if event.tag is not None and event.tag not in ("!", "tag:yaml.org,2002:str"):
        faults.add(place, f"tag {event.tag} is not accepted")
    plain = event.implicit[0] and event.tag is None and not event.style
    return Scalar(place=place, value=resolve(event.value) if plain else event.value, text=event.value)


def read_csv(text: str, file: str, columns: frozenset[str], faults: Faults) -> Iterator[Record]:
    """Each row of a CSV file with a header as a record; empty cells and ``*`` are left out.

    Columns that aren't among ``columns`` are knobs: they become the record's ``knobs``. Lines that begin with
    ``#`` and empty lines are skipped.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    line = 0
    try:
        for cells in reader:
            place = Place(file=file, line=line + 1)
            line = reader.line_num
            if not any(cell.strip() for cell in cells) or cells[0].startswith("#"):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                _check_header(header, place, faults)
            elif len(cells) != len(header):
                faults.add(place, f"{len(cells)} cells, but the header has {len(header)}")
            else:
                yield _row(header, cells, columns, place)
    except csv.Error as error:
        faults.add(Place(file=file, line=line + 1), f"not valid CSV: {error}")
    if header is None:
        faults.add(Place(file=file, line=1), "no header line")


def _check_header(header: list[str], place: Place, faults: Faults) -> None:
    for name in sorted({name for name in header if header.count(name) > 1}):
        faults.add(place, f"column {name!r} stands twice in the header")
    if "" in header:
        faults.add(place, "a column without a name")


def _row(header: list[str], cells: list[str], columns: frozenset[str], place: Place) -> Record:
    own: dict[str, Node] = {}
    knobs: dict[str, Node] = {}
    for name, cell in zip(header, cells, strict=True):
        text = cell.strip()
        if text not in ("", "*"):
            scalar = Scalar(place=place, value=resolve(text), text=text)
            (own if name in columns else knobs)[name] = scalar
    if knobs:
        own["knobs"] = Record(place=place, entries=knobs, key_places=dict.fromkeys(knobs, place))
    return Record(place=place, entries=own, key_places=dict.fromkeys(own, place))
