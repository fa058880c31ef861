"""What a hop between two devices costs, beside a raw asyncio TCP socket in the same run.

    .venv/bin/python benchmarks/hop.py [--quick] [--profile]

Two processes, one at each end of loopback. A payload goes through what serving uses (PeerLink.send_input, Exchange,
Pipe, receive_input) and comes back the same way; a hop is half of that. Blocks of it and of raw sockets alternate, so
that drift of the machine meets all alike. In the clear, and with mutual TLS on all. The bars hold against the faster of
the raw sockets (hop_raw.py); "gRPC" is a bare stream of the same bytes, which shows why agents have a carrier of their
own. Then: throughput with many items at once, and how long a small item takes while 8 MB ones pass on an emulated link
of 100 Mbit/s. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import logging
import multiprocessing
import os
import platform
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, Protocol

import grpc
import grpc.aio
import psutil
from hop_certificates import OPENSSL, make_certificates
from hop_raw import RawSender, StreamSender, serve_raw
from table_text import table

from circinus import channel
from circinus.channel import Tls
from circinus.clock import SystemClock
from circinus.model.device import DeviceId
from circinus.model.directive import Generation, Peer
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from edge_agent.dataplane.exchange import Exchange
from edge_agent.dataplane.item import Cause, Input, Outcome
from edge_agent.dataplane.peers import PeerLink
from edge_agent.dataplane.shaping import Shaper
from edge_agent.heap import keep_freed_memory
from edge_agent.identity.credentials import Credentials

BOX, CLOUD = "box.trial", "cloud.trial"
SIZES = (1_000, 100_000, 1_000_000, 8_000_000)
#: Most that a hop may take of a raw socket's p50, by size in bytes.
BARS = {100_000: 3.0, 1_000_000: 2.5}
AIMS = {100_000: 2.0}
WAYS = ("hop", "grpc", "raw", "streams")
_BLOCKS = 12
#: Samples of one size and way; fewer of what is large.
_SAMPLES = 600
_SAMPLE_BYTES = 150_000_000
_MANY = 16
_BULK_BYTES = 8_000_000
_BARE_BYTES = 1024 * 1024
_SLOW_BIT_PER_S = 100_000_000


class Way(Protocol):
    """A way there and back."""

    def send(self, payload: bytes) -> None: ...

    async def came(self) -> object: ...


class Echo:
    """A receiver that sends each item back to where it came from."""

    def __init__(self) -> None:
        self.links: dict[DeviceId, PeerLink] = {}

    def receive_input(self, one: Input, peer: DeviceId) -> None:
        self.links[peer].send_input(one)

    def receive_outcome(self, outcome: Outcome, peer: DeviceId) -> None:
        pass


class Keep(Echo):
    """A receiver that keeps what comes, by query."""

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[str, asyncio.Queue[Input]] = {}

    def receive_input(self, one: Input, peer: DeviceId) -> None:
        self.came.setdefault(one.query_id, asyncio.Queue()).put_nowait(one)


def _tell_lost(one: Input, cause: Cause) -> None:
    if cause is not Cause.LINK_DOWN:  # the end of a measurement
        print(f"item {one.request_id} was lost: {cause}", file=sys.stderr)


def an_exchange(
    name: str,
    receiver: Echo,
    tls: Tls | None,
    on_change: Callable[[], None] = lambda: None,
    shaper: Shaper | None = None,
) -> Exchange:
    """One device's end, as serving makes it."""
    clock = SystemClock()

    def link_to(peer: DeviceId) -> PeerLink:
        if peer not in receiver.links:
            receiver.links[peer] = PeerLink(peer, shaper=shaper or Shaper(0, 0.0), clock=clock, on_lost=_tell_lost)
        return receiver.links[peer]

    return Exchange(
        device_id=DeviceId(name),
        link_to=link_to,
        receiver=receiver,
        clock=clock,
        rng=Random(1),
        on_change=on_change,
        credentials=None if tls is None else Credentials(tls),
    )


