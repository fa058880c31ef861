"""Runs configurations of a pipeline over samples and measures each operator, each distinct piece of work once.

Configurations share prefixes: two that differ only in the last operator's knobs send it the same input. So an
output is kept under (operator, its knobs, digests of its inputs) and the next configuration takes it from there,
with the times of the run that made it. Samples are the outer loop: the outputs of one sample are then close
together in time, a small cache is enough, and a run that stops early has looked at every configuration.

A sample is a clip of items, one where nothing carries state. Each operator does all of a clip before the next one
begins. What an operator with state gives depends on all that it was given since its reset, so its outputs are kept by
the digests of the whole clip's inputs. One item of a clip is timed, in each clip the next one, so that over a few clips
every phase of what doesn't happen with each item has its part; the others are only run.

Times are those of one full core of the device. What counts is CPU time, over the device's speed: on a machine
that others use as well, wall time says more of them than of the operator. Where the operator itself waits (for a
disk or an accelerator), the wait is what is left of wall time without CPU time and without the time that the kernel
had the process queue for a core; it is not stretched.

Before each measurement the processor's caches are filled with something else and the process rests for a moment.
A replica that serves waits between items while others run. In a tight loop an operator finds its data where it left
them and a core that has sped up; that made small operators look up to twice, large ones a fifth faster than they were,
and not even by the same amount from one minute to the next.
Where only scores matter that is left out: what is measured then is hurried, and measured again once times are asked
for.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from circinus.model.pipeline import SOURCE, OperatorId, configuration_key, knobs_of
from circinus.operator import KnobValue, Operator, OperatorContext, Payload, Scorer
from circinus.payload import decode, decode_inputs, encode
from circinus.v1 import control_pb2
from edge_agent.harness import describe, load
from edge_agent.profile_inputs import Clip, ProfiledPipeline, Step
from edge_agent.profile_watch import Watch
from edge_agent.worker import MAX_OUTPUT_BYTES

#: Counts that a scorer's tally may have.
MAX_TALLIES = 32
CACHE_BYTES = 256 * 1024 * 1024
#: Copying this much leaves nothing of an operator in the caches of the cores that we know.
_COLD_BYTES = 32 * 1024 * 1024
#: After so long a rest a core is as fast as after any longer one.
_REST_S = 0.02
#: A wait below this, or below this part of the CPU time, is noise of the machine.
_LEAST_WAIT_MS = 2.0
_LEAST_WAIT_RATIO = 0.25
#: What a kept output takes beside its data: key, digests and objects.
ENTRY_BYTES = 1_024


class OperatorFailed(Exception):
    """An operator or scorer can't do its work on an item; the text names it, its knobs and the cause.

    What it raised itself, if it did, is the cause of this. ``entry_point`` is its class.
    """

    def __init__(self, message: str, entry_point: str) -> None:
        super().__init__(message)
        self.entry_point = entry_point


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """An output and what it took, on the device. Without times: it was only run. ``hurried``: not as serving is."""

    data: bytes
    digest: bytes
    parts: int | None = None
    cpu_ms: float | None = None
    wall_ms: float = 0.0
    hurried: bool = False

    @property
    def kept_bytes(self) -> int:
        """What it takes to keep it."""
        return len(self.data) + ENTRY_BYTES


class Outputs:
    """Outputs by what they were made from, the least recently used dropped beyond a number of bytes."""

    def __init__(self, limit_bytes: int = CACHE_BYTES) -> None:
        self._limit_bytes = limit_bytes
        self._used_bytes = 0
        self._entries: OrderedDict[tuple[object, ...], Measured] = OrderedDict()

    def get(self, key: tuple[object, ...]) -> Measured | None:
        """The output under a key, if it is still there."""
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry

    def put(self, key: tuple[object, ...], entry: Measured) -> None:
        """Keeps an output; one that is larger than the whole cache is not kept."""
        if entry.kept_bytes > self._limit_bytes:
            return
        former = self._entries.pop(key, None)
        self._used_bytes += entry.kept_bytes - (former.kept_bytes if former is not None else 0)
        self._entries[key] = entry
        while self._used_bytes > self._limit_bytes:
            _, oldest = self._entries.popitem(last=False)
            self._used_bytes -= oldest.kept_bytes


class PipelineRun:
    """The operators of a pipeline, each made once for each setting of its knobs, and the outputs so far.

    ``rested`` False: without rest and cold caches before what is timed, for who only wants a rough idea of times. It
    may be changed between samples.
    """

    def __init__(
        self,
        pipeline: ProfiledPipeline,
        *,
        speed_ratio: float,
        providers: tuple[str, ...],
        cache_bytes: int = CACHE_BYTES,
        watch: Watch | None = None,
        rested: bool = True,
    ) -> None:
        self._pipeline = pipeline
        self._watch = watch
        self._speed_ratio = speed_ratio
        self._providers = providers
        self._outputs = Outputs(cache_bytes)
        self._operators: dict[tuple[str, str], Operator | OperatorFailed] = {}
        self._warm: set[tuple[str, str]] = set()
        self._scorer: Scorer | None = None
        self._cold: tuple[bytearray, bytearray] | None = None
        self.rested = rested
        #: CPU seconds of this host that operators took, repeats from the cache not counted.
        self.operator_s = 0.0

    def sample(
        self, index: int, clip: Clip, configuration: Mapping[str, KnobValue], *, score: bool
    ) -> tuple[control_pb2.SampleResult, str]:
        """One sample through one configuration.

        A failure is a result, too: the operators up to the one that failed, score 0, and the reason as text.
        """
        result = control_pb2.SampleResult(sample_index=index)
        try:
            self.fill(result, clip, configuration, score=score)
        except OperatorFailed as error:
            # An answer that can't be given is a wrong answer.
            if score:
                result.score_ratio = 0.0
            return result, f"sample {index}: {error}"
        return result, ""

    def fill(
        self,
        result: control_pb2.SampleResult,
        clip: Clip,
        configuration: Mapping[str, KnobValue],
        *,
        score: bool,
    ) -> None:
        """Runs the sample that ``result`` is of, and adds what was measured of each operator as it is known.

        Raises:
            OperatorFailed: an operator or the scorer does.
        """
        made = self._outputs_of(result, clip, configuration)
        if score:
            self._score(result, clip, made)

    def labelled(self, index: int, clip: Clip, reference: Mapping[str, KnobValue]) -> Clip:
        """The clip with the truths that the scorer makes of what the reference configuration gives.

        Raises:
            OperatorFailed: an operator or the scorer does.
        """
        made = self._outputs_of(control_pb2.SampleResult(sample_index=index), clip, reference)
        items = list(clip.items)
        try:
            for position in range(clip.warmup, len(items)):
                label = self._made_scorer().label(self._answer(made, position))
                items[position] = replace(items[position], truth=encode(label))
        except Exception as error:
            raise OperatorFailed(f"the scorer failed: {describe(error)}", self._pipeline.scorer) from error
        return replace(clip, items=tuple(items))

    def forget_failed(self) -> None:
        """Has operators that didn't start tried again: what they lacked may be there now."""
        self._operators = {
            place: operator for place, operator in self._operators.items() if not isinstance(operator, OperatorFailed)
        }

    def _outputs_of(
        self, result: control_pb2.SampleResult, clip: Clip, configuration: Mapping[str, KnobValue]
    ) -> dict[OperatorId, list[Measured]]:
        index = result.sample_index
        source = [
            Measured(data=item.payload, digest=hashlib.sha256(item.payload).digest(), cpu_ms=0.0) for item in clip.items
        ]
        made: dict[OperatorId, list[Measured]] = {SOURCE: source}
        for step in self._pipeline.steps:
            inputs = [{name: made[name][position] for name in step.inputs} for position in range(len(clip.items))]
            timed = clip.timed(index)
            measured, cached = self._step(step, configuration, inputs, index, timed)
            made[step.id] = measured
            self._add(result, step, measured[clip.warmup :], measured[timed], cached)
        return made

    def _add(
        self, result: control_pb2.SampleResult, step: Step, counted: Sequence[Measured], timed: Measured, cached: bool
    ) -> None:
        entry = result.operators.add(
            operator_id=step.id,
            cpu_ms=timed.cpu_ms or 0.0,
            wall_ms=timed.wall_ms,
            output_bytes=round(sum(len(one.data) for one in counted) / len(counted)),
            cached=cached,
            output_fingerprint=_fingerprint(counted),
            hurried=timed.hurried,
        )
        parts = [one.parts for one in counted if one.parts is not None]
        if parts:
            entry.parts = sum(parts) / len(counted)

    def _step(
        self,
        step: Step,
        configuration: Mapping[str, KnobValue],
        inputs: Sequence[Mapping[OperatorId, Measured]],
        index: int,
        timed: int,
    ) -> tuple[list[Measured], bool]:
        """An operator over all items of a clip; True: all that was asked for was known."""
        knobs = knobs_of(configuration, step.id)
        setting = configuration_key(knobs)
        given = [tuple(one[name].digest for name in step.inputs) for one in inputs]
        # What a stateful operator gives depends on all that it is given since its reset.
        history = hashlib.sha256(repr(given).encode()).digest() if step.stateful else b""
        keys = [
            (step.id, setting, *((history, position) if step.stateful else ()), *digests)
            for position, digests in enumerate(given)
        ]
        known = [self._outputs.get(key) for key in keys]
        lacking = [
            position
            for position, output in enumerate(known)
            if output is None or (position == timed and (output.cpu_ms is None or (output.hurried and self.rested)))
        ]
        if lacking:
            operator = self._operator(step, setting, knobs)
            what = f"sample {index}: operator {step.id} {setting}"
            try:
                self._warm_up(step, setting, operator, inputs[0], what)
                if step.stateful:
                    lacking = list(range(len(inputs)))
                    operator.reset()
                for position in lacking:
                    data = {name: measured.data for name, measured in inputs[position].items()}
                    with self._watching(what, step.hang_ms):
                        measured = self._run(operator, step, data, timed=position == timed)
                    known[position] = measured
                    self._outputs.put(keys[position], measured)
            except OperatorFailed:
                raise
            except Exception as error:
                text = f"operator {step.id} {setting} failed: {describe(error)}"
                raise OperatorFailed(text, step.entry_point) from error
        return [output for output in known if output is not None], not lacking

    def _warm_up(
        self, step: Step, setting: str, operator: Operator, inputs: Mapping[OperatorId, Measured], what: str
    ) -> None:
        """Has an operator's first call behind it, which loads pages and fills caches, as a replica that serves has."""
        if (step.id, setting) in self._warm:
            return
        self._warm.add((step.id, setting))
        data = {name: measured.data for name, measured in inputs.items()}
        with self._watching(what, step.hang_ms):
            encode(operator.process(decode_inputs(data)))
        if step.stateful:
            operator.reset()

    def _watching(self, what: str, hang_ms: float) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._watch is None else self._watch.over(what, hang_ms)

    def _operator(self, step: Step, setting: str, knobs: Mapping[str, KnobValue]) -> Operator:
        place = (step.id, setting)
        if place not in self._operators:
            context = OperatorContext(operator_id=step.id, threads=1, providers=step.providers(self._providers))
            try:
                self._operators[place] = load(step.entry_point)(dict(knobs), context)
            except Exception as error:
                text = f"operator {step.id} {setting} doesn't start: {describe(error)}"
                failed = OperatorFailed(text, step.entry_point)
                failed.__cause__ = error
                self._operators[place] = failed
        operator = self._operators[place]
        if isinstance(operator, OperatorFailed):
            raise operator
        return operator

    def _run(self, operator: Operator, step: Step, data: Mapping[OperatorId, bytes], *, timed: bool) -> Measured:
        """One item; if it is to be timed, as a replica that serves would find it."""
        if timed and self.rested:
            if self._cold is None:
                self._cold = (bytearray(_COLD_BYTES), bytearray(_COLD_BYTES))
            self._cold[0][:] = self._cold[1]
            time.sleep(_REST_S)
        queued_s = queued_for_core_s() if timed else None
        wall_s, cpu_s = time.perf_counter(), time.process_time()
        # Decoding and encoding are part of what a replica does for an item.
        output = operator.process(decode_inputs(data))
        encoded = encode(output)
        cpu_s, wall_s = time.process_time() - cpu_s, time.perf_counter() - wall_s
        self.operator_s += cpu_s
        if len(encoded) > MAX_OUTPUT_BYTES:
            raise OperatorFailed(
                f"operator {step.id} {configuration_key(operator.knobs)} gave {len(encoded):,} bytes; "
                f"the limit is {MAX_OUTPUT_BYTES:,}: encode or scale its output",
                step.entry_point,
            )
        digest, parts = hashlib.sha256(encoded).digest(), parts_of(step, output)
        if not timed:
            return Measured(data=encoded, digest=digest, parts=parts)
        queued_s = None if queued_s is None else max(0.0, (queued_for_core_s() or queued_s) - queued_s)
        cpu_ms = cpu_s * 1000.0 / self._speed_ratio
        return Measured(
            data=encoded,
            digest=digest,
            parts=parts,
            cpu_ms=cpu_ms,
            wall_ms=cpu_ms + waited_ms(wall_s=wall_s, cpu_s=cpu_s, queued_s=queued_s),
            hurried=not self.rested,
        )

    def _score(self, result: control_pb2.SampleResult, clip: Clip, made: Mapping[OperatorId, list[Measured]]) -> None:
        counted = range(clip.warmup, len(clip.items))
        try:
            scorer = self._made_scorer()
            outputs = [self._answer(made, position) for position in counted]
            truths = [decode(clip.items[position].truth) for position in counted]
            value = float(scorer.score_clip(outputs, truths))
            tally = {str(name): float(count) for name, count in scorer.tally(outputs, truths).items()}
        except Exception as error:
            raise OperatorFailed(f"the scorer failed: {describe(error)}", self._pipeline.scorer) from error
        if not math.isfinite(value) or not 0.0 <= value <= 1.0:
            raise OperatorFailed(f"the scorer gave {value!r}; a score is from 0 to 1", self._pipeline.scorer)
        if len(tally) > MAX_TALLIES or not all(math.isfinite(count) for count in tally.values()):
            text = f"the scorer's tally is not at most {MAX_TALLIES} finite counts: {tally!r}"[:300]
            raise OperatorFailed(text, self._pipeline.scorer)
        result.score_ratio = value
        result.tally.update(tally)

    def _made_scorer(self) -> Scorer:
        if self._scorer is None:
            self._scorer = load(self._pipeline.scorer)()
        return self._scorer

    def _answer(self, made: Mapping[OperatorId, list[Measured]], position: int) -> dict[str, Payload]:
        return {name: decode(made[OperatorId(name)][position].data) for name in self._pipeline.outputs}

    def close(self) -> None:
        """Lets the operators go of what they hold; what they raise then is of no account."""
        for operator in self._operators.values():
            if not isinstance(operator, OperatorFailed):
                try:
                    operator.close()
                except Exception as error:
                    print(f"close failed: {describe(error)}", flush=True)


