"""``circinus pipeline profile``: every configuration on every content, on this machine, without a planner.

The agent's own profiler does the work. Results are kept sample by sample, so that a run which is broken off goes on
where it stopped.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from circinus.errors import CircinusError, CodeFailed, InvalidInput
from circinus.knobs import set_knobs
from circinus.model.pipeline import Configuration, OperatorId, Pipeline, configuration_key, knobs_of
from circinus.v1 import control_pb2
from edge_agent.child import run_child
from edge_agent.fingerprint.cgroup import Limits
from edge_agent.fingerprint.cpu import read_cpu
from edge_agent.harness import knob_values
from edge_agent.isolation.isolation import Isolation
from edge_agent.local.offline import write_offline
from edge_agent.local.results import (
    RESULTS_NAME,
    ContentHeader,
    Header,
    Results,
    ResultsFile,
    Sheet,
    prefixes_of,
    read_results,
)
from edge_agent.local.summary import ContentSummary, summarise
from edge_agent.local.workspace import SampleFile, Unpacked, choose_contents, make_samples, unpack
from edge_agent.profile_child import ProfileChild, child_variables
from edge_agent.profile_config import ProfileConfig
from edge_agent.profile_warm import profile_traits
from edge_agent.profile_watch import patience_s

MAX_CONFIGURATIONS = 2_000
PROVIDERS = ("CPUExecutionProvider",)
_START_S = 60.0
_CORPUS_TIMEOUT_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileProgress:
    """How far a run is: samples of all contents through all configurations. ``eta_s`` None: not known yet."""

    content: str
    samples_done: int
    samples_total: int
    runs_done: int
    runs_total: int
    eta_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileReport:
    """What was found, and the folder that it stands in. ``metric`` is what an accuracy is."""

    pipeline_id: str
    metric: str
    machine: Mapping[str, str]
    measured_on: str
    contents: tuple[ContentSummary, ...]
    memory_bytes: Mapping[str, tuple[int, ...]]
    folder: Path
    elapsed_s: float


async def profile(
    folder: Path,
    into: Path,
    *,
    contents: Sequence[str] = (),
    count: int | None = None,
    parallelism: int = 2,
    on_note: Callable[[str], None] = lambda _: None,
    on_progress: Callable[[ProfileProgress], None] = lambda _: None,
) -> ProfileReport:
    """Profiles a folder on ``count`` samples of each content (None: as many as it says) and writes what it found.

    What ``into`` has of the same code, samples and machine is not measured again.

    Raises:
        InvalidInput: the folder's files are wrong.
        CodeFailed: no configuration of it works.
    """
    started_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="circinus-profile-") as name:
        scratch = Path(name)
        unpacked = await unpack(folder, scratch / "bundle")
        pipeline = unpacked.pipeline
        if pipeline.configuration_count > MAX_CONFIGURATIONS:
            raise InvalidInput(
                f"pipeline {pipeline.id!r} has {pipeline.configuration_count:,} configurations; here at most "
                f"{MAX_CONFIGURATIONS:,} are profiled one by one: take values off its knobs"
            )
        on_note("making samples")
        made = await make_samples(folder, unpacked.located, choose_contents(pipeline, contents, count), scratch)
        run = _Run(unpacked, made, scratch, ResultsFile(into / RESULTS_NAME), parallelism, on_progress)
        results = run.resume(on_note)
        if not results.memory_bytes:
            on_note("measuring memory")
            await run.memory()
        for sample_file in made:
            await run.content(sample_file)
        results = read_results(run.file.path)
        report = await _report(unpacked, results, scratch, into, started_s)
        await asyncio.to_thread(write_offline, into, folder, pipeline, results, report.contents)
    return report


async def report_of(folder: Path, path: Path) -> ProfileReport:
    """The report of results that are there, of the pipeline in a folder. Nothing is measured.

    Raises:
        InvalidInput: there are none, or they are of another pipeline.
        CodeFailed: the scorer can't say what the metrics of a content are.
    """
    started_s = time.monotonic()
    results = await asyncio.to_thread(read_results, path)
    with tempfile.TemporaryDirectory(prefix="circinus-report-") as name:
        unpacked = await unpack(folder, Path(name) / "bundle")
        if results.header.configurations != tuple(unpacked.pipeline.configurations()):
            raise InvalidInput(f"{path} has results of other configurations than {folder} has: profile it again")
        return await _report(unpacked, results, Path(name), path.parent, started_s)


async def _report(unpacked: Unpacked, results: Results, scratch: Path, into: Path, started_s: float) -> ProfileReport:
    metric, corpus = await _corpus(unpacked, results, scratch)
    return ProfileReport(
        pipeline_id=unpacked.pipeline.id,
        metric=metric,
        machine=results.header.machine,
        measured_on=results.header.measured_on,
        contents=summarise(results, corpus),
        memory_bytes=results.memory_bytes,
        folder=into,
        elapsed_s=time.monotonic() - started_s,
    )


class _Run:
    """One run over a folder's contents."""

    def __init__(
        self,
        unpacked: Unpacked,
        made: Sequence[SampleFile],
        scratch: Path,
        file: ResultsFile,
        parallelism: int,
        on_progress: Callable[[ProfileProgress], None],
    ) -> None:
        self.file = file
        self._pipeline = unpacked.pipeline
        self._scratch = scratch
        self._made = made
        self._parallelism = parallelism
        self._on_progress = on_progress
        self._configurations = tuple(self._pipeline.configurations())
        self._header = header_of(unpacked, made, self._configurations)
        self._done: dict[str, frozenset[int]] = {}
        self._bundle = unpacked.folder
        self._runs_done = 0
        self._runs_total = 0
        #: When it was first told how far it is, and how far that was: before that processes start and memory is probed.
        self._first: tuple[float, int] | None = None

    def resume(self, on_note: Callable[[str], None]) -> Results:
        """What is there already of the same thing; the file is begun anew if it is of another."""
        found: Results | None = None
        if self.file.mend():
            found = read_results(self.file.path)
            if not self._header.comparable(found.header):
                old = self.file.path.with_suffix(".old.jsonl")
                os.replace(self.file.path, old)
                on_note(f"what {self.file.path} holds is of other code, samples or machine: it is {old.name} now")
                found = None
        if found is None:
            self.file.begin(self._header)
            found = Results(header=self._header, lines=[], memory_bytes={})
        elif self._header.contents != {name: found.header.contents.get(name) for name in self._header.contents}:
            found = self._rewrite(found)
        self._done = {entry.content.name: found.done(entry.content.name) for entry in self._made}
        there = sum(len(done) for done in self._done.values())
        if there:
            on_note(f"{there} samples are there already")
        lacking = sum(entry.content.samples for entry in self._made) - there
        self._runs_total = max(0, lacking) * len(self._configurations)
        return found

    def _rewrite(self, found: Results) -> Results:
        """The same lines under a header that knows the contents of both, the newer one's first."""
        contents = {**found.header.contents, **self._header.contents}
        header = replace(found.header, contents=contents)
        fresh = ResultsFile(self.file.path.with_suffix(".new"))
        fresh.begin(header)
        for line in found.lines:
            fresh.add(line)
        if found.memory_bytes:
            fresh.add_memory(found.memory_bytes)
        os.replace(fresh.path, self.file.path)
        return Results(header=header, lines=found.lines, memory_bytes=found.memory_bytes)

    async def memory(self) -> None:
        """What each operator needs of memory, by prefix; every setting of its own knobs is probed once."""
        table: dict[tuple[str, str], int] = {}

        def note(message: control_pb2.ConnectRequest) -> None:
            for part in message.profile_report.configurations:
                knobs = knob_values(part.configuration.values)
                for operator_id, memory_bytes in part.memory_bytes.items():
                    table[operator_id, configuration_key(knobs_of(knobs, OperatorId(operator_id)))] = memory_bytes

        await self._process(self._made[0], (0,), "memory", note, memory=True)
        self.file.add_memory(
            {
                operator.id: [
                    table.get((operator.id, configuration_key(knobs_of(configuration, operator.id))), 0)
                    for configuration in _first_of_each(self._configurations, self._header.prefixes[operator.id])
                ]
                for operator in self._pipeline.operators
            }
        )

    async def content(self, made: SampleFile) -> None:
        """The samples of one content that are not there yet."""
        lacking = [at for at in range(made.content.samples) if at not in self._done[made.content.name]]
        count = min(self._parallelism, len(lacking))
        if not lacking:
            return
        errors: Counter[str] = Counter()

        async def one(number: int) -> None:
            indices = tuple(lacking[number::count])
            ended = await self._process(made, indices, f"part-{number}", self._collector(made))
            if ended:
                errors[ended] += 1

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(one(number))
        if errors:
            raise CodeFailed(f"content {made.content.name!r}: {'; '.join(errors)}")

    def _collector(self, made: SampleFile) -> Callable[[control_pb2.ConnectRequest], None]:
        sheets: dict[int, Sheet] = {}
        # Runs of one process: its own count stands in its progress.
        counted = 0

        def note(message: control_pb2.ConnectRequest) -> None:
            nonlocal counted
            if message.WhichOneof("message") == "profile_progress":
                self._runs_done += message.profile_progress.samples_done - counted
                counted = message.profile_progress.samples_done
                self._tell(made.content.name)
                return
            for part in message.profile_report.configurations:
                for result in part.samples:
                    name, index = made.content.name, result.sample_index
                    sheet = sheets.setdefault(index, Sheet(self._header, name, index))
                    sheet.note(knob_values(part.configuration.values), result, part.source_bytes)
                    if sheet.complete:
                        self.file.add(sheets.pop(index).line())
                        self._done[name] |= {index}

        return note

    def _tell(self, content: str) -> None:
        now_s = time.monotonic()
        since_s, before = self._first = self._first or (now_s, self._runs_done)
        made = self._runs_done - before
        self._on_progress(
            ProfileProgress(
                content=content,
                samples_done=sum(len(done) for done in self._done.values()),
                samples_total=sum(entry.content.samples for entry in self._made),
                runs_done=self._runs_done,
                runs_total=self._runs_total,
                eta_s=(now_s - since_s) * (self._runs_total - self._runs_done) / made if made > 0 else None,
            )
        )

    async def _process(
        self,
        made: SampleFile,
        indices: tuple[int, ...],
        name: str,
        note: Callable[[control_pb2.ConnectRequest], None],
        *,
        memory: bool = False,
    ) -> str:
        request = control_pb2.ProfileRequest(id=name, sample_indices=indices, score=not memory, times=True)
        for configuration in self._configurations:
            set_knobs(request.configurations.add().values, configuration)
        hang_ms = max(operator.hang_ms for operator in self._pipeline.operators)
        config = ProfileConfig(
            bundle=self._bundle,
            samples=made.path,
            note=self._scratch / f"{name}.doing",
            speed_ratio=1.0,
            providers=PROVIDERS,
            memory=memory,
        )
        # As on a device, so that the author learns here what operators may not do there.
        isolation = Isolation()
        isolation.open()
        try:
            child = await ProfileChild.start(
                python=Path(sys.executable),
                folder=self._scratch,
                name=name,
                silence_s=patience_s(hang_ms) * (len(self._pipeline.operators) + 1) + _START_S,
                config=config,
                isolation=isolation,
                traits=profile_traits(config),
            )
            try:
                return await child.run(request, note)
            except CircinusError as error:
                raise CodeFailed(f"content {made.content.name!r}: {error.message}") from error
            finally:
                await child.end()
        finally:
            isolation.close()


