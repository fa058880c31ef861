"""`edge-agent logs`: what this box's operators and agent print, for who stands before the box."""

from __future__ import annotations

import contextlib
import json
import sys
from datetime import UTC
from pathlib import Path

from circinus.v1 import control_pb2
from edge_agent.local_looks import ask


async def show_logs(state_dir: Path, wanted: control_pb2.LogsWanted, *, as_json: bool) -> None:
    """Prints the lines, one each, and, followed, goes on until it is interrupted.

    Raises:
        Unreachable: no agent runs there.
        NotAllowed: this user may not read them.
    """
    async with contextlib.aclosing(ask(state_dir, wanted)) as chunks:  # type: ignore[type-var]  # it is a generator
        async for chunk in chunks:
            for line in chunk.lines:
                sys.stdout.write((_json(line) if as_json else _text(line)) + "\n")
            sys.stdout.flush()


def _text(line: control_pb2.LogLine) -> str:
    at = line.at.ToDatetime(UTC)
    who = f"{line.query_id}/{line.operator_id}#{line.replica}" if line.query_id else "agent"
    head = f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} {who} | "
    before = f"{head}({line.left_out} lines left out)\n" if line.left_out else ""
    # What a terminal would obey is made visible.
    text = "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in line.text)
    return before + head + text + (" …" if line.cut else "")


def _json(line: control_pb2.LogLine) -> str:
    return json.dumps(
        {
            "at": line.at.ToDatetime(UTC).isoformat(),
            "query_id": line.query_id,
            "operator_id": line.operator_id,
            "replica": line.replica,
            "pid": line.pid,
            "text": line.text,
            "cut": line.cut,
            "left_out": line.left_out,
        },
        ensure_ascii=False,
    )
