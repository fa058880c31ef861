"""What logs and taps cost an agent: a line printed, a line read, an item that passes, an item that is looked at.

    .venv/bin/python benchmarks/looks.py [--rounds 20000] [--quick]

In one process, without the wire, in CPU time of this machine; medians of five. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy

from circinus.clock import SystemClock
from circinus.model.directive import Generation
from circinus.payload import encode
from circinus.v1 import control_pb2
from edge_agent import printed
from edge_agent.dataplane.item import Work
from edge_agent.dataplane.shared import SharedMemory
from edge_agent.log_look import LogLook
from edge_agent.printed import Printed, Printer
from edge_agent.taps import Tap, Taps

_REPEATS = 5
_LINE = b"2026-11-28 INFO frame 12345 shape=(640, 480, 3) boxes=[(1, 2, 3, 4)] score=0.98 /srv/videos/a.mp4\n"


def per_call_us(action: Callable[[], object], rounds: int) -> float:
    """CPU microseconds of one call, the median of several rounds."""
    found = []
    for _ in range(_REPEATS):
        began_s = time.process_time()
        for _ in range(rounds):
            action()
        found.append((time.process_time() - began_s) / rounds * 1e6)
    return statistics.median(found)


def lines(rounds: int) -> dict[str, float]:
    """Lines kept, flooded and read."""
    clock = SystemClock()
    rings = Printed(clock)
    voice = rings.voice(Printer(key="k", query_id="gate", operator_id="read"))
    ring = next(one for one in rings.rings() if not one.printer.is_agent)

    def keep() -> None:
        ring.room_lines = printed.BURST_LINES
        voice.take(_LINE)

    kept_us = per_call_us(keep, rounds)
    flood = _LINE * 600
    flooded_us = per_call_us(lambda: voice.take(flood), max(1, rounds // 600)) / 600

    def read() -> None:
        look = LogLook(rings, control_pb2.LogsWanted(), clock)
        while (chunk := look.next_chunk(12 * 1024)) is not None and not chunk.ended:
            pass

    read_us = per_call_us(read, max(1, rounds // 5_000)) / len(ring.lines)
    return {"line_kept_us": kept_us, "line_of_a_flood_us": flooded_us, "line_read_us": read_us}


def items(rounds: int) -> dict[str, float]:
    """Items that pass with nobody looking, with somebody who is not due, and that are looked at."""
    clock = SystemClock()
    taps = Taps(clock)
    frame = numpy.zeros((720, 1280, 3), numpy.uint8)
    payload = SharedMemory().of_bytes([encode({"image": frame, "number": 1, "text": "x" * 300})])
    if payload is None:
        raise SystemExit("there is no shared memory here")
    work = Work(
        request_id="i",
        query_id="gate",  # type: ignore[arg-type]
        generation=Generation(epoch=1, number=1),
        operator_id="read",  # type: ignore[arg-type]
        deadline_s=None,
        inputs={"find": payload},
    )

    def passes() -> None:
        # As ReplicaSetRunner does.
        if taps.open:
            taps.passed(
                work,
                {**work.inputs, **work.gathered},
                output=False,
                batches=0.0,
                pipeline_id="p",  # type: ignore[arg-type]
                bundle_digest="d",
            )

    nobody_us = per_call_us(passes, 10 * rounds)
    wanted = control_pb2.TapWanted(query_id="gate", operator_id="read", rate_per_s=20.0, values=True)
    tap = Tap(wanted, clock, withheld=lambda pipeline_id, bundle_digest: "")
    taps.open.append(tap)
    tap._next_s = float("inf")
    not_due_us = per_call_us(passes, rounds)

    def looked_at() -> None:
        tap._next_s, taps._left_s = 0.0, 1.0
        passes()
        tap.next_chunk(1_000_000)

    return {
        "item_nobody_looks_us": nobody_us,
        "item_not_due_us": not_due_us,
        "item_looked_at_us": per_call_us(looked_at, max(1, rounds // 100)),
    }


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20_000)
    parser.add_argument("--quick", action="store_true", help="tries it, measures nothing that counts")
    options = parser.parse_args()
    rounds = 600 if options.quick else options.rounds
    found: dict[str, Any] = {name: round(value, 3) for name, value in (lines(rounds) | items(rounds)).items()}
    for name, value in found.items():
        print(f"{name:22} {value:10.3f}")
    found |= {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count(), "quick": options.quick}
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
