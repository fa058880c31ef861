"""The process that runs one profile request, or a part of its samples, in the bundle's environment.

Started as ``python -m edge_agent.profile_process CONFIG.json``. What it finds goes to the agent as it is found,
as length-prefixed messages on what was standard output; what operators print goes to standard error. It has no
grpc: only protobuf and what the operators need.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from circinus.knobs import set_knobs
from circinus.v1 import control_pb2, types_pb2
from edge_agent.framing import header_of
from edge_agent.harness import describe, die_with_parent, knob_values, private_output
from edge_agent.profile_inputs import Clip, by_prefix, clip_of, read_pipeline
from edge_agent.profile_memory import OperatorHangs, probe_memory
from edge_agent.profile_run import PipelineRun
from edge_agent.profile_watch import Watch

_NICE = 5
_PROGRESS_PERIOD_S = 0.5
_MAX_PART_BYTES = 900 * 1024
_MAX_ERROR_CHARS = 1_000
_PROBED_ITEMS = 6

Emit = Callable[[control_pb2.ConnectRequest], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileConfig:
    """What the agent starts the process with. ``memory``: probe memory instead of running the samples."""

    bundle: Path
    samples: Path
    request: Path
    sample_indices: tuple[int, ...]
    speed_ratio: float
    providers: tuple[str, ...]
    budget_s: float
    memory: bool

    @property
    def note(self) -> Path:
        """Where the process notes what it is at."""
        return self.request.with_name(f"doing-{self.sample_indices[0]}")

    def write(self, path: Path) -> None:
        """Writes it where ``read`` finds it."""
        document: dict[str, Any] = {
            "bundle": str(self.bundle),
            "samples": str(self.samples),
            "request": str(self.request),
            "sample_indices": self.sample_indices,
            "speed_ratio": self.speed_ratio,
            "providers": self.providers,
            "budget_s": self.budget_s,
            "memory": self.memory,
        }
        path.write_text(json.dumps(document), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> ProfileConfig:
        """The configuration in a file that ``write`` wrote."""
        document = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            bundle=Path(document["bundle"]),
            samples=Path(document["samples"]),
            request=Path(document["request"]),
            sample_indices=tuple(document["sample_indices"]),
            speed_ratio=float(document["speed_ratio"]),
            providers=tuple(document["providers"]),
            budget_s=float(document["budget_s"]),
            memory=bool(document["memory"]),
        )


def run_profile(config: ProfileConfig, emit: Emit, watch: Watch) -> str:
    """Does what the configuration says and emits what it finds. Gives why it ended early; empty: it did not."""
    request = control_pb2.ProfileRequest.FromString(config.request.read_bytes())
    sample_set = types_pb2.SampleSet.FromString(config.samples.read_bytes())
    beyond = [index for index in config.sample_indices if index >= len(sample_set.samples)]
    if beyond:
        return f"there is no sample {beyond[0]}: the content has {len(sample_set.samples)}"
    pipeline = read_pipeline(config.bundle)
    configurations = [knob_values(configuration.values) for configuration in request.configurations]
    clips = {index: clip_of(sample_set.samples[index]) for index in config.sample_indices}
    if config.memory:
        for use in probe_memory(pipeline, configurations, _probed(clips), config.providers):
            part = control_pb2.ConfigurationProfile(memory_bytes={use.operator_id: use.memory_bytes})
            if use.accelerator_memory_bytes:
                part.accelerator_memory_bytes[use.operator_id] = use.accelerator_memory_bytes
            named = {f"{use.operator_id}.{name}": value for name, value in use.knobs.items()}
            set_knobs(part.configuration.values, named)
            emit(_report(request.id, [part]))
        return ""
    ordered = by_prefix(pipeline.steps, configurations)
    run = PipelineRun(pipeline, speed_ratio=config.speed_ratio, providers=config.providers, watch=watch)
    progress = _Progress(request.id, len(clips) * len(ordered), emit)
    try:
        for index, clip in clips.items():
            source_bytes = round(sum(len(item.payload) for item in clip.items) / len(clip.items))
            parts: list[control_pb2.ConfigurationProfile] = []
            errors: list[str] = []
            spent = False
            for position, configuration in ordered:
                spent = 0.0 < config.budget_s <= run.operator_s
                if spent:
                    break
                result, error = run.sample(index, clip, configuration, score=request.score)
                part = control_pb2.ConfigurationProfile(samples=[result], source_bytes=source_bytes)
                part.configuration.CopyFrom(request.configurations[position])
                parts.append(part)
                if error:
                    errors.append(error)
                    print(error, file=sys.stderr, flush=True)
                progress.step(run.operator_s)
            if parts and len(errors) == len(parts):
                # Nothing works: going on would only say so again, slowly.
                return errors[0]
            for group in _grouped(parts):
                emit(_report(request.id, group))
            if spent:
                return f"the budget of {config.budget_s:g} s is used up: {progress.done} of {progress.total} runs done"
    finally:
        run.close()
    progress.tell(run.operator_s)
    return ""


class _Progress:
    """Tells of progress, at most twice a second."""

    def __init__(self, request_id: str, total: int, emit: Emit) -> None:
        self._request_id = request_id
        self._emit = emit
        self._told_s = time.monotonic()
        self.total = total
        self.done = 0

    def step(self, operator_s: float) -> None:
        self.done += 1
        if time.monotonic() - self._told_s >= _PROGRESS_PERIOD_S:
            self.tell(operator_s)

    def tell(self, operator_s: float) -> None:
        self._told_s = time.monotonic()
        progress = control_pb2.ProfileProgress(
            id=self._request_id, samples_done=self.done, samples_total=self.total, operator_s=operator_s
        )
        self._emit(control_pb2.ConnectRequest(profile_progress=progress))


def _grouped(parts: Iterable[control_pb2.ConfigurationProfile]) -> Iterator[list[control_pb2.ConfigurationProfile]]:
    """Parts in groups that fit into one message."""
    group: list[control_pb2.ConfigurationProfile] = []
    used_bytes = 0
    for part in parts:
        size_bytes = part.ByteSize() + 8
        if group and used_bytes + size_bytes > _MAX_PART_BYTES:
            yield group
            group, used_bytes = [], 0
        group.append(part)
        used_bytes += size_bytes
    if group:
        yield group


def _report(
    request_id: str, parts: list[control_pb2.ConfigurationProfile], *, done: bool = False, error: str = ""
) -> control_pb2.ConnectRequest:
    report = control_pb2.ProfileReport(id=request_id, configurations=parts, done=done, error=error[:_MAX_ERROR_CHARS])
    return control_pb2.ConnectRequest(profile_report=report)


def _probed(clips: Mapping[int, Clip]) -> list[bytes]:
    """The items that memory is probed with: the last few of the first sample."""
    return [item.payload for item in next(iter(clips.values())).items[-_PROBED_ITEMS:]]


def main() -> int:
    """Runs the request that the command line names."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Serving comes first.
    os.nice(_NICE)
    config = ProfileConfig.read(Path(sys.argv[1]))
    sys.path.insert(0, str(config.bundle))
    request_id = control_pb2.ProfileRequest.FromString(config.request.read_bytes()).id
    with private_output() as pipe:
        lock = threading.Lock()

        def emit(message: control_pb2.ConnectRequest) -> None:
            data = message.SerializeToString()
            with lock:
                pipe.write(header_of(data) + data)
                pipe.flush()

        def on_hang(reason: str) -> None:
            emit(_report(request_id, [], done=True, error=reason))
            os._exit(1)

        # The memory probe forks, and has a watch of its own in each child.
        watch = Watch(None if config.memory else config.note, on_hang)
        try:
            error = run_profile(config, emit, watch)
        except OperatorHangs as fault:
            error = str(fault)
        except Exception as fault:
            error = describe(fault)
        watch.close()
        emit(_report(request_id, [], done=True, error=error))
    return 0


if __name__ == "__main__":
    sys.exit(main())