def parts_of(step: Step, output: Payload) -> int | None:
    """How many parts an operator made of an item; None: it declares no fan-out.

    Raises:
        OperatorFailed: its output has no field of that name with a length; one that is left out has none.
    """
    if not step.fan_out:
        return None
    field = output.get(step.fan_out, ())
    try:
        return len(field)  # type: ignore[arg-type]  # what has none raises
    except TypeError:
        raise OperatorFailed(
            f"operator {step.id}: fan_out names {step.fan_out!r}, which is {type(field).__name__} and has no length",
            step.entry_point,
        ) from None


def _fingerprint(outputs: Sequence[Measured]) -> int:
    whole = hashlib.sha256(b"".join(one.digest for one in outputs)).digest()
    return int.from_bytes(whole[:8], "big")


def waited_ms(*, wall_s: float, cpu_s: float, queued_s: float | None) -> float:
    """How long an operator itself waited. ``queued_s``: time without a core, None where the kernel doesn't tell.

    Without that figure, only a wall time of more than three times the CPU time counts as waiting.
    """
    if queued_s is None:
        rest_ms = (wall_s - cpu_s) * 1000.0 if wall_s > 3.0 * cpu_s else 0.0
    else:
        rest_ms = (wall_s - cpu_s - queued_s) * 1000.0
    return rest_ms if rest_ms > max(_LEAST_WAIT_MS, _LEAST_WAIT_RATIO * cpu_s * 1000.0) else 0.0


def queued_for_core_s() -> float | None:
    """Seconds that this process's threads stood ready without a core, so far; None if the kernel doesn't tell."""
    total_ns = 0
    try:
        for task in Path("/proc/self/task").iterdir():
            total_ns += int((task / "schedstat").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return total_ns / 1e9
