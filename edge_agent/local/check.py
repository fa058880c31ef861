"""``circinus pipeline check``: what is wrong with a folder, and a first idea of what its operators take.

Quick enough to be run after each change: each knob's values once on one sample, then the cheapest and the dearest
configuration on a sample or two of each content, in two processes whose outputs must be the same.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from circinus.errors import CircinusError, CodeFailed, Internal, TimedOut, Violation
from circinus.model.pipeline import Configuration, Pipeline, State
from circinus.spec.errors import SpecError, SpecErrors
from circinus.spec.folder import PIPELINE_FILE
from edge_agent.child import end_group
from edge_agent.local.check_process import MAX_TRIALS
from edge_agent.local.workspace import SampleFile, Unpacked, choose_contents, make_samples, unpack
from edge_agent.profile_child import child_variables

#: For all that one child does; an operator that hangs is noticed long before.
TIMEOUT_S = 600.0
#: For a source to make its few samples.
SAMPLES_TIMEOUT_S = 120.0
_LAST_LINES = 3
_LINE_BYTES = 16 * 1024 * 1024

A = TypeVar("A")
B = TypeVar("B")

CHEAPEST, DEAREST = "cheapest", "dearest"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCheck:
    """An operator in the cheapest and in the dearest configuration: means over the samples that were run.

    ``parts`` None: it declares no fan-out.
    """

    operator_id: str
    cheapest_ms: float
    dearest_ms: float
    cheapest_bytes: float
    dearest_bytes: float
    parts: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentCheck:
    """The mean scores of a content's few samples in the cheapest and in the dearest configuration."""

    content: str
    samples: int
    cheapest_ratio: float
    dearest_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """A folder with nothing wrong, as far as a look can tell. ``notes`` are no errors, but worth a thought."""

    pipeline_id: str
    configurations: int
    cheapest: Configuration
    dearest: Configuration
    operators: tuple[OperatorCheck, ...]
    contents: tuple[ContentCheck, ...]
    notes: tuple[str, ...]
    elapsed_s: float


@dataclass(slots=True)
class _Found:
    """What one child said."""

    configurations: Mapping[str, Configuration] = field(default_factory=dict)
    definitions: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    problems: list[Mapping[str, Any]] = field(default_factory=list)
    runs: list[Mapping[str, Any]] = field(default_factory=list)
    doing: str = ""
    entry_point: str = ""

    def note(self, document: Mapping[str, Any]) -> None:
        """One thing more that it said."""
        match document["event"]:
            case "definitions":
                self.definitions = document["definitions"]
            case "configurations":
                self.configurations = document["configurations"]
            case "problem":
                self.problems.append(document)
            case "run":
                self.runs.append(document)
            case "doing":
                self.doing, self.entry_point = document["what"], document["entry_point"]


async def check(folder: Path, *, count: int = 1, on_progress: Callable[[str], None] = lambda _: None) -> CheckReport:
    """Checks a folder with ``count`` samples of each content.

    Raises:
        InvalidInput: its files are wrong; SpecErrors with each error's file and line.
        CodeFailed: its code fails when it is run, or gives other outputs for the same inputs.
        TimedOut: it takes too long.
    """
    started_s = time.monotonic()
    on_progress("importing the code and making samples")
    with tempfile.TemporaryDirectory(prefix="circinus-check-") as name:
        scratch = Path(name)
        unpacked = await unpack(folder, scratch / "bundle")
        pipeline = unpacked.pipeline
        # Of what is run once only, nobody could say whether it depends on what ran before.
        contents = choose_contents(pipeline, (), max(count, 2) if len(pipeline.contents) == 1 else count)
        children = _Children(folder, unpacked, scratch)
        # A source can't make samples where the code can't be imported: then that is what is wrong.
        imported, made = await _both(
            children.run("imports"),
            make_samples(folder, unpacked.located, contents, scratch, timeout_s=SAMPLES_TIMEOUT_S),
        )
        on_progress("running each of the knobs' values")
        first, _ = await _both(children.run("first", made), _repeat(folder, unpacked, imported, made[0], scratch))
        on_progress("running it again in another process")
        second = await children.run("second", made, configurations=first.configurations, reverse=True)
    _compare(folder, unpacked, first, second)
    return CheckReport(
        pipeline_id=pipeline.id,
        configurations=pipeline.configuration_count,
        cheapest=first.configurations[CHEAPEST],
        dearest=first.configurations.get(DEAREST, first.configurations[CHEAPEST]),
        operators=tuple(_operator(operator.id, first) for operator in pipeline.operators),
        contents=tuple(_content(entry, first) for entry in made),
        notes=tuple(_notes(pipeline)),
        elapsed_s=time.monotonic() - started_s,
    )


