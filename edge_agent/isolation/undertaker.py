"""Ends what serving processes started, should the agent itself be killed.

The kernel ends a serving process with its agent, but not what that process has started in turn. So a small shell
waits for the agent's end of a pipe to close, whatever the reason, and then ends all that is left in the process groups
that it was told of and in the agent's control groups. It is there as long as there are serving processes, and needs a
megabyte.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from circinus.events import warning

_SHELL = "/bin/sh"
_END_S = 5.0
_SCRIPT = Path(__file__).with_name("undertaker.sh")


class Undertaker:
    """The shell of one agent; nothing depends on its being there."""

    def __init__(self, group_prefixes: Sequence[str]) -> None:
        self._prefixes = tuple(group_prefixes)
        self._process: subprocess.Popen[bytes] | None = None
        self._failed = False
        self._expected: set[int] = set()

    def expect(self, pid: int) -> None:
        """A process group was started."""
        self._expected.add(pid)
        if self._process is None and not self._failed:
            try:
                self._process = subprocess.Popen(
                    [_SHELL, str(_SCRIPT), *self._prefixes],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={"PATH": "/usr/bin:/bin"},
                    start_new_session=True,
                )
            except OSError as error:
                self._failed = True
                warning("undertaker_not_started", reason=error)
        self._write(f"+ {pid}\n")

    def forget(self, pid: int) -> None:
        """A process group has ended: its number may be another's soon."""
        self._expected.discard(pid)
        self._write(f"- {pid}\n")
        if not self._expected:
            self.close()

    def close(self) -> None:
        """Nothing is left to end; if something is after all, it is ended."""
        if not self._expected:
            self._write(".\n")
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _write(self, line: str) -> None:
        if self._process is None or self._process.stdin is None:
            return
        try:
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError:
            # Somebody killed it: the next process starts another, which knows of those from then on.
            process, self._process = self._process, None
            with contextlib.suppress(OSError):
                process.stdin.close()  # type: ignore[union-attr]  # looked at above
            process.wait()
