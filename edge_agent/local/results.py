"""What was measured of a pipeline on one machine: a file that grows by a line for each sample.

The first line says what was measured, where and of which code; each other one has one sample of one content through
every configuration. So a run that is broken off loses at most the samples that it was at, and goes on with the rest.

An operator's figures stand once for each distinct *prefix*: its own knobs and those of its ancestors, which are all
that they depend on. ``Header.prefixes`` says which one a configuration has.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from circinus.errors import InvalidInput
from circinus.model.pipeline import Configuration, OperatorId, Pipeline, configuration_key
from circinus.v1 import control_pb2

RESULTS_NAME = "results.jsonl"
FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentHeader:
    """A content as it was measured: a sample has ``clip`` items that count, after ``warmup`` that are run only."""

    digest: str
    samples: int
    clip: int
    seed: int
    warmup: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What a file of results is about."""

    pipeline_id: str
    bundle_digest: str
    machine: Mapping[str, str]
    measured_on: str
    configurations: tuple[Configuration, ...]
    operators: tuple[str, ...]
    prefixes: Mapping[str, tuple[int, ...]]
    contents: Mapping[str, ContentHeader]

    def comparable(self, other: Header) -> bool:
        """Whether results under the two headers are of the same code, samples and machine.

        Of how many samples does not matter: those of a content are the first ones of one stream.
        """

        def same(one: ContentHeader, another: ContentHeader) -> bool:
            alike = (one.seed, one.clip, one.warmup) == (another.seed, another.clip, another.warmup)
            return alike and (one.digest == another.digest or one.samples != another.samples)

        shared = self.contents.keys() & other.contents.keys()
        return (self.bundle_digest, self.machine, self.configurations) == (
            other.bundle_digest,
            other.machine,
            other.configurations,
        ) and all(same(self.contents[name], other.contents[name]) for name in shared)


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorFigure:
    """One operator behind one prefix on one sample. ``parts`` None: it declares no fan-out.

    ``cpu_ms`` is of one core, ``fingerprint`` equal for equal outputs.
    """

    cpu_ms: float
    wall_ms: float
    output_bytes: int
    fingerprint: int
    parts: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleLine:
    """One sample through every configuration, in the header's order.

    ``figures`` by operator and prefix; None where the operator was never reached. ``errors`` by configuration.
    """

    content: str
    sample: int
    source_bytes: int
    scores: tuple[float, ...]
    tallies: tuple[Mapping[str, float], ...]
    figures: Mapping[str, tuple[OperatorFigure | None, ...]]
    errors: Mapping[int, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Results:
    """All of a file. ``memory_bytes`` by operator and prefix, where it was probed."""

    header: Header
    lines: list[SampleLine]
    memory_bytes: dict[str, tuple[int, ...]]

    def of(self, content: str) -> list[SampleLine]:
        """The samples of one content, by index."""
        return sorted((line for line in self.lines if line.content == content), key=lambda line: line.sample)

    def done(self, content: str) -> frozenset[int]:
        """Which samples of a content are there."""
        return frozenset(line.sample for line in self.lines if line.content == content)


def prefixes_of(pipeline: Pipeline, configurations: Sequence[Configuration]) -> dict[str, tuple[int, ...]]:
    """For each operator the number of each configuration's prefix, in the order in which prefixes first come."""
    found: dict[str, tuple[int, ...]] = {}
    for operator in pipeline.operators:
        names = pipeline.upstream_knobs(operator.id)
        numbers: dict[str, int] = {}
        found[operator.id] = tuple(
            numbers.setdefault(configuration_key({name: configuration[name] for name in names}), len(numbers))
            for configuration in configurations
        )
    return found


class Sheet:
    """Gathers what the profiler says of one sample until every configuration is there."""

    def __init__(self, header: Header, content: str, sample: int) -> None:
        self._header = header
        self._content = content
        self._sample = sample
        self._positions = {configuration_key(one): at for at, one in enumerate(header.configurations)}
        self._results: dict[int, control_pb2.SampleResult] = {}
        self._source_bytes = 0

    def note(self, configuration: Configuration, result: control_pb2.SampleResult, source_bytes: int) -> None:
        """One configuration's result."""
        self._results[self._positions[configuration_key(configuration)]] = result
        self._source_bytes = source_bytes

    @property
    def complete(self) -> bool:
        """Whether all configurations are there."""
        return len(self._results) == len(self._header.configurations)

    def line(self) -> SampleLine:
        """The sample's line."""
        figures: dict[str, list[OperatorFigure | None]] = {
            name: [None] * (1 + max(numbers)) for name, numbers in self._header.prefixes.items()
        }
        errors: dict[int, str] = {}
        for position, result in sorted(self._results.items()):
            if len(result.operators) < len(self._header.operators):
                errors[position] = f"operator {self._header.operators[len(result.operators)]} failed"
            for operator in result.operators:
                place = self._header.prefixes[operator.operator_id][position]
                # Of several runs of the same thing, the one that was not taken from the cache.
                if figures[operator.operator_id][place] is None or not operator.cached:
                    figures[operator.operator_id][place] = _figure(operator)
        ordered = [self._results[position] for position in range(len(self._header.configurations))]
        return SampleLine(
            content=self._content,
            sample=self._sample,
            source_bytes=self._source_bytes,
            scores=tuple(result.score_ratio for result in ordered),
            tallies=tuple(dict(result.tally) for result in ordered),
            figures={name: tuple(values) for name, values in figures.items()},
            errors=errors,
        )


def _figure(operator: control_pb2.OperatorSample) -> OperatorFigure:
    return OperatorFigure(
        cpu_ms=round(operator.cpu_ms, 4),
        wall_ms=round(operator.wall_ms, 4),
        output_bytes=operator.output_bytes,
        fingerprint=operator.output_fingerprint,
        parts=operator.parts if operator.HasField("parts") else None,
    )


class ResultsFile:
    """The file while it grows. Each line is on disk before the next one is measured."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def begin(self, header: Header) -> None:
        """Starts the file anew."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(_dumps({"header": _header_document(header)}), encoding="utf-8")

    def mend(self) -> bool:
        """Takes off a last line that was cut off, so that what comes next begins a line. Whether anything is left."""
        if not self.path.exists():
            return False
        with self.path.open("r+b") as file:
            length = file.read().rfind(b"\n") + 1
            file.truncate(length)
        return length > 0

    def add(self, line: SampleLine) -> None:
        """One sample more."""
        self._append({"sample": _line_document(line)})

    def add_memory(self, memory_bytes: Mapping[str, Sequence[int]]) -> None:
        """What operators need of memory."""
        self._append({"memory_bytes": {name: list(values) for name, values in memory_bytes.items()}})

    def _append(self, document: Mapping[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(_dumps(document))
            file.flush()
            os.fsync(file.fileno())


def _dumps(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True) + "\n"


def read_results(path: Path) -> Results:
    """The results in a file, packed with gzip or not. A last line that was cut off is left out.

    Raises:
        InvalidInput: it is no such file, or is damaged before its end.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        documents = list(_documents(data.decode("utf-8")))
        header = _header(documents[0]["header"])
        results = Results(header=header, lines=[], memory_bytes={})
        for document in documents[1:]:
            if "sample" in document:
                results.lines.append(_line(document["sample"]))
            else:
                results.memory_bytes = {name: tuple(values) for name, values in document["memory_bytes"].items()}
    except (OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise InvalidInput(f"{path} holds no profile results: {type(error).__name__}: {error}; remove it") from error
    return results


def _documents(text: str) -> Iterator[dict[str, Any]]:
    lines = text.split("\n")
    # What stands after the last line end was being written when the power went.
    for line in lines[:-1]:
        yield json.loads(line)


def _header_document(header: Header) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "pipeline": header.pipeline_id,
        "bundle": header.bundle_digest,
        "machine": dict(header.machine),
        "measured_on": header.measured_on,
        "operators": list(header.operators),
        "configurations": [dict(configuration) for configuration in header.configurations],
        "prefixes": {name: list(numbers) for name, numbers in header.prefixes.items()},
        "contents": {
            name: {
                "digest": one.digest,
                "samples": one.samples,
                "clip": one.clip,
                "warmup": one.warmup,
                "seed": one.seed,
            }
            for name, one in header.contents.items()
        },
    }


def _header(document: Mapping[str, Any]) -> Header:
    if document["format"] != FORMAT:
        raise ValueError(f"format {document['format']}; this version reads {FORMAT}")
    return Header(
        pipeline_id=document["pipeline"],
        bundle_digest=document["bundle"],
        machine=document["machine"],
        measured_on=document["measured_on"],
        operators=tuple(OperatorId(name) for name in document["operators"]),
        configurations=tuple(document["configurations"]),
        prefixes={name: tuple(numbers) for name, numbers in document["prefixes"].items()},
        contents={name: ContentHeader(**one) for name, one in document["contents"].items()},
    )


def _line_document(line: SampleLine) -> dict[str, Any]:
    document: dict[str, Any] = {
        "content": line.content,
        "sample": line.sample,
        "source_bytes": line.source_bytes,
        "scores": [round(score, 6) for score in line.scores],
        "figures": {
            name: [
                None
                if one is None
                else [one.cpu_ms, one.wall_ms, one.output_bytes, f"{one.fingerprint:016x}", one.parts]
                for one in values
            ]
            for name, values in line.figures.items()
        },
    }
    if any(line.tallies):
        # Counts by name, a list over configurations each: names stand once.
        names = sorted({name for tally in line.tallies for name in tally})
        document["tallies"] = {name: [tally.get(name, 0.0) for tally in line.tallies] for name in names}
    if line.errors:
        document["errors"] = {str(position): text for position, text in line.errors.items()}
    return document


def _line(document: Mapping[str, Any]) -> SampleLine:
    scores = tuple(document["scores"])
    tallies = document.get("tallies", {})
    return SampleLine(
        content=document["content"],
        sample=document["sample"],
        source_bytes=document["source_bytes"],
        scores=scores,
        tallies=tuple({name: counts[at] for name, counts in tallies.items()} for at in range(len(scores))),
        figures={
            name: tuple(None if one is None else _read_figure(one) for one in values)
            for name, values in document["figures"].items()
        },
        errors={int(position): text for position, text in document.get("errors", {}).items()},
    )


def _read_figure(values: Sequence[Any]) -> OperatorFigure:
    cpu_ms, wall_ms, output_bytes, fingerprint, parts = values
    return OperatorFigure(
        cpu_ms=cpu_ms, wall_ms=wall_ms, output_bytes=output_bytes, fingerprint=int(fingerprint, 16), parts=parts
    )
