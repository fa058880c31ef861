"""A problem and the selection that was made for it, as one JSON document that needs nothing beside it. PURE."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from circinus.errors import InvalidInput, TooLarge, Violation
from circinus.model.pipeline import SOURCE
from circinus.model.plan import Selection
from cloud_planner.core.problem import Candidate, Problem, QueryProblem
from cloud_planner.record_values import Reader, Writer

VERSION = 1
#: The key by which a document says that it is a record, and of which version.
KEY = "circinus_record"
MAX_CHARS = 512 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A problem, complete, and a selection for it."""

    problem: Problem
    selection: Selection


def dump_record(record: Record) -> str:
    """A record as JSON; the same record gives the same text."""
    writer = Writer()
    writer.count(record.problem)
    writer.count(record.selection)
    document = {
        KEY: VERSION,
        "problem": writer.write(record.problem),
        "selection": writer.write(record.selection),
    }
    return json.dumps({**document, "shared": writer.shared}, allow_nan=False, separators=(",", ":")) + "\n"


def is_record(document: object) -> bool:
    """Whether a decoded document says that it is a record."""
    return isinstance(document, dict) and (KEY in document or {"problem", "selection"} <= set(document))


def load_record(text: str) -> Record:
    """The record in a text.

    Raises:
        InvalidInput: it is none; its violations say where what is wrong.
        TooLarge: it has more than 512 MiB.
    """
    if len(text) > MAX_CHARS:
        raise TooLarge(f"the record has {len(text):,} characters; the limit is {MAX_CHARS:,}")
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"line {error.lineno}, column {error.colno}: {error.msg}") from error
    except RecursionError:
        raise InvalidInput("the document is nested too deeply to be a record") from None
    return record_of(document)


def record_of(document: Any) -> Record:
    """The record in a decoded document.

    Raises:
        InvalidInput: it is none; its violations say where what is wrong.
    """
    if not isinstance(document, dict):
        raise InvalidInput("a record must be one JSON object with the keys 'problem' and 'selection'")
    version = document.get(KEY, VERSION)
    if version != VERSION or isinstance(version, bool):
        raise InvalidInput(f"{KEY} is {version!r}; this program reads version {VERSION}")
    shared = document.get("shared", [])
    reader = Reader(shared=shared if isinstance(shared, list) else ())
    if not isinstance(shared, list):
        reader.wrong("shared", "must be a list")
    for name in sorted(set(document) - {KEY, "problem", "selection", "shared"}):
        reader.wrong(name, "unknown key")
    for name in ("problem", "selection"):
        if name not in document:
            reader.wrong(name, "is missing")
    reader.done()
    try:
        problem = reader.read(Problem, document["problem"], "problem")
        selection = reader.read(Selection, document["selection"], "selection")
    except RecursionError:
        raise InvalidInput("the document is nested too deeply to be a record") from None
    reader.done()
    faults = tuple(_contradictions(problem))
    if faults:
        message = str(faults[0]) if len(faults) == 1 else f"{len(faults)} faults, the first: {faults[0]}"
        raise InvalidInput(message, faults)
    return Record(problem=problem, selection=selection)


def _contradictions(problem: Problem) -> Iterator[Violation]:
    """What no problem can be: names that mean nothing or two things, numbers without a meaning."""
    machines = {machine.id for machine in problem.machines}
    yield from _twice("problem.machines", [machine.id for machine in problem.machines])
    yield from _twice("problem.queries", [query.id for query in problem.queries])
    for number, machine in enumerate(problem.machines):
        if not (machine.cores > 0.0 and machine.memory_bytes >= 0 and machine.price_per_h >= 0.0):
            yield _fault(f"problem.machines[{number}]", "cores must be above 0, memory and price at least 0")
        if machine.count is not None and machine.count < 0:
            yield _fault(f"problem.machines[{number}].count", "must be at least 0")
    for number, wire in enumerate(problem.wires):
        for end in (wire.source, wire.target):
            if end not in machines:
                yield _fault(f"problem.wires[{number}]", f"there is no machine {end!r}")
        if wire.bandwidth_bit_per_s is not None and wire.bandwidth_bit_per_s <= 0.0:
            yield _fault(f"problem.wires[{number}].bandwidth_bit_per_s", "must be above 0, or null: unlimited")
    checked: set[int] = set()
    for number, query in enumerate(problem.queries):
        yield from _query_faults(f"problem.queries[{number}]", query, machines, checked)


def _query_faults(place: str, query: QueryProblem, machines: set[Any], checked: set[int]) -> Iterator[Violation]:
    if not (query.rate_per_s > 0.0 and query.weight >= 0.0):
        yield _fault(place, "rate_per_s must be above 0, weight at least 0")
    if query.source is not None and query.source not in machines and not query.impossible:
        yield _fault(f"{place}.source", f"there is no machine {query.source!r}")
    for number, candidate in enumerate(query.candidates):
        # Many queries have the very same candidate.
        if id(candidate) not in checked:
            checked.add(id(candidate))
            yield from _candidate_faults(f"{place}.candidates[{number}]", candidate, machines)


def _candidate_faults(place: str, candidate: Candidate, machines: set[Any]) -> Iterator[Violation]:
    known: set[str] = {SOURCE}
    for number, step in enumerate(candidate.steps):
        here = f"{place}.steps[{number}]"
        if step.operator_id in known:
            yield _fault(here, f"operator {step.operator_id!r} stands twice")
        for name in step.inputs:
            if name not in known:
                yield _fault(f"{here}.inputs", f"{name!r} is no step before this one")
        if not step.inputs:
            yield _fault(f"{here}.inputs", "must name one at least")
        known.add(step.operator_id)
        for place_of, option in enumerate(step.options):
            if option.machine not in machines:
                yield _fault(f"{here}.options[{place_of}].machine", f"there is no machine {option.machine!r}")
            if not (option.capacity_per_s > 0.0 and option.cores >= 0.0 and option.batch >= 1):
                yield _fault(f"{here}.options[{place_of}]", "capacity must be above 0, cores at least 0, batch 1")
    for name in candidate.outputs:
        if name not in known - {SOURCE}:
            yield _fault(f"{place}.outputs", f"{name!r} is no step")
    if not candidate.outputs:
        yield _fault(f"{place}.outputs", "must name one at least")


def _twice(place: str, names: Sequence[str]) -> Iterator[Violation]:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            yield _fault(f"{place}[{number}].id", f"{name!r} stands twice")
        seen.add(name)


def _fault(place: str, message: str) -> Violation:
    return Violation(field=place, message=message)
