"""What a profile process is at, for whoever asks why it died, and an end to what takes too long.

An operator can't be interrupted, so the one that hangs is named and its process ended; who waits for the profile,
and for those behind it, learns of it after its own bound and not after one for all of Python's start.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_POLL_S = 0.2
#: A profile runs beside others, with cold caches and its first call: what serving calls hung is only slow here.
_PATIENCE_FACTOR = 2.0
_PATIENCE_S = 5.0
_MAX_NOTE_BYTES = 400


class Watch:
    """Watches one call of an operator at a time.

    ``path``: where it is noted what runs; None: nowhere. ``on_hang`` is called in another thread with the reason, and
    is to end the process.
    """

    def __init__(self, path: Path | None, on_hang: Callable[[str], None]) -> None:
        self._file = -1 if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._on_hang = on_hang
        self._now: tuple[str, float] | None = None
        self._closed = threading.Event()
        threading.Thread(target=self._look, name="watch", daemon=True).start()

    @contextlib.contextmanager
    def over(self, what: str, hang_ms: float) -> Iterator[None]:
        """Watches what is done within; ``hang_ms`` is the author's bound for one item."""
        if self._file >= 0:
            note = what.encode()[:_MAX_NOTE_BYTES]
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, note, 0)
        self._now = (hangs_text(what, hang_ms), time.monotonic() + patience_s(hang_ms))
        try:
            yield
        finally:
            self._now = None

    def forget(self) -> None:
        """Nothing runs any more, for whoever reads the note."""
        if self._file >= 0:
            os.ftruncate(self._file, 0)

    def close(self) -> None:
        """Watches nothing more."""
        self._closed.set()
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _look(self) -> None:
        while not self._closed.wait(_POLL_S):
            now = self._now
            if now is not None and time.monotonic() > now[1]:
                self._on_hang(now[0])
                return


def patience_s(hang_ms: float) -> float:
    """How long an operator may take for one item while it is profiled."""
    return hang_ms / 1000.0 * _PATIENCE_FACTOR + _PATIENCE_S


def hangs_text(what: str, hang_ms: float) -> str:
    """What is said of an operator that takes longer."""
    return f"{what} hangs: no output after {patience_s(hang_ms):g} s"


def noted(path: Path) -> str:
    """What a process was at when it last noted it; empty: nothing is known."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
