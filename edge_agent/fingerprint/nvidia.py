"""NVIDIA accelerators, through NVML.

Any NVML call may be unsupported on some board or driver (on Jetson most are), some answer zero or nonsense, and a
wedged driver hangs or takes its caller down. So every call stands alone: what can't be told, or can't be, is unknown; a
device that answers nothing is left out; without a driver there is simply no accelerator. The agent itself never calls
NVML: a short-lived child does (nvidia_child.py), and of a child that dies or hangs it is said that nothing is known.
MIG instances are listed in the place of the device that they split. Where NVML tells no memory because it is the main
memory (Jetson, GB10), the accelerator is a unified one; elsewhere its memory is unknown.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from circinus.events import warning
from circinus.model.device import Accelerator
from edge_agent.fingerprint.asking import MAX_DEVICES, Answer, ask, memory_bytes_of, printable

_MAX_MODEL_CHARS = 200
_UNKNOWN_MODEL = "unknown NVIDIA device"
#: Parts whose memory is the main memory: there NVML tells none, or all of it.
_UNIFIED = re.compile(r"\b(GB10|Orin|Xavier|Thor|Tegra|Jetson|nvgpu)\b", re.IGNORECASE)
#: NVML's compute mode in which nobody may compute.
_PROHIBITED = 2
_MIG_ENABLED = 1
_PCI_VENDOR, _PCI_DISPLAY = "0x10de", "0x03"
#: Clock event reasons that hold a device back: hardware slowdown, heat (software and hardware), power brake.
_HELD_BACK = 0x8 | 0x20 | 0x40 | 0x80
#: A healthy driver answers within a second or two, a cold one within five.
_TIMEOUT_S = 15.0
_CHILD = "edge_agent.fingerprint.nvidia_child"
#: What there is wherever there is an NVIDIA driver: of a card, of Jetson boards, of a Windows host.
TRACES = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/nvmap", "/dev/nvhost-gpu", "/dev/dxg")


def find_nvidia(
    *, traces: Sequence[str] = TRACES, timeout_s: float = _TIMEOUT_S, command: Sequence[str] = ()
) -> tuple[Accelerator, ...]:
    """The NVIDIA devices of this box that are known, asked for in a child. Blocks for up to ``timeout_s``."""
    return ask_nvidia(traces=traces, timeout_s=timeout_s, command=command).accelerators


def ask_nvidia(
    *,
    traces: Sequence[str] = TRACES,
    timeout_s: float = _TIMEOUT_S,
    command: Sequence[str] = (),
    pci: Path = Path("/sys/bus/pci/devices"),
) -> Answer:
    """The NVIDIA devices of this box, and whether there may be more. Blocks for up to ``timeout_s``.

    Args:
        traces: Files without which there is no driver to ask.
        timeout_s: After that the driver counts as hung.
        command: The child; by default this interpreter with nvidia_child.
        pci: Where the kernel lists devices, with a driver or without.
    """
    if not any(Path(trace).exists() for trace in traces):
        cards = sum(1 for device in _listed(pci) if _is_nvidia(device))
        return Answer(unknown=f"{cards} on the PCI bus, but no driver: install NVIDIA's") if cards else Answer()
    answer = ask(command or (sys.executable, "-P", "-m", _CHILD), timeout_s=timeout_s)
    if answer.unknown:
        warning("nvidia_not_told", reason=answer.unknown)
    return answer


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
    return sum(filter(None, (memory_bytes_of(size) for size in used)))


def accelerator_used_bytes(nvml: Any | None = None) -> int:
    """Accelerator memory in use by whomever, over all NVIDIA devices, in bytes; 0: none, or nobody can tell."""
    with _Nvml(nvml) as driver:
        told = [driver.ask("nvmlDeviceGetMemoryInfo", handle) for handle in driver.handles()]
    return sum(memory_bytes_of(getattr(one, "used", None)) for one in told)


def is_held_back(nvml: Any | None = None) -> bool | None:
    """Whether heat or power holds an NVIDIA device back; None: nobody can tell."""
    with _Nvml(nvml) as driver:
        reasons = [
            driver.ask("nvmlDeviceGetCurrentClocksEventReasons", handle)
            or driver.ask("nvmlDeviceGetCurrentClocksThrottleReasons", handle)
            for handle in driver.handles()
        ]
    told = [reason for reason in reasons if type(reason) is int and reason >= 0]
    return any(reason & _HELD_BACK for reason in told) if told else None


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
            identity = printable(self.ask("nvmlDeviceGetUUID", handle)) if handle is not None else ""
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
                    yield from self._accelerator(instance, of=handle)

    def _accelerator(self, handle: Any, of: Any = None) -> Iterator[Accelerator]:
        """What there is under a handle; ``of``: the device that it is a part of."""
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
        model = printable(facts[0])[:_MAX_MODEL_CHARS]
        if not model and of is not None and (whole := printable(self.ask("nvmlDeviceGetName", of))):
            model = f"{whole[: _MAX_MODEL_CHARS - 4]} MIG"
        unified = of is None and _UNIFIED.search(model) is not None
        yield Accelerator(
            kind="cuda",
            model=model or _UNKNOWN_MODEL,
            provider="CUDAExecutionProvider",
            slots=1,
            memory_bytes=0 if unified else memory_bytes_of(getattr(facts[1], "total", None)),
            unified=unified,
            part_id=printable(facts[2]),
        )


def _pynvml() -> ModuleType | None:
    try:
        import pynvml
    except Exception:  # not installed, or broken
        return None
    return pynvml  # type: ignore[no-any-return]  # it ships no types


def _listed(pci: Path) -> list[Path]:
    try:
        return sorted(pci.iterdir())
    except OSError:
        return []


def _is_nvidia(device: Path) -> bool:
    """Whether a PCI device is a GPU of NVIDIA's: a display controller of any kind (class 03)."""
    try:
        vendor, kind = (device / "vendor").read_text().strip(), (device / "class").read_text().strip()
    except OSError:
        return False
    return vendor == _PCI_VENDOR and kind.startswith(_PCI_DISPLAY)


def _count(answer: Any) -> int:
    return min(answer, MAX_DEVICES) if isinstance(answer, int) and answer > 0 else 0


def _sequence(answer: Any) -> Sequence[Any]:
    return answer if isinstance(answer, list | tuple) else ()
