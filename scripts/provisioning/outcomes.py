"""What became of each box: on disk, so that a run goes on where the last stopped; on the screen, as table or JSON."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from scripts.provisioning.inventory import Host

_VERSION = 1


class Result(StrEnum):
    """How it went with a box."""

    CHANGED = "changed"
    SAME = "same"
    WOULD = "would change"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    ROLLED_BACK = "rolled back"
    SKIPPED = "skipped"

    @property
    def well(self) -> bool:
        """The box is as it was asked for."""
        return self in {Result.CHANGED, Result.SAME, Result.WOULD}


@dataclass(slots=True, kw_only=True)
class Outcome:
    """One box: how it went, at which step it ended, and what there is to say."""

    host: str
    device: str
    ring: int
    result: Result
    step: str = ""
    said: str = ""
    seconds: float = 0.0
    data: Mapping[str, Any] = field(default_factory=dict)


class Book:
    """What is done, by command, host and step. Written at every step, by rename; safe for threads.

    What was done for other inputs (another address, another bundle) counts for nothing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._entries: dict[str, dict[str, Any]] = {}
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document["version"] == _VERSION:
                self._entries = dict(document["entries"])
        except (OSError, ValueError, KeyError, TypeError):
            # Lost or damaged: all is looked at again, which changes nothing that is right.
            pass

    def done(self, command: str, host: Host, inputs: str) -> bool:
        """Whether the command ended well on this host, for these inputs."""
        entry = self._entries.get(f"{command} {host.name}", {})
        return entry.get("inputs") == inputs and entry.get("result") in {Result.CHANGED.value, Result.SAME.value}

    def step(self, command: str, host: Host, inputs: str, name: str) -> None:
        """Notes that a step was done."""
        with self._lock:
            entry = self._entries.setdefault(f"{command} {host.name}", {})
            if entry.get("inputs") != inputs or entry.get("result"):
                entry.clear()
                entry.update(inputs=inputs, steps={})
            entry["steps"][name] = _now()
            self._write()

    def end(self, command: str, host: Host, inputs: str, outcome: Outcome) -> None:
        """Notes how it ended."""
        with self._lock:
            entry = self._entries.setdefault(f"{command} {host.name}", {"inputs": inputs, "steps": {}})
            entry.update(inputs=inputs, result=outcome.result.value, step=outcome.step, said=outcome.said, at=_now())
            self._write()

    def forget(self, command: str, host: Host) -> None:
        """What was done is undone."""
        with self._lock:
            self._entries.pop(f"{command} {host.name}", None)
            self._write()

    def _write(self) -> None:
        part = self._path.with_name(f".{self._path.name}.part")
        part.write_text(json.dumps({"version": _VERSION, "entries": self._entries}, indent=1, sort_keys=True) + "\n")
        part.replace(self._path)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0 all well, 7 some, 4 none since none was reached, 1 none."""
    well = sum(outcome.result.well for outcome in outcomes)
    if well == len(outcomes):
        return 0
    if well > 0:
        return 7
    return 4 if all(outcome.result is Result.UNREACHABLE for outcome in outcomes) else 1


def as_json(command: str, outcomes: Sequence[Outcome]) -> str:
    """One document."""
    return json.dumps({"command": command, "hosts": [asdict(outcome) for outcome in outcomes]}, indent=2)


def as_table(outcomes: Sequence[Outcome]) -> str:
    """One line a box; control characters that a terminal would obey are left out."""
    rows = [("HOST", "DEVICE", "RING", "RESULT", "STEP", "SECONDS", "")]
    rows.extend(
        (one.host, one.device, str(one.ring), one.result.value, one.step, f"{one.seconds:.1f}", _plain(one.said))
        for one in outcomes
    )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _plain(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)[:300]
