"""NVIDIA accelerators, through NVML.

Any NVML call may be unsupported on some board or driver (on Jetson most are), some answer zero or nonsense, and a
wedged driver hangs or takes its caller down. So every call stands alone: what can't be told, or can't be, is unknown; a
device that answers nothing is left out; without a driver there is simply no accelerator. The agent itself never calls
NVML: a short-lived child does (nvidia_child.py), and a child that dies or hangs says nothing. MIG instances are listed
in the place of the device that they split. On boards that share main memory NVML tells no memory: unknown.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from circinus.events import warning
from circinus.model.device import Accelerator

_MAX_DEVICES = 64
#: No device has more; some drivers answer with all bits set.
_MAX_MEMORY_BYTES = 2**43
_MAX_MODEL_CHARS = 200
_UNKNOWN_MODEL = "unknown NVIDIA device"
#: NVML's compute mode in which nobody may compute.
_PROHIBITED = 2
_MIG_ENABLED = 1
#: A healthy driver answers within a second or two, a cold one within five.
_TIMEOUT_S = 15.0
_CHILD = "edge_agent.fingerprint.nvidia_child"
#: What there is wherever there is an NVIDIA driver: of a card, of Jetson boards, of a Windows host.
TRACES = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/nvmap", "/dev/nvhost-gpu", "/dev/dxg")


def find_nvidia(
    *, traces: Sequence[str] = TRACES, timeout_s: float = _TIMEOUT_S, command: Sequence[str] = ()
) -> tuple[Accelerator, ...]:
    """The NVIDIA devices of this box, asked for in a child. Blocks for up to ``timeout_s``.

    Args:
        traces: Files without which there is no driver to ask.
        timeout_s: After that the driver counts as hung.
        command: The child; by default this interpreter with nvidia_child.
    """
    if not any(Path(trace).exists() for trace in traces):
        return ()
    try:
        ended = subprocess.run(
            command or (sys.executable, "-P", "-m", _CHILD),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
        if ended.returncode != 0:
            warning("nvidia_not_told", reason=f"the child that asks NVML ended with {ended.returncode}")
            return ()
        return _accelerators_of(ended.stdout)
    except subprocess.TimeoutExpired:
        warning("nvidia_not_told", reason=f"NVML did not answer within {timeout_s:g} s: is the driver hung?")
    except (OSError, ValueError) as error:
        warning("nvidia_not_told", reason=error)
    return ()


def read_nvidia(nvml: Any | None = None) -> tuple[Accelerator, ...]:
    """The NVIDIA devices of this box, asked for here. ``nvml``: the pynvml module, or what stands in for it."""
    with _Nvml(nvml) as driver:
        return tuple(driver.accelerators())


def accelerator_memory_of(pid: int, nvml: Any | None = None) -> int:
    """Accelerator memory that a process holds, over all NVIDIA devices, in bytes; 0: none, or nobody can tell."""
    with _Nvml(nvml) as driver:
        used = [
            getattr(process, "usedGpuMemory", None)
            for handle in driver.handles()
            for process in _sequence(driver.ask("nvmlDeviceGetComputeRunningProcesses", handle))
            if getattr(process, "pid", None) == pid
        ]
    return sum(filter(None, (_memory_bytes(size) for size in used)))


class _Nvml:
    """NVML while it is open; without a driver there are no handles."""

    def __init__(self, module: Any | None) -> None:
        self._module = module if module is not None else _pynvml()
        self._open = False

    def __enter__(self) -> _Nvml:
        try:
            self._module.nvmlInit()  # type: ignore[union-attr]  # None has none, which is no driver either
            self._open = True
        except Exception:  # no driver, no permission, a driver of another version
            self._open = False
        return self

    def __exit__(self, *_: object) -> None:
        if self._open:
            self.ask("nvmlShutdown")

    def ask(self, name: str, *arguments: Any) -> Any:
        """What a call answers; None: this one fact is unknown (NotSupported, GpuIsLost, no such call ...)."""
        try:
            return getattr(self._module, name)(*arguments)
        except Exception:  # whatever the binding raises
            return None

    def handles(self) -> Iterator[Any]:
        """The devices that can be opened, each once."""
        if not self._open:
            return
        seen: set[str] = set()
        for index in range(_count(self.ask("nvmlDeviceGetCount"))):
            handle = self.ask("nvmlDeviceGetHandleByIndex", index)
            identity = _text(self.ask("nvmlDeviceGetUUID", handle)) if handle is not None else ""
            if handle is None or identity in seen:
                continue
            seen.update(filter(None, [identity]))
            yield handle

    def accelerators(self) -> Iterator[Accelerator]:
        """What plans may use."""
        for handle in self.handles():
            mode = self.ask("nvmlDeviceGetMigMode", handle)
            if not (isinstance(mode, list | tuple) and mode and mode[0] == _MIG_ENABLED):
                yield from self._accelerator(handle)
                continue
            # Split: the device itself takes no work, however few instances there are.
            for index in range(_count(self.ask("nvmlDeviceGetMaxMigDeviceCount", handle))):
                instance = self.ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, index)
                if instance is not None:
                    yield from self._accelerator(instance)

    def _accelerator(self, handle: Any) -> Iterator[Accelerator]:
        facts = [
            self.ask(name, handle)
            for name in (
                "nvmlDeviceGetName",
                "nvmlDeviceGetMemoryInfo",
                "nvmlDeviceGetUUID",
                "nvmlDeviceGetComputeMode",
            )
        ]
        # A handle that answers nothing at all is of a device that fell off the bus.
        if all(fact is None for fact in facts) or facts[3] == _PROHIBITED:
            return
        yield Accelerator(
            kind="cuda",
            model=_text(facts[0])[:_MAX_MODEL_CHARS] or _UNKNOWN_MODEL,
            provider="CUDAExecutionProvider",
            slots=1,
            memory_bytes=_memory_bytes(getattr(facts[1], "total", None)),
        )


def _pynvml() -> ModuleType | None:
    try:
        import pynvml
    except Exception:  # not installed, or broken
        return None
    return pynvml  # type: ignore[no-any-return]  # it ships no types


def _count(answer: Any) -> int:
    return min(answer, _MAX_DEVICES) if isinstance(answer, int) and answer > 0 else 0


def _memory_bytes(answer: Any) -> int:
    """A size, or 0: unknown."""
    return answer if isinstance(answer, int) and 0 < answer <= _MAX_MEMORY_BYTES else 0


def _sequence(answer: Any) -> Sequence[Any]:
    return answer if isinstance(answer, list | tuple) else ()


def _text(answer: Any) -> str:
    """Printable text; before version 12 the binding gave bytes."""
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer if isinstance(answer, str) else ""
    return "".join(character for character in text if character.isprintable()).strip()


def _accelerators_of(output: bytes) -> tuple[Accelerator, ...]:
    """What the child printed.

    Raises:
        ValueError: it is nothing that the child prints.
    """
    try:
        entries = json.loads(output.splitlines()[-1])
        return tuple(
            Accelerator(
                kind="cuda",
                model=str(entry["model"])[:_MAX_MODEL_CHARS],
                provider="CUDAExecutionProvider",
                slots=1,
                memory_bytes=_memory_bytes(entry["memory_bytes"]),
            )
            for entry in entries[:_MAX_DEVICES]
        )
    except (TypeError, KeyError, IndexError) as error:
        raise ValueError(f"the child that asks NVML said what it never says: {error}") from error
