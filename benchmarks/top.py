"""What `circinus top` takes of a core while it shows a large fleet, and how soon it shows what is asked of it.

    .venv/bin/python benchmarks/top.py [--devices 1000] [--queries 10000] [--seconds 60] [--quick]

The planner is a server of its own with made-up devices and queries whose figures change all the time, sorted, filtered
and cut by the planner's own code; `circinus top` is the real one in a real terminal of 80x24. CPU is that of its
process per second of one core: at rest on a list, and while keys are pressed four times a second. The last line is
JSON. `--serve` only serves, for looking on by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import fcntl
import json
import os
import platform
import pty
import random
import select
import struct
import subprocess
import sys
import tempfile
import termios
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc.aio
import psutil

from circinus.sketch import Sketch
from circinus.v1 import planner_pb2, planner_pb2_grpc, types_pb2
from cloud_planner.lines import piece

_WARM_UP_S = 5.0
_KEYS = b"jjjj>jjjjr\x1b[6~"
_KEY_PERIOD_S = 0.25


class MadeUp(planner_pb2_grpc.PlannerServiceServicer):
    """A planner whose fleet is made up; ``seed``: the same again."""

    def __init__(self, devices: int, queries: int, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._started = datetime.now(UTC) - timedelta(hours=7)
        self._cursor = 1_000
        self.devices = [self._device(number, queries // max(1, devices)) for number in range(devices)]
        self.queries = [self._query(number, devices) for number in range(queries)]

    def _device(self, number: int, each: int) -> planner_pb2.DeviceLine:
        cloud = number % 20 == 19
        cores = 16.0 if cloud else self._random.choice([2.0, 4.0, 8.0])
        line = planner_pb2.DeviceLine(
            device_id=f"{'vm' if cloud else 'camera'}-{number:04}",
            site="cloud" if cloud else f"shop-{number // 10:03}",
            tier="cloud" if cloud else "edge",
            connected=self._random.random() > 0.01,
            cordoned=self._random.random() < 0.02,
            cores=cores,
            cores_planned=round(cores * self._random.random(), 1),
            memory_bytes=8 << 30,
            memory_planned_bytes=self._random.randrange(8 << 30),
            replicas=self._random.randrange(12),
            runs=[f"query-{number * each + one:05}/{name}" for one in range(each) for name in ("rectify", "read")][:8],
            price_per_h=0.8 if cloud else 0.02,
            generation=41,
            trouble="" if self._random.random() > 0.01 else "disk: 120 MB are left",
        )
        line.last_seen_at.FromDatetime(datetime.now(UTC) - timedelta(seconds=self._random.randrange(600)))
        return line

    def _query(self, number: int, devices: int) -> planner_pb2.QueryLine:
        unplaced = self._random.random() < 0.02
        rate = self._random.choice([0.5, 1.0, 2.0, 5.0])
        line = planner_pb2.QueryLine(
            query_id=f"query-{number:05}",
            pipeline_id=self._random.choice(["documents", "traffic", "meeting"]),
            content="clean",
            source_device_id=f"camera-{number % max(1, devices):04}",
            phase=planner_pb2.QUERY_PHASE_UNPLACED if unplaced else planner_pb2.QUERY_PHASE_PLACED,
            serving=not unplaced,
            reason="accuracy 0.995 is out of reach: best 0.97" if unplaced else "",
            rate_per_s=rate,
            weight=1.0,
            wanted_ratio=0.95,
            burning="idle",
            devices=[f"camera-{number % max(1, devices):04}"],
            generation=41,
        )
        if not unplaced:
            line.planned_goodput_per_s = rate * 0.93
            line.latency_bound_ms, line.latency_planned_ms = 500.0, 300.0 + self._random.random() * 150.0
            line.cost_per_h, line.slo_probability_ratio = self._random.random() * 0.1, 0.98
            line.devices.append(f"vm-{(number * 20 + 19) % max(20, devices):04}")
            self._change(line)
        return line

    def _change(self, line: planner_pb2.QueryLine) -> None:
        attained = min(1.0, self._random.gauss(0.975, 0.015))
        line.attained_ratio = attained
        line.items = int(line.rate_per_s * 300)
        line.goodput_per_s = line.rate_per_s * attained * 0.94
        line.burn_ratio = (1.0 - attained) / 0.05
        line.burn_hour_ratio = 0.5 + self._random.random() * 0.6
        line.budget_left_ratio = 1.0 - line.burn_hour_ratio
        line.latency_ms = line.latency_planned_ms * (0.9 + self._random.random() * 0.25)
        line.burning = "rising" if line.burn_ratio > 1.0 else "kept"

    async def GetStatus(self, request: Any, context: Any) -> planner_pb2.GetStatusResponse:
        placed = sum(one.serving for one in self.queries)
        response = planner_pb2.GetStatusResponse(
            planner_version="0.1.0",
            epoch=1,
            generation=41,
            activity="idle",
            devices_connected=sum(one.connected for one in self.devices),
            devices_known=len(self.devices),
            devices_cordoned=sum(one.cordoned for one in self.devices),
            queries_placed=placed,
            queries_unplaced=len(self.queries) - placed,
        )
        response.started_at.FromDatetime(self._started)
        response.now.FromDatetime(datetime.now(UTC))
        return response

    async def ListDeviceLines(self, request: Any, context: Any) -> planner_pb2.ListDeviceLinesResponse:
        for line in self._random.sample(self.devices, max(1, len(self.devices) // 10)):
            line.cores_seen = line.cores_planned * self._random.random()
        names = [field.name for field in planner_pb2.DeviceLine.DESCRIPTOR.fields]
        found = piece(
            self.devices,
            request.wanted,
            {**{name: lambda one, name=name: getattr(one, name) for name in names}, "state": lambda one: one.connected},
            name=lambda one: one.device_id,
            words=lambda one: (one.device_id, one.site, one.tier, *one.runs),
        )
        return planner_pb2.ListDeviceLinesResponse(lines=found.shown, matching=found.matching, total=found.total)

    async def ListQueryLines(self, request: Any, context: Any) -> planner_pb2.ListQueryLinesResponse:
        served = [one for one in self.queries if one.serving]
        for line in self._random.sample(served, min(100, len(served))):
            self._change(line)
        names = [field.name for field in planner_pb2.QueryLine.DESCRIPTOR.fields]
        found = piece(
            [one for one in self.queries if request.query_id in ("", one.query_id)],
            request.wanted,
            {name: lambda one, name=name: getattr(one, name) for name in names},
            name=lambda one: one.query_id,
            words=lambda one: (one.query_id, one.pipeline_id, one.source_device_id, *one.devices),
        )
        return planner_pb2.ListQueryLinesResponse(
            lines=found.shown,
            matching=found.matching,
            total=found.total,
            planned_goodput_per_s=sum(one.planned_goodput_per_s for one in served),
            goodput_per_s=sum(one.goodput_per_s for one in served),
            cost_per_h=sum(one.cost_per_h for one in served),
            burning=sum(one.burn_ratio > 1.0 and one.burn_hour_ratio > 1.0 for one in served),
        )

    async def ListQueries(self, request: Any, context: Any) -> planner_pb2.ListQueriesResponse:
        line = next((one for one in self.queries if one.query_id == request.query_id), None)
        if line is None:
            return planner_pb2.ListQueriesResponse()
        query = types_pb2.Query(
            id=line.query_id,
            pipeline_id="documents",
            content="clean",
            source_device_id=line.source_device_id,
            rate_per_s=line.rate_per_s,
            weight=1.0,
            slo=types_pb2.Slo(latency_ms=500.0, accuracy_ratio=0.9),
        )
        state = planner_pb2.QueryState(query=query, phase=line.phase, reason=line.reason, serving=line.serving)
        if line.serving:
            state.generation = 41
            state.plan.CopyFrom(self._plan(line))
        return planner_pb2.ListQueriesResponse(queries=[state])

    def _plan(self, line: planner_pb2.QueryLine) -> types_pb2.Plan:
        configuration = types_pb2.Configuration()
        configuration.values["rectify.scale"].real = 0.75
        configuration.values["read.engine"].text = "rapidocr"
        edge, cloud = line.devices
        placed = [("rectify", edge, 1, 0.5, 1.0), ("detect", edge, 1, 1.0, 1.0)]
        placed += [("read", cloud, 2, 1.0, 0.6), ("read", "vm-0039", 1, 1.0, 0.4), ("merge", cloud, 1, 0.25, 1.0)]
        return types_pb2.Plan(
            query_id=line.query_id,
            configuration=configuration,
            operators=[
                types_pb2.OperatorPlan(
                    operator_id=name,
                    device_id=device,
                    replicas=replicas,
                    cores=cores,
                    share_ratio=share,
                    batch=1,
                    service_ms=31.4,
                )
                for name, device, replicas, cores, share in placed
            ],
            latency_ms=types_pb2.Interval(value=line.latency_planned_ms, low=280.0, high=470.0),
            accuracy_ratio=types_pb2.Interval(value=0.931, low=0.91, high=0.95),
            cost_per_h=line.cost_per_h,
            slo_probability_ratio=0.981,
            item_goodput_per_s=line.planned_goodput_per_s,
            runner_up="read on vm-0019",
            runner_up_cost_per_h=line.cost_per_h * 1.3,
        )

    async def ListPipelines(self, request: Any, context: Any) -> planner_pb2.ListPipelinesResponse:
        edges = (("rectify", ["source"]), ("detect", ["rectify"]), ("read", ["rectify"]), ("merge", ["detect", "read"]))
        inputs = [planner_pb2.OperatorInputs(operator_id=name, inputs=reads) for name, reads in edges]
        state = planner_pb2.PipelineState(id="documents", operator_ids=[name for name, _ in edges], inputs=inputs)
        return planner_pb2.ListPipelinesResponse(pipelines=[state])

    async def GetAccounts(self, request: Any, context: Any) -> planner_pb2.GetAccountsResponse:
        line = next(one for one in self.queries if one.query_id == request.query_id)
        account = planner_pb2.Account(query_id=line.query_id, generation=41, open=True)
        account.promise.plan.CopyFrom(self._plan(line))
        for one in account.promise.plan.operators:
            service = types_pb2.Interval(value=31.4, low=28.0, high=35.0)
            account.promise.operators.add(
                operator_id=one.operator_id, device_id=one.device_id, service_ms=service, queue_ms=3.1
            )
            seen = Sketch([abs(self._random.gauss(33.0, 6.0)) for _ in range(50)]).message()
            account.seen.operators.add(
                operator_id=one.operator_id, device_id=one.device_id, items=50, service_ms=seen, queue_ms=seen
            )
        return planner_pb2.GetAccountsResponse(accounts=[account])

    async def WatchEvents(self, request: Any, context: Any) -> Any:
        while True:
            self._cursor += 1
            one = planner_pb2.PlannerEvent(
                cursor=self._cursor,
                kind=self._random.choice(["device", "query", "plan", "drift"]),
                name=self._random.choice(["agent_connected", "generation_phase", "drift_found"]),
                fields={"device": f"camera-{self._random.randrange(1000):04}", "generation": "41"},
                warning=self._random.random() < 0.1,
            )
            one.at.FromDatetime(datetime.now(UTC))
            yield planner_pb2.WatchEventsResponse(events=[one])
            if not request.follow:
                return
            await asyncio.sleep(3.0)


async def serve(devices: int, queries: int, address_file: Path) -> None:
    """Serves a made-up fleet until it is ended."""
    server = grpc.aio.server()
    planner_pb2_grpc.add_PlannerServiceServicer_to_server(MadeUp(devices, queries), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    beside = address_file.with_suffix(".new")
    beside.write_text(f"127.0.0.1:{port}")
    beside.rename(address_file)
    await server.wait_for_termination()


class Terminal:
    """`circinus top` in a terminal of 80x24 whose screen nobody looks at."""

    def __init__(self, address: str) -> None:
        self.began_s = time.monotonic()
        self._child, self._master = pty.fork()
        if not self._child:
            os.environ.update(TERM="xterm", CIRCINUS_PLANNER=address, CIRCINUS_INSECURE_LOOPBACK="1")
            os.execv(sys.executable, [sys.executable, "-m", "circinus.cli.main", "top"])
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = psutil.Process(self._child)

    def read(self, seconds: float) -> bytes:
        """What is written within so many seconds."""
        ends_s, found = time.monotonic() + seconds, b""
        while (left := ends_s - time.monotonic()) > 0:
            if not select.select([self._master], [], [], left)[0]:
                continue
            try:
                found += os.read(self._master, 65_536)
            except OSError:
                # It has ended, and its terminal with it.
                time.sleep(min(left, 0.05))
                break
        return found

    def read_until(self, text: bytes, most_s: float) -> float:
        """Seconds until a text is there."""
        began_s, found = time.monotonic(), b""
        while text not in found:
            if time.monotonic() - began_s > most_s:
                raise TimeoutError(f"no {text!r} within {most_s:g} s")
            found += self.read(0.01)
        return time.monotonic() - began_s

    def press(self, keys: bytes) -> None:
        """Keys, as a terminal sends them."""
        os.write(self._master, keys)

    def cpu_s(self) -> float:
        """CPU time that its process took."""
        times = self.process.cpu_times()
        return times.user + times.system

    def quit(self) -> int:
        """Ends it; gives its exit code."""
        self.press(b"q")
        while True:
            self.read(0.05)
            ended, status = os.waitpid(self._child, os.WNOHANG)
            if ended:
                os.close(self._master)
                return os.waitstatus_to_exitcode(status)


def measured(address: str, seconds: float) -> dict[str, float | int]:
    """What it takes, at rest and with keys."""
    terminal = Terminal(address)
    first_s = terminal.read_until(b"camera-0000", 60.0)
    terminal.press(b"2")
    terminal.read(_WARM_UP_S)
    before_s = terminal.cpu_s()
    terminal.read(seconds)
    rest = (terminal.cpu_s() - before_s) / seconds
    before_s, began_s, pressed = terminal.cpu_s(), time.monotonic(), 0
    while time.monotonic() - began_s < seconds / 2:
        terminal.press(_KEYS[pressed % len(_KEYS) : pressed % len(_KEYS) + 1])
        pressed += 1
        terminal.read(_KEY_PERIOD_S)
    busy = (terminal.cpu_s() - before_s) / (time.monotonic() - began_s)
    memory = terminal.process.memory_info().rss / 1e6
    terminal.press(b"\x1b")
    terminal.read(0.5)
    terminal.press(b"/query-00777")
    filter_s = terminal.read_until(b"1 of ", 20.0)
    terminal.press(b"\r")
    code = terminal.quit()
    return {
        "first_picture_s": round(first_s, 2),
        "cpu_at_rest_ratio": round(rest, 4),
        "cpu_with_keys_ratio": round(busy, 4),
        "filter_typed_to_shown_s": round(filter_s, 2),
        "memory_mb": round(memory, 1),
        "exit_code": code,
    }


def main() -> int:
    """Measures, or serves."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--quick", action="store_true", help="six seconds")
    parser.add_argument("--serve", type=Path, metavar="ADDRESS_FILE")
    given = parser.parse_args()
    if given.serve is not None:
        asyncio.run(serve(given.devices, given.queries, given.serve))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        address_file = Path(folder) / "address"
        command = [sys.executable, __file__, "--serve", str(address_file)]
        command += ["--devices", str(given.devices), "--queries", str(given.queries)]
        with subprocess.Popen(command) as planner:
            try:
                while not address_file.exists() and planner.poll() is None:
                    time.sleep(0.05)
                found = measured(address_file.read_text(), 6.0 if given.quick else given.seconds)
            finally:
                planner.terminate()
    machine = {"machine": platform.machine(), "cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"devices": given.devices, "queries": given.queries, **found, **machine}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
