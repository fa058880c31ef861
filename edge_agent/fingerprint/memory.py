"""Main memory."""

from __future__ import annotations

from edge_agent.fingerprint.cgroup import Limits


def read_memory_bytes(limits: Limits) -> int:
    """What this process and its children may use at most, in bytes."""
    import psutil

    total_bytes = int(psutil.virtual_memory().total)
    return total_bytes if limits.memory_bytes is None else min(total_bytes, limits.memory_bytes)
