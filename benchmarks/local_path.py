"""An array's way through three operators of one device: by shared memory against over the sockets.

    .venv/bin/python benchmarks/local_path.py [--quick]

Real operator processes, started by the agent's own runtime and asked as it asks them; each gives on what it gets, so
that what is measured is the way. Both ways take turns in one run. CPU is that of the agent's thread and of the
three processes. "Over the sockets" is what an item takes that finds no room in shared memory: it shares the reading
and writing without copies, so it is faster than what there was before shared memory. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from circinus.model.device import Digest
from circinus.model.directive import Generation, ReplicaSet
from circinus.model.pipeline import SOURCE, OperatorId, PipelineId
from circinus.model.query import QueryId
from circinus.payload import pieces
from edge_agent.dataplane.batches import Batches
from edge_agent.dataplane.item import Payload, Work
from edge_agent.dataplane.shared import SHARE_FROM_BYTES, SharedMemory
from edge_agent.process import ServingProcess
from edge_agent.runtime import Runtime

OPERATOR = """
from circinus.operator import Operator


class Pass(Operator):
    def process(self, inputs):
        (payload,) = inputs.values()
        pixels = payload["pixels"]
        return {"pixels": pixels, "seen": int(pixels.reshape(-1)[::64].sum())}
"""
DIGEST = Digest("sha256:" + "0" * 64)
HOPS = 3
SIZES_BYTES = (4_000, 16_000, 32_000, 64_000, 100_000, 1_000_000, 1920 * 1080 * 3)
_WARM_UP = 5


@dataclass(slots=True)
class Way:
    """One way, and what items took on it."""

    memory: SharedMemory
    processes: list[ServingProcess] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    cpu_s: float = 0.0

    def cpu_now_s(self) -> float:
        """CPU seconds of the agent and the way's processes so far."""
        return time.process_time() + sum(sum(psutil.Process(one.pid).cpu_times()[:2]) for one in self.processes)


def replica_set() -> ReplicaSet:
    """The operator, unpaced and unlimited."""
    return ReplicaSet(
        key="pass",
        query_id=QueryId("q"),
        pipeline_id=PipelineId("p"),
        operator_id=OperatorId("pass"),
        bundle_digest=DIGEST,
        environment_digest=DIGEST,
        entry_point="passing:Pass",
        knobs={},
        replicas=1,
        cores=1.0,
        accelerator_slots=0,
        accelerator_memory_bytes=0,
        memory_bytes=0,
        batch=1,
        hang_ms=30_000.0,
        inputs=(SOURCE,),
    )


async def through(way: Way, batches: Batches, payload: Payload) -> int:
    """One item through all operators; gives how many of its payloads were in shared memory."""
    shared = 0
    for process in way.processes:
        work = Work(
            request_id="1",
            query_id=QueryId("q"),
            generation=Generation(epoch=1, number=1),
            operator_id=OperatorId("pass"),
            deadline_s=None,
            inputs={SOURCE: payload},
        )
        reply = await batches.run(process, [work], 30.0)
        (output,) = reply.outputs
        if output is None or output.error:
            raise RuntimeError("no output" if output is None else output.error)
        payload = output.payload
        shared += not isinstance(payload, bytes)
    return shared


async def measure(ways: dict[str, Way], size_bytes: int, items: int, rounds: int, most_s: float) -> dict[str, Any]:
    """Both ways, turn by turn, with an array of so many bytes; fewer rounds if they would take longer than that."""
    pixels = np.random.default_rng(1).integers(0, 255, size_bytes, dtype=np.uint8)
    data = b"".join(pieces({"pixels": pixels}))
    batches = {name: Batches(way.memory) for name, way in ways.items()}
    shared = dict.fromkeys(ways, 0)
    for way in ways.values():
        way.latencies_ms, way.cpu_s = [], 0.0
    until_s = time.perf_counter() + most_s
    measured = 0
    for turn in range(rounds + 1):
        if measured and time.perf_counter() > until_s:
            break
        measured = turn
        for name, way in ways.items():
            # A source of the device hands its item over in the same way.
            before_s = way.cpu_now_s()
            for _ in range(items if turn else _WARM_UP):
                begun_s = time.perf_counter()
                payload: Payload = way.memory.of_bytes([data]) or data
                shared[name] += await through(way, batches[name], payload)
                if turn:
                    way.latencies_ms.append((time.perf_counter() - begun_s) * 1e3)
            if turn:
                way.cpu_s += way.cpu_now_s() - before_s
    by_way = {name: _figures(way, items * measured, shared[name] > 0) for name, way in ways.items()}
    sockets, memory = by_way["sockets"], by_way["shared_memory"]
    return {
        "bytes": size_bytes,
        "items": items * measured,
        **by_way,
        "p50_ratio": round(sockets["p50_ms"] / memory["p50_ms"], 2),
        "cpu_ratio": round(sockets["cpu_ms"] / memory["cpu_ms"], 2),
    }


def _figures(way: Way, items: int, shared: bool) -> dict[str, float]:
    return {
        "p50_ms": round(statistics.median(way.latencies_ms), 3),
        "p95_ms": round(statistics.quantiles(way.latencies_ms, n=20)[-1], 3),
        "cpu_ms": round(way.cpu_s * 1e3 / items, 3),
        "shared": shared,
    }


async def run(quick: bool) -> list[dict[str, Any]]:
    """All sizes."""
    with tempfile.TemporaryDirectory(prefix="circinus-local-path-") as name:
        folder = Path(name)
        (folder / "bundle").mkdir()
        (folder / "bundle" / "passing.py").write_text(OPERATOR)
        ways = {"sockets": Way(SharedMemory(from_bytes=0)), "shared_memory": Way(SharedMemory(from_bytes=1))}
        runtimes = []
        try:
            for key, way in ways.items():
                runtime = Runtime(
                    run_dir=folder / key,
                    speed_ratio=1e6,  # no pacing to speak of
                    python_for=lambda _: Path(sys.executable),
                    bundle_path=lambda _: folder / "bundle",
                    providers=(),
                    memory=way.memory,
                )
                runtime.open()
                runtimes.append(runtime)
                for _ in range(HOPS):
                    way.processes.append(await runtime.start_replica(replica_set()))
            rows = []
            for size_bytes in SIZES_BYTES:
                rounds = 4 if quick else 10
                items = max(10, min(100 if quick else 300, (60 if quick else 400) * 1_000_000 // size_bytes // rounds))
                rows.append(await measure(ways, size_bytes, items, rounds, 8.0 if quick else 60.0))
                print(json.dumps(rows[-1]), file=sys.stderr)
            return rows
        finally:
            for way in ways.values():
                for process in way.processes:
                    await process.stop(1.0)
            for runtime in runtimes:
                runtime.close()


def main() -> None:
    """Measures, and prints a table and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a fifth of the items")
    rows = asyncio.run(run(parser.parse_args().quick))
    print(f"{'bytes':>10} {'sockets p50':>12} {'shared p50':>12} {'ratio':>6} {'CPU ratio':>9}")
    for row in rows:
        print(
            f"{row['bytes']:>10} {row['sockets']['p50_ms']:>9} ms {row['shared_memory']['p50_ms']:>9} ms "
            f"{row['p50_ratio']:>6} {row['cpu_ratio']:>9}"
        )
    document = {
        "benchmark": "local_path",
        "machine": f"{platform.machine()}, {psutil.cpu_count()} cores, Python {platform.python_version()}",
        "hops": HOPS,
        "share_from_bytes": SHARE_FROM_BYTES,
        "rows": rows,
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
