"""Measures every configuration of this pipeline on every content and prints the tables of README.md.

    .venv/bin/python examples/documents/measure.py [--samples 48] [--seed-offset 100]

Times are CPU time of one thread, since wall time on a machine in use says little.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from accuracy import CharacterAccuracy, character_errors, normalised
from operators import Read

from circinus.model.pipeline import Configuration, ContentSpec, OperatorSpec, Pipeline, knobs_of
from circinus.operator import Operator, OperatorContext, Payload, Sample
from circinus.spec.pipeline import parse_pipeline

FOLDER = Path(__file__).parent

#: One operator's outputs for all samples, its CPU time and output bytes of each in the mean.
Step = tuple[list[Payload], float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What was measured of one configuration on one content. CER is over all characters of all pages."""

    configuration: Configuration
    accuracy_ratio: float
    deviation_ratio: float
    character_error_ratio: float
    cpu_ms: dict[str, float]
    output_bytes: dict[str, float]


def open_class(entry_point: str) -> Any:
    """The class that an entry point "module:Class" names."""
    module, name = entry_point.split(":")
    return getattr(importlib.import_module(module), name)


def payload_bytes(payload: Payload) -> int:
    """How many bytes of data a payload holds, without its names."""
    return sum(value if isinstance(value, int) else len(value) for value in map(_size, payload.values()))


def _size(value: Any) -> Any:
    return value.nbytes if hasattr(value, "nbytes") else value.encode() if isinstance(value, str) else value


class Measurement:
    """One content's samples through every configuration; what two have upstream in common is run once."""

    def __init__(self, pipeline: Pipeline, content: ContentSpec, samples: int, seed_offset: int) -> None:
        self._pipeline = pipeline
        source = open_class(pipeline.source)(content.name, content.seed + seed_offset)
        self.samples: list[Sample] = list(islice(source.samples(), samples))
        self._steps: dict[tuple[object, ...], Step] = {}
        self._instances: dict[tuple[object, ...], Operator] = {}

    def rows(self) -> Iterator[Row]:
        """A row for each configuration."""
        for configuration in self._pipeline.configurations():
            outputs = [sample.payload for sample in self.samples]
            cpu_ms: dict[str, float] = {}
            output_bytes: dict[str, float] = {}
            for spec in self._pipeline.operators:
                outputs, cpu_ms[spec.id], output_bytes[spec.id] = self._step(spec, configuration, outputs)
            answers = [str(output["text"]) for output in outputs]
            truths = [str(sample.truth["text"]) for sample in self.samples]
            scorer = CharacterAccuracy()
            scores = [
                scorer.score({"read": output}, sample.truth)
                for output, sample in zip(outputs, self.samples, strict=True)
            ]
            errors = sum(character_errors(answer, truth) for answer, truth in zip(answers, truths, strict=True))
            yield Row(
                configuration=configuration,
                accuracy_ratio=fmean(scores),
                deviation_ratio=stdev(scores),
                character_error_ratio=errors / sum(len(normalised(truth)) for truth in truths),
                cpu_ms=cpu_ms,
                output_bytes=output_bytes,
            )

    def _step(self, spec: OperatorSpec, configuration: Configuration, inputs: list[Payload]) -> Step:
        upstream = tuple(configuration[name] for name in self._pipeline.upstream_knobs(spec.id))
        key = (spec.id, *upstream)
        if key not in self._steps:
            operator = self._instance(spec, configuration)
            operator.process({spec.inputs[0]: inputs[0]})  # the first item of a shape is slower
            started_s = time.process_time()
            outputs = [operator.process({spec.inputs[0]: payload}) for payload in inputs]
            cpu_ms = (time.process_time() - started_s) * 1000 / len(inputs)
            self._steps[key] = (outputs, cpu_ms, fmean(payload_bytes(output) for output in outputs))
        return self._steps[key]

    def _instance(self, spec: OperatorSpec, configuration: Configuration) -> Operator:
        knobs = knobs_of(configuration, spec.id)
        key = (spec.id, *knobs.values())
        if key not in self._instances:
            self._instances[key] = open_class(spec.entry_point)(knobs, OperatorContext(operator_id=spec.id))
        return self._instances[key]


