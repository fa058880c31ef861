"""Works off the requests of one profile process, one after the other.

What a request had loaded, decoded and found is there for the next one: a search asks for a few samples of a few
configurations, looks at the scores and asks again, and must not pay each time for what it has paid already.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator

from circinus.knobs import set_knobs
from circinus.model.pipeline import configuration_key
from circinus.v1 import control_pb2, types_pb2
from edge_agent.harness import knob_values
from edge_agent.profile_config import ProfileConfig
from edge_agent.profile_inputs import Clip, by_prefix, clip_of, read_pipeline
from edge_agent.profile_memory import MemoryProbe, OperatorHangs
from edge_agent.profile_run import OperatorFailed, PipelineRun
from edge_agent.profile_watch import Watch

#: Why a request ended that was called off.
CANCELLED = "cancelled"
MAX_PART_BYTES = 900 * 1024
_PROGRESS_PERIOD_S = 0.5
#: A sample that goes through many configurations is told of in parts, so often.
_PART_PERIOD_S = 0.5
_MAX_ERROR_CHARS = 1_000
_PROBED_ITEMS = 6

Emit = Callable[[control_pb2.ConnectRequest], None]
#: Whether the request of an id was called off.
CalledOff = Callable[[str], bool]


class Samples:
    """The samples of a content, each decoded when it is first asked for."""

    def __init__(self, config: ProfileConfig) -> None:
        self._sample_set = types_pb2.SampleSet.FromString(config.samples.read_bytes())
        self._clips: dict[int, Clip] = {}

    def lacking(self, indices: Iterable[int]) -> str:
        """What is wrong with the indices; empty: nothing."""
        count = len(self._sample_set.samples)
        beyond = [index for index in indices if index >= count]
        return f"there is no sample {beyond[0]}: the content has {count}" if beyond else ""

    def clip(self, index: int) -> Clip:
        """One sample."""
        if index not in self._clips:
            sample = self._sample_set.samples[index]
            self._clips[index] = clip_of(sample)
            # It isn't held twice.
            sample.Clear()
        return self._clips[index]


class MemoryWork:
    """Probes memory. Loads no operator itself, so that the children that it forks have nothing of another's in them."""

    def __init__(self, config: ProfileConfig, emit: Emit, called_off: CalledOff) -> None:
        self._config = config
        self._emit = emit
        self._called_off = called_off
        self._pipeline = read_pipeline(config.bundle)
        self._samples = Samples(config)
        self._probe: MemoryProbe | None = None

    def run(self, request: control_pb2.ProfileRequest) -> None:
        """Emits what the request's settings need, and that it is done."""
        self._emit(report(request.id, [], done=True, error=self._through(request)))

    def _through(self, request: control_pb2.ProfileRequest) -> str:
        if lacking := self._samples.lacking(request.sample_indices):
            return lacking
        if self._probe is None:
            items = self._samples.clip(request.sample_indices[0]).items[-_PROBED_ITEMS:]
            self._probe = MemoryProbe(self._pipeline, [item.payload for item in items], self._config.providers)
        try:
            for use in self._probe.uses([knob_values(entry.values) for entry in request.configurations]):
                part = control_pb2.ConfigurationProfile(memory_bytes={use.operator_id: use.memory_bytes})
                if use.accelerator_memory_bytes:
                    part.accelerator_memory_bytes[use.operator_id] = use.accelerator_memory_bytes
                named = {f"{use.operator_id}.{name}": value for name, value in use.knobs.items()}
                set_knobs(part.configuration.values, named)
                self._emit(report(request.id, [part]))
                if self._called_off(request.id):
                    return CANCELLED
        except OperatorHangs as fault:
            return str(fault)
        return ""

    def close(self) -> None:
        """Holds nothing."""


