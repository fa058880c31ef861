"""What the agent holds of one isolated process beside its pipes: its groups, its limit, why it was killed."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

from circinus.events import warning
from edge_agent.cgroups import Group

_BYTES_PER_MB = 1_000_000
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Enclosed:
    """One process with all that it starts; ``folder`` is its own. ``on_release`` is called once, when it has ended."""

    def __init__(
        self,
        pid: int,
        *,
        group: Group | None,
        memory_limit_bytes: int,
        on_release: Callable[[Enclosed], None],
        folder: Path | None = None,
    ) -> None:
        self.pid = pid
        self.folder = folder
        self.group = group
        self.memory_limit_bytes = memory_limit_bytes
        self._cause = ""
        self._on_release: Callable[[Enclosed], None] | None = on_release

    @property
    def cause(self) -> str:
        """Why it was killed, as far as it was for one of its limits; empty: it was not."""
        if not self._cause and self.group is not None and self.group.ran_out_of_memory():
            self.blame_memory()
        return self._cause

    def blame_memory(self) -> None:
        """It is killed, or has been, for what it took of memory."""
        self._cause = f"killed: over its memory limit of {self.memory_limit_bytes / _BYTES_PER_MB:.0f} MB"

    def join_group(self) -> None:
        """Takes the process into its group, with what a sandbox has started of itself already."""
        joined: set[int] = set()
        while self.group is not None and (new := family(self.pid) - joined):
            for pid in new:
                with contextlib.suppress(OSError):
                    self.group.add(pid)
            joined |= new

    def limit_cores(self, cores: float) -> None:
        """At most so many cores from now on, where that can be had."""
        if self.group is not None:
            self.group.limit_cores(cores)

    def kill(self) -> None:
        """Ends the process and all that it started. Only while its number can't be another's yet."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        if self.group is not None:
            self.group.kill()

    def ended(self) -> None:
        """The process itself has just ended: what it left behind goes, and why it ended is known from now on."""
        self.kill()
        if not self._cause and self.cause:
            warning("process_over_memory", pid=self.pid, limit_bytes=self.memory_limit_bytes)

    def release(self) -> None:
        """Lets go of all that was made for it; its process has ended."""
        done, self._on_release = self._on_release, None
        if done is not None:
            done(self)

    def own_memory_bytes(self) -> int:
        """What its processes have of memory for themselves: no file that others could read as well counts."""
        pids = self.group.pids() if self.group is not None else family(self.pid)
        return sum(_private_bytes(pid) for pid in pids)


def family(pid: int) -> set[int]:
    """A process and what came of it, as far as nobody between them has ended."""
    found: set[int] = set()
    left = [pid]
    while left:
        one = left.pop()
        if one in found:
            continue
        found.add(one)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{one}/task"):
                left += [int(word) for word in Path(f"/proc/{one}/task/{task}/children").read_text().split()]
    return found


def _private_bytes(pid: int) -> int:
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE_BYTES