def cpu_model() -> str:
    """The processor's name, its family and model."""
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
    facts = dict(reversed([[part.strip() for part in line.split(":", 1)] for line in lines if ":" in line]))
    name = facts.get("model name", platform.processor() or platform.machine())
    return f"{name} (family {facts.get('cpu family', '?')}, model {facts.get('model', '?')})"


def _peak_memory_bytes() -> int:
    # getrusage's peak would be the parent's: it survives fork and exec.
    facts = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(facts["VmHWM"].split()[0]) * 1024


def engine_memory_mb(engine: str) -> float:
    """The peak resident memory of a process that has read one page with this engine, in MB of 10^6 bytes."""
    command = [sys.executable, __file__, "--memory-of", engine]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_tables(pipeline: Pipeline, measured: dict[str, list[Row]]) -> None:
    """Prints Markdown: a row for each configuration, then what the operators cost."""
    contents = list(measured)
    head = ["scale", "quality", "filter", "engine"]
    for name in contents:
        head += [f"{name}: accuracy", "sd", "CER", "CPU ms", "JPEG kB"]
    print("| " + " | ".join(head) + " |")
    print("|" + "---|" * len(head))
    for rows in zip(*measured.values(), strict=True):
        cells = [str(value) for value in rows[0].configuration.values()]
        for row in rows:
            cells += [
                f"{row.accuracy_ratio:.3f}",
                f"{row.deviation_ratio:.2f}",
                f"{row.character_error_ratio:.3f}",
                f"{sum(row.cpu_ms.values()):.0f}",
                f"{row.output_bytes['encode'] / 1000:.1f}",
            ]
        print("| " + " | ".join(cells) + " |")
    print("\n| operator | CPU ms, least to most | output kB, least to most |\n|---|---|---|")
    everything = [row for rows in measured.values() for row in rows]
    for spec in pipeline.operators:
        times = sorted(row.cpu_ms[spec.id] for row in everything)
        sizes = sorted(row.output_bytes[spec.id] / 1000 for row in everything)
        print(f"| {spec.id} | {times[0]:.1f} to {times[-1]:.1f} | {sizes[0]:.1f} to {sizes[-1]:.1f} |")


def main() -> None:
    """Measures and prints."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--samples", type=int, default=0, help="pages of each content (default: as pipeline.yaml)")
    arguments.add_argument("--seed-offset", type=int, default=0, help="added to each content's seed: other pages")
    arguments.add_argument("--memory-of", default="", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    context = OperatorContext(operator_id="read")
    if chosen.memory_of:
        Read({"engine": chosen.memory_of}, context)
        print(_peak_memory_bytes() / 1e6)
        return
    pipeline = parse_pipeline((FOLDER / "pipeline.yaml").read_text(encoding="utf-8"))
    measured: dict[str, list[Row]] = {}
    started_s = time.process_time()
    for content in pipeline.contents:
        samples = chosen.samples or content.samples
        measured[content.name] = list(Measurement(pipeline, content, samples, chosen.seed_offset).rows())
        print(f"{content.name}: done", file=sys.stderr)
    spent_s = time.process_time() - started_s
    packages = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "opencv-python-headless", "rapidocr"))
    print(
        f"Machine: {cpu_model()}, {os.cpu_count()} cores; one thread; Python {platform.python_version()}, {packages}."
    )
    print(f"{samples} pages of each content, {pipeline.configuration_count} configurations: {spent_s:.0f} s of CPU.")
    memory = ", ".join(f"{engine} {engine_memory_mb(engine):.0f} MB" for engine in ("tesseract", "rapidocr"))
    print(f"Peak memory of a process that reads: {memory}.\n")
    print_tables(pipeline, measured)


if __name__ == "__main__":
    main()
