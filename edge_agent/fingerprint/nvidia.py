"""NVIDIA accelerators, through NVML.

Any NVML call may be unsupported on some board or driver (on Jetson most are), and some answer zero. So every call
stands alone: what can't be told is unknown, a device that can't be opened is left out, and without a driver there
is simply no accelerator. MIG instances are listed in the place of the device that they split.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from circinus.model.device import Accelerator

_MAX_DEVICES = 64


def read_nvidia(nvml: Any | None = None) -> tuple[Accelerator, ...]:
    """The NVIDIA devices of this box. ``nvml``: the pynvml module, or what stands in for it."""
    module = nvml if nvml is not None else _pynvml()
    if module is None:
        return ()
    try:
        module.nvmlInit()
    except Exception:  # no driver, no permission, a driver of another version: no accelerator
        return ()
    try:
        found: list[Accelerator] = []
        for index in range(min(_ask(0, module.nvmlDeviceGetCount), _MAX_DEVICES)):
            handle = _ask(None, module.nvmlDeviceGetHandleByIndex, index)
            if handle is not None:
                found.extend(_devices(module, handle))
        return tuple(found)
    finally:
        _ask(None, module.nvmlShutdown)


def accelerator_memory_of(pid: int, nvml: Any | None = None) -> int:
    """Accelerator memory that a process holds, over all NVIDIA devices, in bytes; 0: none, or nobody can tell."""
    module = nvml if nvml is not None else _pynvml()
    if module is None:
        return 0
    try:
        module.nvmlInit()
    except Exception:  # as above
        return 0
    try:
        handles = (
            _ask(None, module.nvmlDeviceGetHandleByIndex, index)
            for index in range(min(_ask(0, module.nvmlDeviceGetCount), _MAX_DEVICES))
        )
        used = [
            getattr(process, "usedGpuMemory", None)
            for handle in handles
            if handle is not None
            for process in _ask((), module.nvmlDeviceGetComputeRunningProcesses, handle)
            if getattr(process, "pid", None) == pid
        ]
        return sum(size for size in used if isinstance(size, int) and size > 0)
    finally:
        _ask(None, module.nvmlShutdown)


def _pynvml() -> ModuleType | None:
    try:
        import pynvml
    except ImportError:
        return None
    return pynvml  # type: ignore[no-any-return]  # it ships no types


def _devices(nvml: Any, handle: Any) -> list[Accelerator]:
    if _ask((0, 0), nvml.nvmlDeviceGetMigMode, handle)[0] != 1:
        return [_accelerator(nvml, handle)]
    count = min(_ask(0, nvml.nvmlDeviceGetMaxMigDeviceCount, handle), _MAX_DEVICES)
    instances = [_ask(None, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index) for index in range(count)]
    return [_accelerator(nvml, instance) for instance in instances if instance is not None]


def _accelerator(nvml: Any, handle: Any) -> Accelerator:
    name = _ask("", nvml.nvmlDeviceGetName, handle)
    # Before version 12 the binding gave bytes.
    text = name.decode(errors="replace") if isinstance(name, bytes) else str(name)
    memory = _ask(None, nvml.nvmlDeviceGetMemoryInfo, handle)
    total = getattr(memory, "total", 0)
    return Accelerator(
        kind="cuda",
        model=text[:200] or "unknown NVIDIA device",
        provider="CUDAExecutionProvider",
        slots=1,
        # On boards that share main memory NVML says 0 or nothing: unknown.
        memory_bytes=int(total) if isinstance(total, int) and total > 0 else 0,
    )


def _ask(default: Any, call: Callable[..., Any], *arguments: Any) -> Any:
    try:
        answer = call(*arguments)
    except Exception:  # NVMLError_NotSupported, Uninitialized, GpuIsLost ...: this one fact is unknown
        return default
    return default if answer is None else answer
