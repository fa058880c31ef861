"""Disk space for bundles, sample sets and environments."""

from __future__ import annotations

import shutil
from pathlib import Path


def read_disk_free_bytes(state_dir: Path) -> int:
    """What is free where the agent keeps its state, in bytes; 0 if that can't be told."""
    return read_disk_bytes(state_dir)[0]


def read_disk_bytes(state_dir: Path) -> tuple[int, int]:
    """What is free and what there is in all where the agent keeps its state, in bytes; 0 if that can't be told."""
    for folder in (state_dir, *state_dir.parents):
        try:
            usage = shutil.disk_usage(folder)
        except OSError:
            continue
        return usage.free, usage.total
    return 0, 0
