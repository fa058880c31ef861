"""Links are measured gently: from what is sent anyway, and seldom by a burst."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from functools import cache
from pathlib import Path
from random import Random

import pytest

from circinus.model.device import DeviceId, Link, SiteId, Tier
from edge_agent.config import AgentConfig, parse_config
from edge_agent.dataplane.frames import decode, padding_frame
from edge_agent.dataplane.pipe import dial_pipe, listen_for_pipes
from edge_agent.fingerprint.device import take_fingerprint
from edge_agent.fingerprint.links import LinkMeter, burst
from edge_agent.fingerprint.settings import FingerprintSettings
from edge_agent.fingerprint.tcp import figures_to, read_figures

pytestmark = pytest.mark.slow

CLOUD = DeviceId("cloud")


class Time:
    """A clock that goes only when somebody sleeps."""

    def __init__(self):
        self.now_s = 0.0

    def monotonic_s(self):
        return self.now_s

    async def sleep(self, seconds):
        self.now_s += seconds
        await asyncio.sleep(0)


def info(*, rtt_ms=0.0, acked=0, rate_bit_per_s=0.0, limited=False, held_us=0):
    """A struct tcp_info."""
    data = bytearray(232)
    data[7] = 1 if limited else 0
    struct.pack_into("=I", data, 68, round(rtt_ms * 1000))
    struct.pack_into("=Q", data, 120, acked)
    struct.pack_into("=I", data, 148, round(rtt_ms * 1000))
    struct.pack_into("=Q", data, 160, round(rate_bit_per_s / 8))
    struct.pack_into("=Q", data, 176, held_us)
    return bytes(data)


class Wire:
    """A stream over a link of this bandwidth; what is padded arrives as the clock goes."""

    def __init__(self, clock, bit_per_s, *, rtt_ms=20.0, tells_rate=True):
        self.clock = clock
        self.bytes_per_s = bit_per_s / 8
        self.rtt_ms = rtt_ms
        self.tells_rate = tells_rate
        self.idle = True
        self.padded = 0
        self.through_s = 0.0
        self.under_way = deque()
        self.acked = 1
        self.most_queued_s = 0.0

    def pad(self, size_bytes):
        self.padded += size_bytes
        now_s = self.clock.monotonic_s()
        self.through_s = max(self.through_s, now_s) + size_bytes / self.bytes_per_s
        self.most_queued_s = max(self.most_queued_s, self.through_s - now_s)
        self.under_way.append((self.through_s + self.rtt_ms / 1000, size_bytes))
        return True

    def tcp_info(self):
        now_s = self.clock.monotonic_s()
        while self.under_way and self.under_way[0][0] <= now_s:
            self.acked += self.under_way.popleft()[1]
        rate = self.bytes_per_s * 8 if self.tells_rate and self.padded > 200_000 else 0.0
        return info(rtt_ms=self.rtt_ms, acked=self.acked, rate_bit_per_s=rate, limited=rate == 0.0)


def config(links, **changes):
    return AgentConfig(
        device_id=DeviceId("box"),
        planner="127.0.0.1:1",
        state_dir=Path("/nonexistent"),
        tier=Tier.EDGE,
        site=SiteId("shop"),
        links=links,
        **changes,
    )


LINK = Link(peer=CLOUD, bandwidth_bit_per_s=0, rtt_ms=0.0)
BOTH = FingerprintSettings(rtt_of=frozenset({CLOUD}), bandwidth_of=frozenset({CLOUD}))


def meter(clock, settings=BOTH):
    return LinkMeter(settings, "127.0.0.1:1", clock)


@cache
def fingerprint():
    return take_fingerprint(config((LINK,)))


def told(one):
    device = one.apply(fingerprint())
    return device.links[0], device.measured_peers


async def look(one, clock, stream, times, every_s=30.0):
    for _ in range(times):
        await one.look({CLOUD: stream} if stream is not None else {})
        clock.now_s += every_s


async def test_a_round_trip_is_told_after_some_looks_and_costs_nothing():
    clock = Time()
    one, wire = meter(clock), Wire(clock, 1e8)
    await look(one, clock, wire, 2)
    assert told(one) == (LINK, ())
    await look(one, clock, wire, 3)
    assert told(one)[0].rtt_ms == 20.0
    assert told(one)[1] == (CLOUD,)
    assert wire.padded == 0


async def test_a_bandwidth_comes_from_one_burst_in_hours():
    clock = Time()
    one, wire = meter(clock), Wire(clock, 2e7)
    await look(one, clock, wire, 10)
    assert wire.padded == 0  # the link is only just up
    await look(one, clock, wire, 100)
    assert 0 < wire.padded <= BOTH.burst_bytes
    assert told(one)[0].bandwidth_bit_per_s == pytest.approx(2e7, rel=0.1)
    before = wire.padded
    await look(one, clock, wire, 500)
    assert wire.padded == before
    await look(one, clock, wire, 300)
    assert before < wire.padded <= 2 * BOTH.burst_bytes


async def test_what_is_sent_anyway_spares_the_burst():
    clock = Time()
    one = meter(clock)

    class Busy:
        idle = False
        acked = 0

        def tcp_info(self):
            self.acked += 10_000_000
            return info(rtt_ms=5.0, acked=self.acked, rate_bit_per_s=4e7)

        def pad(self, size_bytes):
            raise AssertionError("a burst although there is traffic")

    await look(one, clock, Busy(), 100)
    assert told(one)[0].bandwidth_bit_per_s == 4e7


async def test_a_receiver_that_holds_back_says_nothing_of_the_link():
    clock = Time()
    one = meter(clock)

    class Held:
        idle = True
        count = 0

        def tcp_info(self):
            self.count += 1
            return info(rtt_ms=5.0, acked=self.count, rate_bit_per_s=1e5, held_us=self.count)

        def pad(self, size_bytes):
            raise AssertionError

    await look(one, clock, Held(), 15)
    # The very first look can't tell.
    assert told(one)[0].bandwidth_bit_per_s == 0


async def test_a_link_that_is_as_good_as_unlimited_is_not_told():
    clock = Time()
    one, wire = meter(clock), Wire(clock, 4e9)
    await look(one, clock, wire, 100)
    assert told(one)[0].bandwidth_bit_per_s == 0


@pytest.mark.parametrize("bit_per_s", [1e6, 5e6, 2e7, 1e8])
@pytest.mark.parametrize("tells_rate", [True, False])
async def test_a_burst_finds_the_rate_and_holds_the_link_for_a_moment_only(bit_per_s, tells_rate):
    clock = Time()
    wire = Wire(clock, bit_per_s, rtt_ms=10.0, tells_rate=tells_rate)
    begun_s = clock.now_s
    found = await burst(wire, 1024 * 1024, clock)
    assert found == pytest.approx(bit_per_s, rel=0.6 if bit_per_s > 5e7 and not tells_rate else 0.35)
    assert wire.padded <= 1024 * 1024
    assert clock.now_s - begun_s < 2.1
    assert wire.most_queued_s < 0.6


async def test_an_item_that_waits_ends_a_burst():
    clock = Time()
    wire = Wire(clock, 1e7)
    real = wire.pad

    def pad(size_bytes):
        wire.idle = False
        return real(size_bytes)

    wire.pad = pad
    await burst(wire, 1024 * 1024, clock)
    assert wire.padded == 16 * 1024


async def test_a_kernel_that_tells_nothing_is_not_asked_twice():
    clock = Time()

    class Mute:
        idle = True

        def tcp_info(self):
            return b""

        def pad(self, size_bytes):
            raise AssertionError

    one = meter(clock)
    await look(one, clock, Mute(), 100)
    assert told(one) == (LINK, ())
    assert await burst(Mute(), 1000, clock) == 0.0


async def test_what_was_measured_outlives_a_restart(tmp_path):
    clock, file = Time(), tmp_path / "links.json"
    one, wire = LinkMeter(BOTH, "127.0.0.1:1", clock, file=file), Wire(clock, 2e7)
    await look(one, clock, wire, 100)
    before = told(one)
    assert before[0] != LINK
    again = LinkMeter(BOTH, "127.0.0.1:1", clock, file=file)
    assert told(again) == before
    # What the configuration says by now stands.
    assert told(LinkMeter(FingerprintSettings(), "127.0.0.1:1", clock, file=file)) == (LINK, ())


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"cloud": 7}', '{"cloud": {"rtt_ms": -1, "bandwidth_bit_per_s": "x"}}', '{"cloud": {"rtt_ms": NaN}}'],
)
async def test_a_file_that_is_none_says_nothing(tmp_path, text):
    file = tmp_path / "links.json"
    file.write_text(text)
    assert told(LinkMeter(BOTH, "127.0.0.1:1", Time(), file=file)) == (LINK, ())


async def test_a_disk_that_takes_nothing_is_borne(tmp_path):
    clock = Time()
    one = LinkMeter(BOTH, "127.0.0.1:1", clock, file=tmp_path / "no folder" / "links.json")
    await look(one, clock, Wire(clock, 2e7), 10)
    assert told(one)[0].rtt_ms == 20.0


async def test_noise_on_a_link_is_told_once():
    clock, rng, seen = Time(), Random(3), set()
    one = meter(clock)

    class Noisy:
        idle = False
        acked = 0

        def tcp_info(self):
            self.acked += 10_000_000
            return info(rtt_ms=30 * rng.uniform(1, 1.2), acked=self.acked, rate_bit_per_s=1e7 * rng.uniform(0.85, 1.15))

        def pad(self, size_bytes):
            raise AssertionError

    stream = Noisy()
    for _ in range(80):
        await look(one, clock, stream, 1)
        seen.add(told(one)[0])
    assert len(seen) <= 4  # each figure goes from unknown to known once


def test_only_what_the_configuration_leaves_out_of_real_links_is_measured():
    text = """