class Hop:
    """The way through the product."""

    def __init__(self, query_id: str = "query-1", shaper: Shaper | None = None) -> None:
        self.keep = Keep()
        self.port = 0
        self.tls: Tls | None = None
        self._shaper = shaper
        self._numbers = iter(range(1 << 62))
        self._query_id = query_id
        self._dialling: asyncio.Task[None] | None = None

    async def open(self, port: int, tls: Tls | None, name: str) -> None:
        connected = asyncio.Event()
        self.port, self.tls = port, tls
        exchange = an_exchange(BOX, self.keep, tls, connected.set, self._shaper)
        peer = Peer(device_id=DeviceId(name), address=f"127.0.0.1:{port}")
        self._dialling = asyncio.create_task(exchange.dial(peer))
        async with asyncio.timeout(10.0):
            await connected.wait()

    def of(self, query_id: str) -> Hop:
        """The same stream for another query."""
        other = Hop(query_id)
        other.keep = self.keep
        return other

    def send(self, payload: bytes) -> None:
        one = Input(
            request_id=f"camera-1-a1b2c3d4-{next(self._numbers)}",
            query_id=QueryId(self._query_id),
            generation=Generation(epoch=1, number=7),
            operator_id=OperatorId("detect"),
            input_name=OperatorId("source"),
            deadline_s=time.monotonic() + 30.0,
            payload=payload,
        )
        cause = self.keep.links[DeviceId(CLOUD)].send_input(one)
        if cause is not None:
            raise RuntimeError(f"the link refused an item: {cause}")

    async def came(self) -> Input:
        return await self.keep.came.setdefault(self._query_id, asyncio.Queue()).get()

    async def close(self) -> None:
        if self._dialling is not None:
            self._dialling.cancel()
            await asyncio.wait((self._dialling,))


class BareGrpc:
    """A gRPC stream of payloads and nothing else: what a hop over gRPC would take at least."""

    def __init__(self) -> None:
        self._channel: grpc.aio.Channel | None = None
        self._call: Any = None
        self._unsent: asyncio.Queue[bytes] = asyncio.Queue()
        self._came: asyncio.Queue[bytes] = asyncio.Queue()
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    @staticmethod
    def serve_on(server: grpc.aio.Server) -> None:
        async def echo(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
            while (payload := await context.read()) is not grpc.aio.EOF:
                await context.write(payload)

        handler: Any = grpc.stream_stream_rpc_method_handler(echo)
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("trial.Bare", {"Echo": handler}),))

    async def open(self, port: int, tls: Tls | None, name: str) -> None:
        address = f"127.0.0.1:{port}"
        opened = channel.open_channel(address) if tls is None else channel.open_secure_channel(address, tls, name)
        self._channel, self._call = opened, opened.stream_stream("/trial.Bare/Echo")()
        self._tasks = (asyncio.create_task(self._write()), asyncio.create_task(self._read()))

    async def _write(self) -> None:
        while True:
            await self._call.write(await self._unsent.get())

    async def _read(self) -> None:
        while True:
            self._came.put_nowait(await self._call.read())

    def send(self, payload: bytes) -> None:
        # Larger messages than channels take are cut, as ours are.
        cut = [payload[at : at + _BARE_BYTES] for at in range(0, len(payload), _BARE_BYTES)]
        for one in cut:
            self._unsent.put_nowait(one)
        self._cut = len(cut)

    async def came(self) -> None:
        for _ in range(self._cut):
            await self._came.get()

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        self._call.cancel()
        if self._channel is not None:
            await self._channel.close()


def answer(pipe: Connection, tls: Tls | None) -> None:
    """The other process: sends all back."""
    logging.disable(logging.INFO)
    keep_freed_memory()  # as the agent does; it helps all ways

    async def serve() -> None:
        server = channel.server()
        exchange = an_exchange(CLOUD, Echo(), tls)
        own_port = await exchange.listen("127.0.0.1:0")
        BareGrpc.serve_on(server)
        if tls is None:
            port = channel.insecure_port(server, "127.0.0.1:0")
        else:
            port = channel.secure_port(server, "127.0.0.1:0", tls)
        await server.start()
        pipe.send((own_port, port, *await serve_raw(tls)))
        await asyncio.to_thread(pipe.poll, None)
        await exchange.stop()
        await server.stop(None)

    asyncio.run(serve())


