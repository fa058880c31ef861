"""CPU (and, with cgroup v2, memory) limits of serving processes: a hard backstop behind pacing.

Groups are children of the agent's own, so nobody's limits are evaded. The period is 10 ms: the kernel's default
of 100 ms stalls an item in lumps and ruins the tail. Where groups can't be made (a container without the
right to, a desktop session) there are none, which is said once.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_PERIOD_US = 10_000
_PREFIX = "circinus-"


class Group:
    """One process's group."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def remove(self) -> None:
        """Takes the group away; its process must be gone."""
        with contextlib.suppress(OSError):
            self._path.rmdir()


class Cgroups:
    """Where this agent may make groups: a directory of cgroup v2, or of the cpu controller of v1."""

    def __init__(self, base: Path, *, unified: bool) -> None:
        self._base = base
        self._unified = unified
        self._made = 0

    def limit(self, pid: int, *, cores: float, memory_bytes: int) -> Group | None:
        """Puts a process into a new group of at most so many cores and so much memory (0: no limit; v2 only)."""
        self._made += 1
        path = self._base / f"{_PREFIX}{os.getpid()}-{self._made}"
        group = Group(path)
        quota_us = max(1_000, round(cores * _PERIOD_US))
        try:
            path.mkdir()
            if self._unified:
                (path / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
                if memory_bytes:
                    with contextlib.suppress(OSError):  # the memory controller may be off
                        (path / "memory.max").write_text(str(memory_bytes))
            else:
                (path / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
                (path / "cpu.cfs_quota_us").write_text(str(quota_us))
            (path / "cgroup.procs").write_text(str(pid))
        except OSError:
            group.remove()
            return None
        return group

    def sweep(self) -> None:
        """Takes away groups that a killed agent left; those in use stay."""
        for path in self._base.glob(f"{_PREFIX}*"):
            Group(path).remove()


def detect(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Cgroups | None:
    """Where this process may make groups; None: nowhere."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, path = line.split(":", 2)
        place = path.lstrip("/")
        if not controllers and (root / "cgroup.controllers").exists():
            found = _unified(root / place)
        elif "cpu" in controllers.split(","):
            found = _legacy(root / controllers / place)
        else:
            continue
        if found is not None:
            found.sweep()
            return found
    return None


def _unified(base: Path) -> Cgroups | None:
    # The kernel refuses this for a group that holds processes itself, unless it is the root or was delegated.
    try:
        enabled = (base / "cgroup.subtree_control").read_text().split()
        if "cpu" not in enabled:
            (base / "cgroup.subtree_control").write_text("+cpu +memory")
    except OSError:
        return None
    return Cgroups(base, unified=True) if os.access(base, os.W_OK) else None


def _legacy(base: Path) -> Cgroups | None:
    usable = (base / "cpu.cfs_quota_us").exists() and os.access(base, os.W_OK)
    return Cgroups(base, unified=False) if usable else None
