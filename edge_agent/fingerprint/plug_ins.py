"""Accelerators of other makers: distributions that are installed beside the agent describe them.

An entry point of group ``circinus.accelerators`` names a function that takes nothing and gives mappings with ``kind``
and ``model``, and, where they are known, ``provider`` (of onnxruntime), ``slots``, ``memory_bytes``, ``unified`` and
``part_id``. Each runs in a child of its own (plug_in_child.py), so that one that fails tells nothing and harms nobody.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from circinus.events import warning
from edge_agent.fingerprint.asking import MAX_DEVICES, Answer, ask

GROUP = "circinus.accelerators"
_CHILD = "edge_agent.fingerprint.plug_in_child"
_TIMEOUT_S = 15.0
_MAX_PLUG_INS = 16


def plug_ins() -> tuple[str, ...]:
    """The names of those that are installed, in order."""
    # As importlib.metadata would, without the megabytes that it takes: this is asked for in the agent itself.
    found: set[str] = set()
    for folder in sys.path:
        for file in sorted(Path(folder or ".").glob("*-info/entry_points.txt")):
            with suppress(OSError):
                found.update(_names(file.read_text(encoding="utf-8", errors="replace")))
    return tuple(sorted(found))[:_MAX_PLUG_INS]


def _names(text: str) -> Iterator[str]:
    inside = False
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            inside = line == f"[{GROUP}]"
        elif inside and line and not line.startswith(("#", ";")):
            yield line.partition("=")[0].strip()


def ask_plug_ins(
    names: Sequence[str], *, timeout_s: float = _TIMEOUT_S, python: Sequence[str] = (sys.executable, "-P")
) -> dict[str, Answer]:
    """What each tells, one after the other. Blocks for up to ``timeout_s`` for each."""
    answers: dict[str, Answer] = {}
    for name in names:
        answer = ask((*python, "-m", _CHILD, name), timeout_s=timeout_s)
        if answer.unknown:
            warning("plug_in_not_told", plug_in=name, reason=answer.unknown)
        answers[name] = replace(answer, accelerators=answer.accelerators[:MAX_DEVICES])
    return answers