def _first_of_each(configurations: Sequence[Configuration], numbers: Sequence[int]) -> list[Configuration]:
    """For each prefix the first configuration that has it, in the order of prefixes."""
    return [configurations[numbers.index(number)] for number in range(1 + max(numbers))]


def header_of(unpacked: Unpacked, made: Iterable[SampleFile], configurations: tuple[Configuration, ...]) -> Header:
    """What a file of results says of itself."""
    pipeline = unpacked.pipeline
    return Header(
        pipeline_id=pipeline.id,
        bundle_digest=unpacked.digest,
        machine=machine_of(pipeline),
        measured_on=datetime.now(UTC).date().isoformat(),
        configurations=configurations,
        operators=tuple(operator.id for operator in pipeline.operators),
        prefixes=prefixes_of(pipeline, configurations),
        contents={
            entry.content.name: ContentHeader(
                digest=entry.digest,
                samples=entry.content.samples,
                clip=entry.content.clip,
                warmup=entry.content.warmup,
                seed=entry.content.seed,
            )
            for entry in made
        },
    )


def machine_of(pipeline: Pipeline) -> dict[str, str]:
    """This machine and what it runs the pipeline with, for whoever reads the figures."""
    cpu = read_cpu(Limits())
    facts = {
        "cpu": f"{cpu.model} ({cpu.variant})",
        "cores": str(cpu.logical_cores),
        "python": platform.python_version(),
    }
    for requirement in pipeline.environment.python:
        name = re.split(r"[\s<>=!~;\[(]", requirement, maxsplit=1)[0]
        try:
            facts[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            facts[name] = "not installed"
    return facts


async def _corpus(
    unpacked: Unpacked, results: Results, scratch: Path
) -> tuple[str, dict[str, list[Mapping[str, float]]]]:
    """The scorer's metric, and its metrics of whole contents by configuration."""
    totals: dict[str, list[dict[str, float]]] = {}
    for line in results.lines:
        sums = totals.setdefault(line.content, [{} for _ in line.tallies])
        for total, tally in zip(sums, line.tallies, strict=True):
            for name, value in tally.items():
                total[name] = total.get(name, 0.0) + value
    path, answer = scratch / "corpus.json", scratch / "corpus-answer.json"
    request = {"bundle": str(unpacked.folder), "scorer": unpacked.pipeline.scorer, "totals": totals}
    path.write_text(json.dumps(request), encoding="utf-8")
    finished = await run_child(
        (sys.executable, "-P", "-m", "edge_agent.local.corpus_process", str(path), str(answer)),
        timeout_s=_CORPUS_TIMEOUT_S,
        environment=child_variables(),
    )
    if finished.returncode != 0:
        raise CodeFailed(f"scorer {unpacked.pipeline.scorer}: corpus() failed: {finished.last_lines}")
    document: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return str(document["metric"]), document["corpus"]
