"""Disk space for bundles, sample sets and environments."""

from __future__ import annotations

import shutil
from pathlib import Path


def read_disk_free_bytes(state_dir: Path) -> int:
    """What is free where the agent keeps its state, in bytes; 0 if that can't be told."""
    for folder in (state_dir, *state_dir.parents):
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            continue
    return 0