@dataclass(slots=True, kw_only=True)
class Ways:
    """The hop and what it is held against."""

    hop: Hop = field(default_factory=Hop)
    grpc: BareGrpc = field(default_factory=BareGrpc)
    raw: RawSender = field(default_factory=RawSender)
    streams: StreamSender = field(default_factory=StreamSender)

    def named(self) -> dict[str, Way]:
        return {"hop": self.hop, "grpc": self.grpc, "raw": self.raw, "streams": self.streams}


async def over(tls: dict[str, Tls], measure: Callable[[Ways], Awaitable[dict[str, object]]]) -> dict[str, object]:
    """Measures with the other process there."""
    own, other = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=answer, args=(other, tls.get(CLOUD)))
    process.start()
    ways = Ways()
    try:
        ports = await asyncio.to_thread(own.recv)
        for way, port in zip((ways.hop, ways.grpc, ways.raw, ways.streams), ports, strict=True):
            await way.open(port, tls.get(BOX), CLOUD)
        return await measure(ways)
    finally:
        await ways.hop.close()
        await ways.grpc.close()
        ways.raw.close()
        ways.streams.close()
        own.send(None)
        process.join()


async def hop_ms(way: Way, payload: bytes) -> float:
    """Half of the time there and back."""
    began_s = time.perf_counter()
    way.send(payload)
    await way.came()
    return (time.perf_counter() - began_s) * 1e3 / 2


