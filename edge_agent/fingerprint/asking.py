"""Accelerators asked for in a child: whatever a driver or a plug-in does there harms nobody.

The child prints one line of JSON, a list of accelerators. One that dies, hangs, prints without end or prints anything
else has told nothing, and why is said: what is not known is not taken for not being there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from circinus.model.device import Accelerator

MAX_DEVICES = 64
#: No device has more; some drivers answer with all bits set.
MAX_MEMORY_BYTES = 2**43
_MAX_SLOTS = 1024
_MAX_MODEL_CHARS = 200
_MAX_OUTPUT_BYTES = 256 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@/+-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was told. ``unknown``: why it is not all that there may be; empty: it is. ``throttled`` None: not told."""

    accelerators: tuple[Accelerator, ...] = ()
    unknown: str = ""
    throttled: bool | None = None


def ask(command: Sequence[str], *, timeout_s: float) -> Answer:
    """What a child tells. Blocks for up to ``timeout_s``; then the child and all that it started are ended."""
    try:
        code, output = _run(command, timeout_s)
        if code != 0:
            return Answer(unknown=f"the child that asks ended with {code}")
        return read_answer(output)
    except TimeoutError:
        return Answer(unknown=f"no answer within {timeout_s:g} s: is a driver hung?")
    except (OSError, ValueError) as error:
        return Answer(unknown=str(error))


def read_answer(output: bytes) -> Answer:
    """What a child printed: a list of accelerators, or an object with them and more.

    Raises:
        ValueError: it is nothing that a child prints.
    """
    try:
        said = json.loads(output.splitlines()[-1])
        whole = said if isinstance(said, dict) else {"accelerators": said}
        throttled = whole.get("throttled")
        return Answer(
            accelerators=tuple(accelerator_of(entry) for entry in whole["accelerators"][:MAX_DEVICES]),
            unknown=str(whole.get("unknown", ""))[:500],
            throttled=throttled if isinstance(throttled, bool) else None,
        )
    except (TypeError, KeyError, IndexError, AttributeError) as error:
        raise ValueError(f"the child that asks said what it never says: {error!r}") from error


def accelerator_of(entry: Mapping[str, Any]) -> Accelerator:
    """One accelerator as a child describes it; sizes that can't be are unknown.

    Raises:
        KeyError: it has no kind or no model.
        ValueError: its kind, provider or number of slots can't be.
    """
    kind, provider = str(entry["kind"]), str(entry.get("provider", ""))
    slots = entry.get("slots", 1)
    if not _NAME.fullmatch(kind) or (provider and not _NAME.fullmatch(provider)):
        raise ValueError(f"{kind[:80]!r} on {provider[:80]!r} is no kind of accelerator")
    if isinstance(slots, bool) or not isinstance(slots, int) or not 1 <= slots <= _MAX_SLOTS:
        raise ValueError(f"{slots!r} slots of {kind} are none; there may be 1 to {_MAX_SLOTS}")
    part_id = str(entry.get("part_id", ""))
    return Accelerator(
        kind=kind,
        model=printable(entry["model"])[:_MAX_MODEL_CHARS] or f"unknown {kind} device",
        provider=provider,
        slots=slots,
        memory_bytes=memory_bytes_of(entry.get("memory_bytes", 0)),
        unified=entry.get("unified") is True,
        part_id=part_id if _PART.fullmatch(part_id) else "",
    )


def memory_bytes_of(answer: Any) -> int:
    """A size, or 0: unknown."""
    return answer if type(answer) is int and 0 < answer <= MAX_MEMORY_BYTES else 0


def printable(answer: Any) -> str:
    """Printable text; some bindings give bytes."""
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer if isinstance(answer, str) else ""
    return "".join(character for character in text if character.isprintable()).strip()


def _run(command: Sequence[str], timeout_s: float) -> tuple[int, bytes]:
    """The exit code of a child and what it printed, at most so much.

    Raises:
        TimeoutError: it took too long.
        ValueError: it printed too much.
        OSError: it can't be started.
    """
    until_s = time.monotonic() + timeout_s
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as child:
        try:
            output = _read(child, until_s)
            try:
                return child.wait(max(0.0, until_s - time.monotonic())), output
            except subprocess.TimeoutExpired:
                raise TimeoutError from None
        finally:
            # What it started, too; of a child that has ended the number is only its group's by now.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)


def _read(child: subprocess.Popen[bytes], until_s: float) -> bytes:
    if child.stdout is None:
        raise ValueError("the child was started without a pipe")
    output = b""
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            left_s = until_s - time.monotonic()
            if left_s <= 0.0:
                raise TimeoutError
            if not selector.select(left_s):
                continue
            chunk = os.read(child.stdout.fileno(), 65536)
            if not chunk:
                return output
            output += chunk
            if len(output) > _MAX_OUTPUT_BYTES:
                raise ValueError(f"the child that asks printed more than {_MAX_OUTPUT_BYTES} bytes")