class SampleWork:
    """Runs samples through configurations."""

    def __init__(self, config: ProfileConfig, emit: Emit, called_off: CalledOff, watch: Watch) -> None:
        self._emit = emit
        self._called_off = called_off
        pipeline = read_pipeline(config.bundle)
        self._steps = pipeline.steps
        self._samples = Samples(config)
        self._run = PipelineRun(pipeline, speed_ratio=config.speed_ratio, providers=config.providers, watch=watch)
        #: Clips with the truths of a reference configuration, by sample: the configuration's key and the clip.
        self._labelled: dict[int, tuple[str, Clip]] = {}

    def run(self, request: control_pb2.ProfileRequest) -> None:
        """Emits what it finds, and that it is done."""
        sending = _Sending(request, self._run, self._emit)
        sending.end(self._through(request, sending))

    def _through(self, request: control_pb2.ProfileRequest, sending: _Sending) -> str:
        if lacking := self._samples.lacking(request.sample_indices):
            return lacking
        self._run.rested = request.times
        self._run.forget_failed()
        ordered = by_prefix(self._steps, [knob_values(entry.values) for entry in request.configurations])
        unlabelled = ""
        for index in request.sample_indices:
            failures: list[str] = []
            clip = self._samples.clip(index)
            source_bytes = round(sum(len(item.payload) for item in clip.items) / len(clip.items))
            if request.score and request.HasField("reference"):
                try:
                    clip = self._labelled_clip(index, clip, request.reference)
                except OperatorFailed as fault:
                    # Nobody knows what is right here; the other samples may still do.
                    unlabelled = unlabelled or f"sample {index}: the reference gives no truth: {fault}"
                    print(unlabelled, file=sys.stderr, flush=True)
                    if not sending.worked:
                        return unlabelled
                    continue
            for position, configuration in ordered:
                if stopped := self._stopped(request, sending):
                    return stopped
                result, error = self._run.sample(index, clip, configuration, score=request.score)
                part = control_pb2.ConfigurationProfile(samples=[result], source_bytes=source_bytes)
                part.configuration.CopyFrom(request.configurations[position])
                if error:
                    failures.append(error)
                    print(error, file=sys.stderr, flush=True)
                sending.add(part, worked=not error)
            if not sending.worked:
                # Nothing works: going on would only say so again, slowly.
                return failures[0]
            sending.send()
        return unlabelled

    def _stopped(self, request: control_pb2.ProfileRequest, sending: _Sending) -> str:
        if self._called_off(request.id):
            return CANCELLED
        if 0.0 < request.budget_s <= sending.operator_s:
            done = f"{sending.done} of {sending.total} runs done"
            return f"the budget of {request.budget_s:g} s is used up: {done}"
        return ""

    def _labelled_clip(self, index: int, clip: Clip, reference: types_pb2.Configuration) -> Clip:
        configuration = knob_values(reference.values)
        key = configuration_key(configuration)
        known = self._labelled.get(index)
        if known is None or known[0] != key:
            known = self._labelled[index] = (key, self._run.labelled(index, clip, configuration))
        return known[1]

    def close(self) -> None:
        """Lets the operators go."""
        self._run.close()


class _Sending:
    """What one request has found and not yet sent, how far it is and what it took."""

    def __init__(self, request: control_pb2.ProfileRequest, run: PipelineRun, emit: Emit) -> None:
        self._id = request.id
        self._run = run
        self._emit = emit
        self._parts: list[control_pb2.ConfigurationProfile] = []
        self._began_s = self._charged_s = run.operator_s
        self._sent_s = self._told_s = time.monotonic()
        self.total = len(request.sample_indices) * len(request.configurations)
        self.done = 0
        self.worked = False

    @property
    def operator_s(self) -> float:
        """What the request took so far."""
        return self._run.operator_s - self._began_s

    def add(self, part: control_pb2.ConfigurationProfile, *, worked: bool) -> None:
        """One run's result; sent when others have waited long enough, if anything works at all."""
        self._parts.append(part)
        self.done += 1
        self.worked = self.worked or worked
        now_s = time.monotonic()
        if now_s - self._sent_s >= _PART_PERIOD_S:
            self.send()
        if now_s - self._told_s >= _PROGRESS_PERIOD_S:
            self.tell()

    def send(self) -> None:
        """Sends what there is, unless nothing has worked so far: then the reason says it all."""
        if not self.worked:
            return
        self._sent_s = time.monotonic()
        for group in grouped(self._parts):
            self._emit(report(self._id, group, operator_s=self._charge_s()))
        self._parts = []

    def end(self, error: str) -> None:
        """Sends the rest, and why the request ended early."""
        self.send()
        self.tell()
        self._emit(report(self._id, [], done=True, error=error, operator_s=self._charge_s()))

    def _charge_s(self) -> float:
        charged_s, self._charged_s = self._charged_s, self._run.operator_s
        return self._charged_s - charged_s

    def tell(self) -> None:
        """Says how far it is."""
        self._told_s = time.monotonic()
        progress = control_pb2.ProfileProgress(
            id=self._id, samples_done=self.done, samples_total=self.total, operator_s=self.operator_s
        )
        self._emit(control_pb2.ConnectRequest(profile_progress=progress))


def grouped(parts: Iterable[control_pb2.ConfigurationProfile]) -> Iterator[list[control_pb2.ConfigurationProfile]]:
    """Parts in groups that fit into one message."""
    group: list[control_pb2.ConfigurationProfile] = []
    used_bytes = 0
    for part in parts:
        size_bytes = part.ByteSize() + 8
        if group and used_bytes + size_bytes > MAX_PART_BYTES:
            yield group
            group, used_bytes = [], 0
        group.append(part)
        used_bytes += size_bytes
    if group:
        yield group


def report(
    request_id: str,
    parts: Iterable[control_pb2.ConfigurationProfile],
    *,
    done: bool = False,
    error: str = "",
    operator_s: float = 0.0,
) -> control_pb2.ConnectRequest:
    """A part of a request's results."""
    message = control_pb2.ProfileReport(
        id=request_id, configurations=parts, done=done, error=error[:_MAX_ERROR_CHARS], operator_s=operator_s
    )
    return control_pb2.ConnectRequest(profile_report=message)