device_id = "box"
state_dir = "s"
tier = "edge"
[[links]]
peer = "a"
[[links]]
peer = "b"
rtt_ms = 3.0
[[links]]
peer = "c"
bandwidth_mbit_per_s = 5
[[links]]
peer = "d"
emulated = true
"""
    settings = parse_config(text).fingerprint
    assert settings.rtt_of == {"a", "c"}
    assert settings.bandwidth_of == {"a", "b"}
    off = parse_config(text + "[fingerprint]\nmeasure_links = false").fingerprint
    assert off.rtt_of == off.bandwidth_of == frozenset()


def test_the_kernels_figures_of_a_real_connection():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as ours, server.accept()[0] as theirs:
            ours.sendall(b"x" * 1000)
            assert theirs.recv(10)
            figures = read_figures(ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256))
            assert figures is None or 0.0 < figures.rtt_ms < 1000.0
            for one in figures_to("127.0.0.1", port):  # none where the kernel has no list of sockets
                assert 0.0 <= one.rtt_ms < 1000.0
    assert figures_to("no such host.", 1) == ()


@pytest.mark.parametrize("data", [b"", b"\0" * 160])
def test_an_older_kernel_tells_nothing(data):
    assert read_figures(data) is None


@pytest.mark.parametrize("size", [100, 16 * 1024])
def test_padding_means_nothing_to_whoever_gets_it(size):
    frame = decode(padding_frame(size))
    assert (frame.hello, frame.items, frame.outcomes, list(frame.credits), frame.chunks) == (None, [], [], [], [])


async def test_padding_crosses_a_real_pipe():
    opened = asyncio.Queue()
    server, port = await listen_for_pipes("127.0.0.1:0", None, opened.put_nowait)
    try:
        ours = await dial_pipe(f"127.0.0.1:{port}", None, "cloud")
        theirs = await opened.get()
        ours.put([padding_frame(20_000)])
        assert decode(await theirs.read()).items == []
        figures = read_figures(ours.tcp_info())
        assert figures is None or figures.rtt_ms > 0.0
        ours.close()
        theirs.close()
    finally:
        server.close()
        await server.wait_closed()
    await asyncio.sleep(0)
    assert ours.tcp_info() == b""
