"""The child of ``circinus pipeline check``: imports a pipeline's code and runs it.

Started as ``python -m edge_agent.local.check_process REQUEST.json``. What it finds goes to what was standard output, a
JSON document on each line; what operators print goes to standard error. Two such children, with other hash seeds and
the samples in opposite orders, must find the same outputs: replicas of one plan are such processes. What declares no
state does the items of a clip in opposite orders, too.

Before each step the child says what it is about to do, so that whoever reads knows what it died of.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from circinus.model.pipeline import Configuration, OperatorId, configuration_key, knobs_of
from circinus.operator import Operator, Scorer, Source
from circinus.v1 import control_pb2, types_pb2
from edge_agent.harness import MAX_ERROR_CHARS, describe, load, private_output
from edge_agent.isolation.declared import needs_network
from edge_agent.isolation.kernel import die_with_parent
from edge_agent.isolation.orders import refuse_calls
from edge_agent.local.check_parts import parts_differ
from edge_agent.profile_inputs import Clip, ProfiledPipeline, Step, clip_of, read_pipeline
from edge_agent.profile_run import Measured, OperatorFailed, PipelineRun
from edge_agent.profile_watch import Watch

#: Knob values are tried one at a time; of a pipeline with more of them only so many are.
MAX_TRIALS = 100
MAX_PROBLEMS = 20
#: Of a clip, so many items with several parts are run part by part, too.
_PARTED_ITEMS = 3
#: The author's bound on importing a module, and on scoring one sample; waited for as for an operator's item.
_IMPORT_MS = _SCORE_MS = 30_000.0

Say = Callable[[Mapping[str, Any]], None]
_KINDS: Mapping[str, type] = {"operator": Operator, "source": Source, "scorer": Scorer}
_METHODS = {"operator": "process", "source": "samples", "scorer": "score"}
#: How ``describe`` ends: with where it was raised.
_WHERE = re.compile(r" \([^()]*:\d+\)$")


def place_of(error: BaseException, bundle: Path) -> tuple[str, int]:
    """The file in the bundle, and the line, that an error comes from; ("", 0) if it comes from elsewhere."""
    if isinstance(error, SyntaxError) and error.filename:
        with_file = [(error.filename, error.lineno or 0)]
    else:
        with_file = [(frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__)]
    for filename, line in reversed(with_file):
        if Path(filename).is_relative_to(bundle):
            return str(Path(filename).relative_to(bundle)), line
    return "", 0


class CheckRun(PipelineRun):
    """Runs samples as profiling does, with a word on each step before it is done.

    ``backwards``: what declares no state does each clip's last item first. ``fingerprints`` are of all that an
    operator last gave, what only warms up included, by operator: what was carried over shows there first.
    """

    def __init__(
        self, pipeline: ProfiledPipeline, *, watch: Watch, tell: Callable[[str, str], None], backwards: bool
    ) -> None:
        super().__init__(pipeline, speed_ratio=1.0, providers=("CPUExecutionProvider",), watch=watch, rested=False)
        self._tell = tell
        self._backwards = backwards
        self.fingerprints: dict[str, str] = {}

    def _step(
        self,
        step: Step,
        configuration: Configuration,
        inputs: Sequence[Mapping[OperatorId, Measured]],
        index: int,
        timed: int,
    ) -> tuple[list[Measured], bool]:
        self._tell(f"operator {step.id}", step.entry_point)
        if self._backwards and not step.stateful:
            measured, cached = super()._step(step, configuration, inputs[::-1], index, len(inputs) - 1 - timed)
            measured.reverse()
        else:
            measured, cached = super()._step(step, configuration, inputs, index, timed)
        self.fingerprints[step.id] = hashlib.sha256(b"".join(one.digest for one in measured)).hexdigest()
        if step.each:
            self._check_parts(step, configuration, inputs, measured)
        return measured, cached

    def _check_parts(
        self,
        step: Step,
        configuration: Configuration,
        inputs: Sequence[Mapping[OperatorId, Measured]],
        measured: Sequence[Measured],
    ) -> None:
        """Serving runs the operator for each part: that must give what it gave for all, which was measured."""
        (name,) = step.inputs
        by = next((one.fan_out for one in self._pipeline.steps if one.id == name), "")
        several = [position for position, one in enumerate(inputs) if (one[name].parts or 0) > 1]
        knobs = knobs_of(configuration, step.id)
        setting = configuration_key(knobs)
        for position in several[:_PARTED_ITEMS]:
            operator = self._operator(step, setting, knobs)
            what = f"operator {step.id} {setting}, part by part"
            try:
                with self._watching(what, step.hang_ms):
                    reason = parts_differ(operator, name, inputs[position][name].data, by, measured[position].data)
            except Exception as error:
                raise OperatorFailed(f"{what}, failed: {describe(error)}", step.entry_point) from error
            if reason:
                text = f"{what}, doesn't give what it gives for all parts: {reason}; mend it, or remove each"
                raise OperatorFailed(text, step.entry_point)

    def _operator(self, step: Step, setting: str, knobs: Configuration) -> Operator:
        with self._watching(f"operator {step.id} {setting}: setup()", step.hang_ms):
            return super()._operator(step, setting, knobs)

    def _score(self, result: control_pb2.SampleResult, clip: Clip, made: Mapping[OperatorId, list[Measured]]) -> None:
        self._tell("the scorer", self._pipeline.scorer)
        with self._watching("the scorer", _SCORE_MS):
            super()._score(result, clip, made)


class Check:
    """One child's work: what it is asked for, and whom it tells."""

    def __init__(self, request: Mapping[str, Any], say: Say) -> None:
        self._say = say
        self._bundle = Path(request["bundle"])
        self._entry_points: Sequence[tuple[str, str]] = [(role, entry) for role, entry in request["entry_points"]]
        self._samples: Sequence[tuple[str, str]] = [(name, path) for name, path in request["samples"]]
        self._knobs: Mapping[str, Sequence[Any]] = request["knobs"]
        self._configurations: Mapping[str, Configuration] = request["configurations"]
        self._reverse = bool(request["reverse"])
        self._problems: set[tuple[str, int, str, str]] = set()
        self._doing = ("", "")
        self._definitions: dict[str, tuple[str, int]] = {}

    def run(self) -> None:
        """All of it; stops where going on makes no sense."""
        watch = Watch(None, self._hangs)
        try:
            if self._import_all(watch):
                self._say({"event": "definitions", "definitions": self._definitions})
                if self._samples:
                    self._run_samples(watch)
        finally:
            watch.close()

    def _run_samples(self, watch: Watch) -> None:
        clips = [
            (content, index, clip_of(sample))
            for content, path in self._samples
            for index, sample in enumerate(types_pb2.SampleSet.FromString(Path(path).read_bytes()).samples)
        ]
        run = CheckRun(read_pipeline(self._bundle), watch=watch, tell=self._tell, backwards=self._reverse)
        try:
            if not self._configurations:
                # So that what is slow only once is not taken for the first trial's.
                self._trial(run, clips[-1][2], {name: values[0] for name, values in self._knobs.items()})
            configurations = self._configurations or self._extremes(run, clips[0][2])
            if self._problems:
                return
            self._say({"event": "configurations", "configurations": configurations})
            for content, index, clip in reversed(clips) if self._reverse else clips:
                for name, configuration in configurations.items():
                    self._run_one(run, content, index, clip, name, configuration)
        finally:
            self._tell("closing the operators", "")
            run.close()

    def _tell(self, what: str, entry_point: str) -> None:
        self._doing = (what, entry_point)
        self._say({"event": "doing", "what": what, "entry_point": entry_point})

    def _hangs(self, reason: str) -> None:
        file, line = self._definitions.get(self._doing[1], ("", 0))
        self._problem(in_files=False, file=file, line=line, entry_point=self._doing[1], message=reason)
        os._exit(1)

    def _problem(self, *, in_files: bool, file: str, line: int, message: str, entry_point: str = "") -> None:
        # One fault shows in many settings: it is said once for its place.
        key = (file, line, "", "") if file else ("", 0, entry_point, message)
        if key in self._problems or len(self._problems) >= MAX_PROBLEMS:
            return
        self._problems.add(key)
        self._say(
            {
                "event": "problem",
                "in_files": in_files,
                "file": file,
                "line": line,
                "entry_point": entry_point,
                "message": message[: 2 * MAX_ERROR_CHARS],
            }
        )

    def _import_all(self, watch: Watch) -> bool:
        for role, entry_point in self._entry_points:
            what = f"importing {entry_point}"
            self._tell(what, entry_point)
            try:
                with watch.over(what, _IMPORT_MS):
                    found = load(entry_point)
            except ModuleNotFoundError as error:
                file, line = place_of(error, self._bundle)
                self._problem(
                    in_files=True,
                    file=file,
                    line=line,
                    entry_point=entry_point,
                    message=f"no module {error.name!r}: add the file, or install what brings it into {sys.executable}",
                )
            except (ImportError, SyntaxError) as error:
                file, line = place_of(error, self._bundle)
                message = f"{type(error).__name__}: {error}"
                self._problem(in_files=True, file=file, line=line, entry_point=entry_point, message=message)
            except ValueError as error:
                # A module that is there and has no such class.
                file, line = place_of(error, self._bundle)
                self._problem(in_files=not file, file=file, line=line, entry_point=entry_point, message=str(error))
            except BaseException as error:
                file, line = place_of(error, self._bundle)
                message = f"{entry_point} can't be imported: {type(error).__name__}: {error}"
                self._problem(in_files=False, file=file, line=line, entry_point=entry_point, message=message)
            else:
                self._check_class(role, entry_point, found)
        return not self._problems

    def _check_class(self, role: str, entry_point: str, found: Any) -> None:
        kind = _KINDS[role]
        file, line = self._definition(found)
        if not (isinstance(found, type) and issubclass(found, kind)):
            message = f"{entry_point} is no subclass of circinus.operator.{kind.__name__}"
        elif inspect.isabstract(found):
            missing = ", ".join(f"{name}()" for name in sorted(getattr(found, "__abstractmethods__", ())))
            message = f"{entry_point} lacks {missing}"
        else:
            # Where something is wrong with what it gives rather than with a line of it.
            self._definitions[entry_point] = self._definition(getattr(found, _METHODS[role]))
            return
        self._problem(in_files=True, file=file, line=line, entry_point=entry_point, message=message)

    def _definition(self, found: Any) -> tuple[str, int]:
        try:
            file = Path(inspect.getsourcefile(found) or "")
            line = inspect.getsourcelines(found)[1]
        except (TypeError, OSError):
            return "", 0
        return (str(file.relative_to(self._bundle)), line) if file.is_relative_to(self._bundle) else ("", 0)

    def _extremes(self, run: CheckRun, clip: Clip) -> dict[str, Configuration]:
        """The cheapest and the dearest configuration, from each knob's values tried one at a time on one sample."""
        first = {name: values[0] for name, values in self._knobs.items()}
        trials = [first, *self._others(first)]
        spent_ms: dict[str, dict[int, float]] = {name: {} for name in self._knobs}
        for configuration in trials[:MAX_TRIALS]:
            total_ms = self._trial(run, clip, configuration)
            if total_ms is None:
                continue
            for name, values in self._knobs.items():
                position = values.index(configuration[name])
                if configuration == first or configuration[name] != first[name]:
                    spent_ms[name][position] = total_ms
        cheapest, dearest = dict(first), dict(first)
        for name, by_value in spent_ms.items():
            if by_value:
                cheapest[name] = self._knobs[name][min(by_value, key=lambda position: by_value[position])]
                dearest[name] = self._knobs[name][max(by_value, key=lambda position: by_value[position])]
        return {"cheapest": cheapest} if cheapest == dearest else {"cheapest": cheapest, "dearest": dearest}

    def _others(self, first: Configuration) -> Iterator[dict[str, Any]]:
        for name, values in self._knobs.items():
            for value in values[1:]:
                yield {**first, name: value}

    def _trial(self, run: CheckRun, clip: Clip, configuration: Configuration) -> float | None:
        result = control_pb2.SampleResult()
        if not self._attempt(run, result, clip, configuration):
            return None
        return sum(operator.cpu_ms for operator in result.operators)

    def _attempt(
        self, run: CheckRun, result: control_pb2.SampleResult, clip: Clip, configuration: Configuration
    ) -> bool:
        try:
            run.fill(result, clip, configuration, score=True)
        except OperatorFailed as error:
            file, line = place_of(error.__cause__, self._bundle) if error.__cause__ is not None else ("", 0)
            if not file:
                file, line = self._definitions.get(error.entry_point, ("", 0))
            message = _WHERE.sub("", str(error))
            self._problem(in_files=False, file=file, line=line, entry_point=error.entry_point, message=message)
            return False
        except BaseException as error:
            # Such as SystemExit, which would end the process without a word.
            file, line = place_of(error, self._bundle)
            what, entry_point = self._doing
            message = f"{what} raised {type(error).__name__}: {error}; that ends the process: raise an Exception"
            self._problem(in_files=False, file=file, line=line, entry_point=entry_point, message=message)
            return False
        return True

    def _run_one(
        self, run: CheckRun, content: str, index: int, clip: Clip, name: str, configuration: Configuration
    ) -> None:
        result = control_pb2.SampleResult(sample_index=index)
        if not self._attempt(run, result, clip, configuration):
            return
        operators = [
            {
                "id": operator.operator_id,
                "cpu_ms": operator.cpu_ms,
                "output_bytes": operator.output_bytes,
                "parts": operator.parts if operator.HasField("parts") else None,
                "fingerprint": run.fingerprints[operator.operator_id],
            }
            for operator in result.operators
        ]
        self._say(
            {
                "event": "run",
                "content": content,
                "sample": index,
                "configuration": name,
                "score_ratio": result.score_ratio,
                "operators": operators,
            }
        )


def main() -> int:
    """Does what the file that the command line names asks for."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    # As on a device, so that the author learns here what operators may not do there.
    refuse_calls(network=needs_network(Path(request["bundle"])))
    sys.path.insert(0, request["bundle"])
    with private_output() as pipe:

        def say(document: Mapping[str, Any]) -> None:
            pipe.write(json.dumps(document).encode() + b"\n")
            pipe.flush()

        Check(request, say).run()
        say({"event": "done"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
