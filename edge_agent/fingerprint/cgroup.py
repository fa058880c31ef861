"""The limits that a container sets on this process: CPU quota and memory, cgroup v1 and v2.

A limit of any ancestor counts, so the path is walked up to the root. Inside a container the path in
/proc/self/cgroup often names a folder of the host that isn't there: then the root of the mount is the container's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: cgroup v1 says "no limit" with the largest multiple of a page.
_NO_LIMIT_BYTES = 2**60


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """None: no limit."""

    cores: float | None = None
    memory_bytes: int | None = None


def read_limits(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> Limits:
    """The tightest limits that hold for this process; unreadable ones count as none."""
    cores: list[float] = []
    memory_bytes: list[int] = []
    paths = _memberships(membership)
    for folder in _up(root, paths.get("", "/")):
        cores.extend(_quota_v2(folder / "cpu.max"))
        memory_bytes.extend(_bytes(folder / "memory.max"))
    # The mount is called after all the controllers in it; most systems link the short name to it.
    for mount in ("cpu", "cpu,cpuacct", "cpuacct,cpu"):
        for folder in _up(root / mount, paths.get("cpu", "/")):
            cores.extend(_quota_v1(folder))
    for folder in _up(root / "memory", paths.get("memory", "/")):
        memory_bytes.extend(_bytes(folder / "memory.limit_in_bytes"))
    return Limits(cores=min(cores, default=None), memory_bytes=min(memory_bytes, default=None))


def _memberships(membership: Path) -> dict[str, str]:
    """Path by controller; the key "" is the unified hierarchy."""
    paths: dict[str, str] = {}
    for line in _text(membership).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        for controller in controllers.split(","):
            paths[controller] = path
    return paths


def _up(root: Path, path: str) -> Iterator[Path]:
    relative = Path(path.lstrip("/"))
    if ".." in relative.parts:
        relative = Path()
    for part in (relative, *relative.parents):
        if (root / part).is_dir():
            yield root / part


def _quota_v2(file: Path) -> Iterator[float]:
    parts = _text(file).split()
    if len(parts) == 2 and parts[0].isdigit() and parts[1].isdigit() and int(parts[1]) > 0:
        yield int(parts[0]) / int(parts[1])


def _quota_v1(folder: Path) -> Iterator[float]:
    quota_us, period_us = _text(folder / "cpu.cfs_quota_us"), _text(folder / "cpu.cfs_period_us")
    if quota_us.isdigit() and period_us.isdigit() and int(period_us) > 0:
        yield int(quota_us) / int(period_us)


def _bytes(file: Path) -> Iterator[int]:
    text = _text(file)
    if text.isdigit() and int(text) < _NO_LIMIT_BYTES:
        yield int(text)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