async def _both(one: Coroutine[Any, Any, A], other: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Both at once; if both fail, the one's error. Neither is left running."""
    first, second = await asyncio.gather(one, other, return_exceptions=True)
    if isinstance(first, BaseException):
        raise first
    if isinstance(second, BaseException):
        raise second
    return first, second


class _Children:
    """The processes of one check."""

    def __init__(self, folder: Path, unpacked: Unpacked, scratch: Path) -> None:
        self._folder = folder
        self._unpacked = unpacked
        self._scratch = scratch

    async def run(
        self,
        name: str,
        made: Sequence[SampleFile] = (),
        *,
        configurations: Mapping[str, Configuration] | None = None,
        reverse: bool = False,
    ) -> _Found:
        """One child from start to end; without samples it only imports.

        Raises:
            SpecErrors, CodeFailed: what it found to be wrong.
            TimedOut: it takes too long.
        """
        pipeline = self._unpacked.pipeline
        request = {
            "bundle": str(self._unpacked.folder),
            "entry_points": [
                ("source", pipeline.source),
                *(("operator", operator.entry_point) for operator in pipeline.operators),
                ("scorer", pipeline.scorer),
            ],
            "samples": [(entry.content.name, str(entry.path)) for entry in made],
            "knobs": {
                f"{operator.id}.{knob.name}": knob.values for operator in pipeline.operators for knob in operator.knobs
            },
            "configurations": configurations or {},
            "reverse": reverse,
        }
        path = self._scratch / f"{name}.json"
        path.write_text(json.dumps(request), encoding="utf-8")
        found, died = await _listen(path, hash_seed=str(1 + reverse))
        if found.problems:
            raise self._error(found.problems)
        if died:
            file, line = found.definitions.get(found.entry_point, ("", 0))
            raise failed([located(self._folder, self._unpacked, file, line, found.entry_point).of(died)])
        return found

    def _error(self, problems: Sequence[Mapping[str, Any]]) -> CircinusError:
        """What is wrong with the files if anything is, else what fails when it is run."""
        in_files = [problem for problem in problems if problem["in_files"]]
        errors = [
            located(self._folder, self._unpacked, problem["file"], problem["line"], problem["entry_point"]).of(
                problem["message"]
            )
            for problem in in_files or problems
        ]
        return SpecErrors(errors) if in_files else failed(errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    file: str
    line: int

    def of(self, message: str) -> SpecError:
        """An error there."""
        return SpecError(file=self.file, line=self.line, message=message)


def located(folder: Path, unpacked: Unpacked, file: str, line: int, entry_point: str) -> _Place:
    """Where in the author's folder something is: in a file of the bundle, else where pipeline.yaml names the class."""
    if file:
        return _Place(file=str(folder / file), line=line)
    named = dict(unpacked.located.entry_point_lines)
    return _Place(file=str(folder / PIPELINE_FILE), line=named.get(entry_point, 0))


def failed(errors: Sequence[SpecError]) -> CodeFailed:
    """The error that says all of these."""
    ordered = sorted(set(errors))
    violations = tuple(Violation(field=f"{error.file}:{error.line}", message=error.message) for error in ordered)
    return CodeFailed("\n".join(str(error) for error in ordered), violations)


async def _listen(request: Path, hash_seed: str) -> tuple[_Found, str]:
    """What a child says from start to end, and what it died of; empty: it did not."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "edge_agent.local.check_process", str(request)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**child_variables(), "PYTHONHASHSEED": hash_seed},
        cwd=request.parent,
        start_new_session=True,
        limit=_LINE_BYTES,
    )
    if process.stdout is None or process.stderr is None:
        raise Internal("the check's process was started without pipes")
    words = asyncio.create_task(process.stderr.read())
    found, done = _Found(), False
    try:
        async with asyncio.timeout(TIMEOUT_S):
            async for line in process.stdout:
                document = json.loads(line)
                done = document["event"] == "done"
                found.note(document)
            await process.wait()
            said = (await words).decode(errors="replace")
    except TimeoutError:
        raise TimedOut(
            f"the check took over {TIMEOUT_S:g} s, at last with {found.doing}; lower the number of samples, or the "
            "operators' times"
        ) from None
    finally:
        words.cancel()
        await end_group(process)
    return found, "" if done else _death(process.returncode or 0, found, said)


def _death(code: int, found: _Found, said: str) -> str:
    """What a child died of, with its last words."""
    how = f"signal {-code}" if code < 0 else f"exit status {code}"
    last = [line.strip() for line in said.splitlines() if line.strip()][-_LAST_LINES:]
    return f"{found.doing} ended the process ({how})" + (f": {'; '.join(last)}" if last else "")


async def _repeat(folder: Path, unpacked: Unpacked, found: _Found, made: SampleFile, scratch: Path) -> None:
    """Whether the source makes the same samples again.

    Raises:
        CodeFailed: it does not.
    """
    pipeline = unpacked.pipeline
    into = scratch / "again"
    into.mkdir()
    (again,) = await make_samples(folder, unpacked.located, (made.content,), into, timeout_s=SAMPLES_TIMEOUT_S)
    if again.digest != made.digest:
        file, line = found.definitions.get(pipeline.source, ("", 0))
        error = located(folder, unpacked, file, line, pipeline.source).of(
            f"source {pipeline.source} made other samples of content {made.content.name!r} the second time: they may "
            "depend on content and seed only, not on time, memory addresses or global randomness"
        )
        raise failed([error])


def _compare(folder: Path, unpacked: Unpacked, first: _Found, second: _Found) -> None:
    """Whether two processes found the same.

    Raises:
        CodeFailed: they did not; of a chain only the first operator that differs is named.
    """
    again = {_key(run): run for run in second.runs}
    errors: dict[str, SpecError] = {}
    for run in first.runs:
        other = again.get(_key(run))
        pairs = zip(run["operators"], other["operators"], strict=True) if other else ()
        differs = next((one["id"] for one, another in pairs if one["fingerprint"] != another["fingerprint"]), None)
        if differs is not None and differs not in errors:
            operator = unpacked.pipeline.operator(differs)
            file, line = first.definitions.get(operator.entry_point, ("", 0))
            errors[differs] = located(folder, unpacked, file, line, operator.entry_point).of(
                f"operator {differs!r} gave two outputs for one input (content {run['content']}, sample "
                f"{run['sample']}, {run['configuration']} configuration): {_CURES[operator.state]}"
            )
        elif differs is None and other is not None and run["score_ratio"] != other["score_ratio"]:
            scorer = unpacked.pipeline.scorer
            file, line = first.definitions.get(scorer, ("", 0))
            errors.setdefault(
                scorer, located(folder, unpacked, file, line, scorer).of("the scorer gave two scores for one answer")
            )
    if errors:
        raise failed(list(errors.values()))


_CURES = {
    State.NONE: "it must depend on its input and knobs alone, not on earlier items (declare state: per_source if it "
    "does), time, the order of sets or global randomness",
    State.PER_SOURCE: "after reset() it must depend on the items since and its knobs alone, not on time, the order of "
    "sets or global randomness",
}


def _key(run: Mapping[str, Any]) -> tuple[str, int, str]:
    return run["content"], run["sample"], run["configuration"]


def _mean(values: Iterable[float]) -> float:
    return fmean(values) if (values := list(values)) else 0.0


def _operator(operator_id: str, found: _Found) -> OperatorCheck:
    def figures(configuration: str, field: str) -> list[float]:
        chosen = configuration if configuration in found.configurations else CHEAPEST
        return [
            entry[field]
            for run in found.runs
            if run["configuration"] == chosen
            for entry in run["operators"]
            if entry["id"] == operator_id and entry[field] is not None
        ]

    parts = figures(DEAREST, "parts")
    return OperatorCheck(
        operator_id=operator_id,
        cheapest_ms=_mean(figures(CHEAPEST, "cpu_ms")),
        dearest_ms=_mean(figures(DEAREST, "cpu_ms")),
        cheapest_bytes=_mean(figures(CHEAPEST, "output_bytes")),
        dearest_bytes=_mean(figures(DEAREST, "output_bytes")),
        parts=_mean(parts) if parts else None,
    )


def _content(made: SampleFile, found: _Found) -> ContentCheck:
    def score(configuration: str) -> float:
        chosen = configuration if configuration in found.configurations else CHEAPEST
        name = made.content.name
        return _mean(
            run["score_ratio"] for run in found.runs if run["content"] == name and run["configuration"] == chosen
        )

    return ContentCheck(
        content=made.content.name,
        samples=made.content.samples,
        cheapest_ratio=score(CHEAPEST),
        dearest_ratio=score(DEAREST),
    )


def _notes(pipeline: Pipeline) -> Iterator[str]:
    stateful = [operator.id for operator in pipeline.operators if operator.state is State.PER_SOURCE]
    items = [content.name for content in pipeline.contents if content.items == 1]
    if stateful and items:
        yield (
            f"{', '.join(stateful)} carries state, but a sample of {', '.join(items)} is one item: it is measured with "
            "no past; say clip and warmup"
        )
    knobs = [f"{operator.id}.{knob.name}" for operator in pipeline.operators for knob in operator.knobs]
    values = sum(len(knob.values) for operator in pipeline.operators for knob in operator.knobs)
    if not knobs:
        yield "no operator has a knob: there is nothing for a planner to choose but where operators run"
    elif values - len(knobs) + 1 > MAX_TRIALS:
        yield f"the knobs have {values} values; {MAX_TRIALS} were tried"
