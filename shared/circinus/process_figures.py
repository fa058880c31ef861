"""What a daemon takes of its machine: memory, CPU time, files, as the kernel tells of this process."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFigures:
    """``cpu_s``: user and system time since the start. ``children_cpu_s``: of children that have ended.

    ``memory_bytes`` is what is resident; ``open_files`` of at most ``max_files``. None: not told.
    """

    cpu_s: float
    children_cpu_s: float
    memory_bytes: int | None
    open_files: int | None
    max_files: int


def process_figures() -> ProcessFigures:
    """The figures of this process now. Quick, and never raises."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return ProcessFigures(
        cpu_s=own.ru_utime + own.ru_stime,
        children_cpu_s=children.ru_utime + children.ru_stime,
        memory_bytes=_memory_bytes(),
        open_files=_open_files(),
        max_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
    )


def _memory_bytes() -> int | None:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return None


def _open_files() -> int | None:
    try:
        return len(os.listdir("/proc/self/fd"))
    except OSError:
        return None


__all__ = ["ProcessFigures", "process_figures"]
