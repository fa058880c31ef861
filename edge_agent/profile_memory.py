"""How much memory an operator needs that runs alone: each setting in a child process of its own, for a few items.

The children are forked before this process has loaded any operator, so that none has anything of another's in it.
"""

from __future__ import annotations

import os
import re
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from circinus.model.pipeline import SOURCE, OperatorId, configuration_key, knobs_of
from circinus.operator import KnobValue, OperatorContext
from circinus.payload import decode_inputs, encode
from edge_agent.fingerprint.nvidia import accelerator_memory_of, accelerator_used_bytes
from edge_agent.harness import describe, load, resident_bytes
from edge_agent.isolation.kernel import die_with_parent
from edge_agent.profile_inputs import ProfiledPipeline, Step
from edge_agent.profile_watch import Watch, hangs_text

_HEADER = struct.Struct(">QQ")
_LENGTH = struct.Struct(">Q")
_CPU_PROVIDERS = ("CPUExecutionProvider",)
#: How a child says that its operator hangs; no exit code of Python's own.
_HANGS = 85


class OperatorHangs(Exception):
    """An operator gives no output within its time; the text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """Peak resident memory of a process that runs one operator with these knobs, and what it holds of accelerators."""

    operator_id: str
    knobs: Mapping[str, KnobValue]
    memory_bytes: int
    accelerator_memory_bytes: int


class MemoryProbe:
    """The memory of a pipeline's operators, each setting tried once.

    ``payloads`` are items in a row: what an operator does not do with each of them it does with one of a few.
    """

    def __init__(self, pipeline: ProfiledPipeline, payloads: Sequence[bytes], providers: tuple[str, ...]) -> None:
        self._pipeline = pipeline
        self._count = len(payloads)
        self._providers = providers
        self._made: dict[OperatorId, tuple[bytes, ...]] = {SOURCE: tuple(payloads)}
        self._uses: dict[tuple[str, str], MemoryUse | None] = {}

    def uses(self, configurations: Sequence[Mapping[str, KnobValue]]) -> Iterator[MemoryUse]:
        """That of each operator in each setting that the configurations have; what fails is left out.

        Raises:
            OperatorHangs: one does; the others are not tried.
        """
        for step in self._pipeline.steps:
            if not all(name in self._made for name in step.inputs):
                continue
            inputs = [
                {str(name): self._made[name][position] for name in step.inputs} for position in range(self._count)
            ]
            every = (knobs_of(entry, step.id) for entry in configurations)
            for setting, knobs in {configuration_key(knobs): knobs for knobs in every}.items():
                key = (step.id, setting)
                if key not in self._uses:
                    self._uses[key] = self._use(step, knobs, inputs)
                use = self._uses[key]
                if use is not None:
                    yield use

    def _use(
        self, step: Step, knobs: Mapping[str, KnobValue], inputs: Sequence[Mapping[str, bytes]]
    ) -> MemoryUse | None:
        answer = _in_child(step, knobs, inputs, self._providers)
        if answer is None:
            return None
        memory_bytes, accelerator_memory_bytes, outputs = answer
        self._made.setdefault(step.id, outputs)
        return MemoryUse(
            operator_id=step.id,
            knobs=knobs,
            memory_bytes=memory_bytes,
            accelerator_memory_bytes=accelerator_memory_bytes,
        )


def _in_child(
    step: Step, knobs: Mapping[str, KnobValue], inputs: Sequence[Mapping[str, bytes]], providers: tuple[str, ...]
) -> tuple[int, int, tuple[bytes, ...]] | None:
    """Peak memory, accelerator memory and outputs; None: it failed.

    Raises:
        OperatorHangs: it took too long.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _serve_once(writing, step, knobs, inputs, providers)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status) == _HANGS:
        raise OperatorHangs(hangs_text(f"operator {step.id} {configuration_key(knobs)}", step.hang_ms))
    if status != 0 or len(data) < _HEADER.size:
        return None
    memory_bytes, accelerator_memory_bytes = _HEADER.unpack_from(data)
    return memory_bytes, accelerator_memory_bytes, tuple(_outputs(data[_HEADER.size :]))


def _outputs(data: bytes) -> Iterator[bytes]:
    while data:
        (length,) = _LENGTH.unpack_from(data)
        yield data[_LENGTH.size : _LENGTH.size + length]
        data = data[_LENGTH.size + length :]


def _serve_once(
    writing: int,
    step: Step,
    knobs: Mapping[str, KnobValue],
    inputs: Sequence[Mapping[str, bytes]],
    providers: tuple[str, ...],
) -> None:
    """In the child: the items, then the figure and the outputs, then gone without any clean-up of the parent's."""
    status = 1
    try:
        die_with_parent()
        providers = step.providers(providers)
        context = OperatorContext(operator_id=step.id, threads=1, providers=providers)
        accelerated = providers != _CPU_PROVIDERS
        before_bytes = accelerator_used_bytes() if accelerated else 0
        operator = load(step.entry_point)(dict(knobs), context)
        watch = Watch(None, lambda reason: os._exit(_HANGS))
        outputs = []
        for one in inputs:
            with watch.over(step.id, step.hang_ms):
                outputs.append(encode(operator.process(decode_inputs(one))))
        # Asked while the operator still holds what it took.
        held_bytes = _held_bytes(before_bytes) if accelerated else 0
        with os.fdopen(writing, "wb") as pipe:
            pipe.write(_HEADER.pack(peak_resident_bytes(), held_bytes))
            for output in outputs:
                pipe.write(_LENGTH.pack(len(output)) + output)
        status = 0
    except BaseException as error:
        # The run itself will meet the same fault and report it with its configuration.
        print(f"operator {step.id} {configuration_key(knobs)}: {describe(error)}", file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _held_bytes(before_bytes: int) -> int:
    """Accelerator memory of this process; in a container, where drivers know it by another number, what came since."""
    return accelerator_memory_of(os.getpid()) or max(0, accelerator_used_bytes() - before_bytes)


def peak_resident_bytes() -> int:
    """The most resident memory that this process had; what it has now where the kernel doesn't tell."""
    try:
        found = re.search(r"^VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return int(found.group(1)) * 1024 if found else resident_bytes()