async def latencies(ways: Ways, samples: int) -> dict[str, object]:
    """p50 and p95 of a hop by size and way."""
    found: dict[str, object] = {}
    for size in SIZES:
        payload = os.urandom(size)
        block = max(2, min(samples, _SAMPLE_BYTES * samples // _SAMPLES // size) // _BLOCKS)
        times: dict[str, list[float]] = {name: [] for name in ways.named()}
        for _ in range(_BLOCKS):
            for name, way in ways.named().items():
                await hop_ms(way, payload)  # the first after another way finds caches cold
                times[name] += [await hop_ms(way, payload) for _ in range(block)]
        found[str(size)] = {
            name: {
                "p50_ms": round(statistics.median(some), 4),
                "p95_ms": round(statistics.quantiles(some, n=20)[-1], 4),
                "samples": len(some),
            }
            for name, some in times.items()
        }
    return found


async def many_at_once(way: Way, payload: bytes, count: int) -> float:
    """Megabytes a second, there and back, with so many on their way."""
    began_s = time.perf_counter()
    for index in range(count + _MANY):
        if index >= _MANY:
            await way.came()
        if index < count:
            way.send(payload)
    return 2 * count * len(payload) / (time.perf_counter() - began_s) / 1e6


async def throughput(ways: Ways, samples: int) -> dict[str, object]:
    """Megabytes a second with many items at once."""
    found: dict[str, object] = {}
    for size in (100_000, 1_000_000):
        payload = os.urandom(size)
        rates: dict[str, list[float]] = {"hop": [], "raw": []}
        for _ in range(4):
            for name in rates:
                count = max(_MANY, min(samples, _SAMPLE_BYTES // size))
                rates[name].append(await many_at_once(ways.named()[name], payload, count))
        found[str(size)] = {name: round(statistics.median(some), 1) for name, some in rates.items()}
    return found


async def small_among_bulk(ways: Ways, samples: int) -> dict[str, object]:
    """What a small item takes there and back while two 8 MB ones wait or pass on a link of 100 Mbit/s, one way."""
    small, bulk = os.urandom(1_000), os.urandom(_BULK_BYTES)
    slow = Hop(shaper=Shaper(_SLOW_BIT_PER_S, 0.0))
    await slow.open(ways.hop.port, ways.hop.tls, CLOUD)
    pressing = asyncio.create_task(_press(slow.of("bulk"), bulk))
    await asyncio.sleep(0)
    times = [2.0 * await hop_ms(slow, small) for _ in range(samples // 6)]
    pressing.cancel()
    await asyncio.wait((pressing,))
    await slow.close()
    p50_ms, p95_ms = _middle_and_tail(times)
    return {"p50_ms": p50_ms, "p95_ms": p95_ms, "behind_one_ms": _BULK_BYTES * 8e3 / _SLOW_BIT_PER_S}


async def _press(way: Way, payload: bytes) -> None:
    for _ in range(2):
        way.send(payload)
    while True:
        await way.came()
        way.send(payload)


def _middle_and_tail(times: list[float]) -> tuple[float, float]:
    return round(statistics.median(times), 3), round(statistics.quantiles(times, n=20)[-1], 3)


def ratio(figures: dict[str, dict[str, float]], against: str) -> float:
    """How many times the other's p50 a hop takes."""
    return figures["hop"]["p50_ms"] / figures[against]["p50_ms"]


def print_latencies(name: str, found: dict[str, dict[str, dict[str, float]]]) -> list[bool]:
    """The table, and whether each bar is kept."""
    rows, kept = [], []
    for size in SIZES:
        figures = found[str(size)]
        bar = BARS.get(size)
        verdict = ""
        if bar is not None:
            kept.append(ratio(figures, "raw") <= bar)
            verdict = f"at most {bar:g}x: {'kept' if kept[-1] else 'MISSED'}"
            if size in AIMS:
                verdict += f" (aim {AIMS[size]:g}x: {'kept' if ratio(figures, 'raw') <= AIMS[size] else 'missed'})"
        rows.append(
            (
                f"{size / 1000:,.0f} kB",
                *(f"{figures[way]['p50_ms']:.3f} ({figures[way]['p95_ms']:.3f})" for way in WAYS),
                f"{ratio(figures, 'grpc'):.2f}x",
                f"{ratio(figures, 'raw'):.2f}x",
                f"{ratio(figures, 'streams'):.2f}x",
                verdict,
            )
        )
    print(f"\n{name}: ms a hop, p50 (p95)")
    header = ("payload", "hop", "gRPC", "raw socket", "raw, streams", "to gRPC", "to raw", "to streams", "bar")
    print(table(header, rows))
    return kept


async def measure_all(quick: bool) -> dict[str, object]:
    """Everything, in the clear and with mutual TLS."""
    samples = _SAMPLES // 3 if quick else _SAMPLES
    document: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        securities: dict[str, dict[str, Tls]] = {"in the clear": {}}
        if OPENSSL is None:
            print("no openssl program here: mutual TLS is left out", file=sys.stderr)
        else:
            securities["mutual TLS"] = make_certificates(Path(folder), BOX, CLOUD)
        for name, tls in securities.items():

            async def measure(ways: Ways) -> dict[str, object]:
                return {
                    "hop": await latencies(ways, samples),
                    "throughput_mb_per_s": await throughput(ways, samples),
                    "small_among_8_mb": await small_among_bulk(ways, samples),
                }

            found = await over(tls, measure)
            kept = print_latencies(name, found["hop"])  # type: ignore[arg-type]
            print(f"many at once, MB/s there and back: {json.dumps(found['throughput_mb_per_s'])}")
            print(f"1 kB while 8 MB ones pass at 100 Mbit/s: {json.dumps(found['small_among_8_mb'])}", flush=True)
            document[name] = {**found, "bars_kept": kept}
    return document


async def profile() -> None:
    """Where this end's time goes: 3,000 hops of 100 kB."""

    async def measure(ways: Ways) -> dict[str, object]:
        payload = os.urandom(100_000)
        profiler = cProfile.Profile()
        profiler.enable()
        for _ in range(3_000):
            await hop_ms(ways.hop, payload)
        profiler.disable()
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)
        return {}

    await over({}, measure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a third of the samples")
    parser.add_argument("--profile", action="store_true", help="where this end's time goes, and nothing else")
    options = parser.parse_args()
    logging.disable(logging.INFO)
    keep_freed_memory()
    if options.profile:
        asyncio.run(profile())
        return
    machine = {"cores": psutil.cpu_count(), "machine": platform.machine(), "python": platform.python_version()}
    print(json.dumps(machine))
    document = {"machine": machine, "results": asyncio.run(measure_all(options.quick))}
    print(json.dumps(document))


if __name__ == "__main__":
    main()
