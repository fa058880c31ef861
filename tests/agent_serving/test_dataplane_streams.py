"""Streams between devices, over real sockets: what goes through, what is refused, and that nobody blocks another."""

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from test_dataplane_book import outcome
from test_dataplane_sending import an_input

from circinus.channel import Tls
from circinus.clock import SystemClock
from circinus.errors import InvalidInput, Unreachable
from circinus.model.device import DeviceId
from circinus.model.directive import Peer
from circinus.model.query import QueryId
from circinus.v1 import dataplane_pb2
from edge_agent.dataplane.credit import WINDOW_BYTES, WINDOW_ITEMS
from edge_agent.dataplane.exchange import Exchange
from edge_agent.dataplane.frames import Parts, add_item, decode, hello_frame
from edge_agent.dataplane.item import Cause, Input, Outcome
from edge_agent.dataplane.messages import item_header
from edge_agent.dataplane.peers import PeerLink
from edge_agent.dataplane.pipe import MAX_FRAME_BYTES, Pipe, dial_pipe
from edge_agent.dataplane.shaping import Shaper
from edge_agent.identity.credentials import Credentials

MIB = 1024 * 1024
CERTIFICATES = Path(__file__).resolve().parents[2] / "benchmarks" / "hop_certificates.py"
_spec = importlib.util.spec_from_file_location("hop_certificates", CERTIFICATES)
assert _spec is not None
assert _spec.loader is not None
certificates = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(certificates)


class Device:
    """One end: an exchange, its links, and what came."""

    def __init__(self, name: str, tls: Tls | None = None) -> None:
        self.name = DeviceId(name)
        self.links: dict[DeviceId, PeerLink] = {}
        self.inputs: list[Input] = []
        self.outcomes: list[Outcome] = []
        self.lost: list[tuple[str, Cause]] = []
        self.sent_bytes = 0
        #: Peers whose items are held: their credit does not go back.
        self.holds: set[str] = set()
        self.held: list[asyncio.Future[None]] = []
        self.port = 0
        self._changed = asyncio.Event()
        self._dialling: list[asyncio.Task[None]] = []
        self.exchange = Exchange(
            device_id=self.name,
            link_to=self.link_to,
            receiver=self,
            clock=SystemClock(),
            rng=Random(1),
            on_change=self._changed.set,
            credentials=None if tls is None else Credentials(tls),
        )

    def link_to(self, peer: DeviceId) -> PeerLink:
        if peer not in self.links:
            self.links[peer] = PeerLink(
                peer,
                shaper=Shaper(0, 0.0),
                clock=SystemClock(),
                on_lost=lambda one, cause: self.lost.append((one.request_id, cause)),
                on_sent=self._sent,
            )
        return self.links[peer]

    def receive_input(self, one: Input, peer: DeviceId) -> asyncio.Future[None] | None:
        self.inputs.append(one)
        self._changed.set()
        if peer not in self.holds:
            return None
        self.held.append(asyncio.get_running_loop().create_future())
        return self.held[-1]

    def receive_outcome(self, outcome: Outcome, peer: DeviceId) -> None:
        self.outcomes.append(outcome)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10.0):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def dial(self, other: "Device", name: str = "") -> None:
        peer = Peer(device_id=DeviceId(name or other.name), address=f"127.0.0.1:{other.port}")
        self._dialling.append(asyncio.create_task(self.exchange.dial(peer)))

    async def connect(self, other: "Device") -> PeerLink:
        self.dial(other)
        await self.until(lambda: other.name in self.links and self.links[other.name].connected)
        return self.links[other.name]

    async def stop(self) -> None:
        for task in self._dialling:
            task.cancel()
        if self._dialling:
            await asyncio.wait(self._dialling)
        await self.exchange.stop()

    def _sent(self, message: Input | Outcome, size_bytes: int) -> None:
        self.sent_bytes += size_bytes


@asynccontextmanager
async def devices(*names: str, tls: dict[str, Tls] | None = None) -> AsyncIterator[list[Device]]:
    """Devices that listen, the first of them for the others."""
    made = [Device(name, None if tls is None else tls[name]) for name in names]
    try:
        for one in made:
            one.port = await one.exchange.listen("127.0.0.1:0")
        yield made
    finally:
        for one in reversed(made):
            await one.stop()


async def a_stranger(device: Device, name: str = "stranger") -> Pipe:
    """A peer that speaks for itself, connected to a device; it reads nothing after the hello."""
    pipe = await dial_pipe(f"127.0.0.1:{device.port}", None, "")
    await pipe.write([hello(name)])
    async with asyncio.timeout(5.0):
        answered = await pipe.read()
    assert answered is not None
    assert decode(answered).hello is not None
    return pipe


def hello(name: str) -> bytes:
    window = dataplane_pb2.PeerHello(device_id=name, window_bytes=WINDOW_BYTES, window_items=WINDOW_ITEMS)
    return hello_frame(window)


def of(query: str, request_id: str, size_bytes: int = 100) -> Input:
    return replace(an_input(request_id, payload=bytes(size_bytes)), query_id=QueryId(query))


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tls]:
    if certificates.OPENSSL is None:
        pytest.skip("no openssl program to make certificates with")
    made: dict[str, Tls] = certificates.make_certificates(tmp_path_factory.mktemp("tls"), "box", "cloud")
    return made


@pytest.mark.parametrize("encrypted", [False, True])
async def test_items_and_outcomes_cross_in_both_directions(encrypted: bool, trusted: dict[str, Tls]) -> None:
    async with devices("cloud", "box", tls=trusted if encrypted else None) as (cloud, box):
        link = await box.connect(cloud)
        payloads = [b"", b"x", bytes(70_000), bytes(range(256)) * 20_000]
        for number, payload in enumerate(payloads):
            assert link.send_input(an_input(f"up{number}", payload=payload)) is None
        await cloud.until(lambda: len(cloud.inputs) == len(payloads))
        assert {one.request_id: one.payload for one in cloud.inputs} == {
            f"up{number}": payload for number, payload in enumerate(payloads)
        }
        back = cloud.links[DeviceId("box")]
        assert back.send_outcome(replace(outcome("said"), payload=payloads[-1]))
        assert back.send_input(an_input("down")) is None
        await box.until(lambda: bool(box.outcomes and box.inputs))
        assert box.outcomes[0].payload == payloads[-1]
        assert box.sent_bytes == sum(map(len, payloads))


async def test_credit_comes_back_without_other_traffic() -> None:
    async with devices("cloud", "box") as (cloud, box):
        link = await box.connect(cloud)
        link.send_input(an_input())
        async with asyncio.timeout(5.0):
            while link.outstanding.items or not cloud.inputs:  # noqa: ASYNC110 - nobody tells when
                await asyncio.sleep(0.005)


async def test_an_operator_that_holds_its_items_blocks_neither_other_queries_nor_peers_nor_outcomes() -> None:
    async with devices("cloud", "slow", "quick") as (cloud, slow, quick):
        cloud.holds.add("slow")
        held, free = await slow.connect(cloud), await quick.connect(cloud)
        for number in range(12):
            held.send_input(of("q1", f"held{number}", 4 * MIB))
        await cloud.until(lambda: len(cloud.inputs) == 4)  # a quarter of the window
        cloud.holds.clear()
        for number in range(5):
            assert free.send_input(of("q1", f"free{number}", 4 * MIB)) is None
        assert held.send_input(of("q2", "other")) is None
        assert held.send_outcome(outcome("said"))
        await cloud.until(lambda: len(cloud.inputs) == 10 and bool(cloud.outcomes))
        assert [one.request_id for one in cloud.inputs if one.request_id.startswith("held")] == [
            f"held{number}" for number in range(4)
        ]
        for future in cloud.held:
            future.set_result(None)
        await cloud.until(lambda: len(cloud.inputs) == 18)


async def test_a_peer_that_does_not_read_blocks_nobody_else() -> None:
    async with devices("cloud", "box") as (cloud, box):
        stranger = await a_stranger(cloud)
        await box.connect(cloud)
        stuck = cloud.links[DeviceId("stranger")]
        for number in range(15):
            assert stuck.send_input(of(f"q{number}", f"stuck{number}", 4 * MIB)) is None
        back = cloud.links[DeviceId("box")]
        for number in range(5):
            assert back.send_input(of("q1", f"free{number}", 4 * MIB)) is None
        await box.until(lambda: len(box.inputs) == 5)
        assert cloud.sent_bytes < 60 * MIB
        stranger.close()
        await cloud.until(lambda: not stuck.connected)
        assert {cause for _, cause in cloud.lost} == {Cause.LINK_DOWN}


async def test_a_sender_that_dies_half_way_leaves_nothing() -> None:
    async with devices("cloud") as (cloud,):
        stranger = await a_stranger(cloud)
        link = cloud.links[DeviceId("stranger")]
        parts: Parts = []
        add_item(parts, item_header(an_input("half", payload=bytes(2 * MIB)), 0.0, 1), bytes(MIB))
        await stranger.write(parts)
        stranger.close()
        await cloud.until(lambda: not link.connected)
        again = await a_stranger(cloud)
        await again.write([b"".join(whole("again"))])
        await cloud.until(lambda: bool(cloud.inputs))
        assert [one.request_id for one in cloud.inputs] == ["again"]
        again.close()


async def test_a_hostile_peer_is_refused_and_the_streams_of_others_go_on() -> None:
    async with devices("cloud", "box") as (cloud, box):
        link = await box.connect(cloud)
        stranger = await a_stranger(cloud)
        hostile = cloud.links[DeviceId("stranger")]
        await stranger.write([b"\xff" * 50])
        for number in range(70):  # more open payloads than may be
            parts: Parts = []
            one = of(f"q{number}", f"open{number}", 10_000)
            add_item(parts, item_header(one, 0.0, number + 1), bytes(5_000))
            await stranger.write(parts)
        await stranger.write([b"".join(whole("end"))])
        await cloud.until(lambda: bool(cloud.inputs))
        assert hostile.refused == 7
        assert hostile.connected
        too_long = await dial_pipe(f"127.0.0.1:{cloud.port}", None, "")
        await too_long.write([bytes(MAX_FRAME_BYTES + 1)])
        assert await too_long.read() is None
        for first in (b"", b"\x00" * 20, hello("cloud"), hello("x" * 300), b"".join(whole("no hello"))):
            pipe = await dial_pipe(f"127.0.0.1:{cloud.port}", None, "")
            await pipe.write([first])
            async with asyncio.timeout(5.0):
                assert await pipe.read() is None
        assert link.send_input(an_input("still there")) is None
        await cloud.until(lambda: any(one.request_id == "still there" for one in cloud.inputs))
        stranger.close()


async def test_with_tls_a_peer_is_who_its_certificate_says(trusted: dict[str, Tls], tmp_path: Path) -> None:
    others: dict[str, Tls] = certificates.make_certificates(tmp_path, "box", "cloud")
    async with devices("cloud", "box", tls=trusted) as (cloud, box):
        address = f"127.0.0.1:{cloud.port}"
        with pytest.raises(Unreachable):
            # The certificate at the other end is the cloud's.
            await dial_pipe(address, Credentials(trusted["box"]), "another")
        with pytest.raises(Unreachable):
            await dial_pipe(address, Credentials(others["box"]), "cloud")  # whose root is not trusted
        unknown = await dial_pipe(address, Credentials(replace(others["box"], root=trusted["box"].root)), "cloud")
        in_the_clear = await dial_pipe(address, None, "")
        somebody = await dial_pipe(address, Credentials(trusted["box"]), "cloud")
        await somebody.write([hello("somebody-else")])
        async with asyncio.timeout(5.0):
            assert await unknown.read() is None  # not signed by whom the cloud trusts
            assert await somebody.read() is None
        in_the_clear.close()
        assert not cloud.links
        await box.connect(cloud)
        assert cloud.links[DeviceId("box")].connected
    assert "PRIVATE" not in repr(trusted["box"])


async def test_another_device_at_the_address_is_not_mistaken_for_the_peer() -> None:
    async with devices("cloud", "box") as (cloud, box):
        box.dial(cloud, "elsewhere")
        await cloud.until(lambda: DeviceId("box") in cloud.links and not cloud.links[DeviceId("box")].connected)
        assert not box.links


async def test_only_loopback_is_dialled_and_listened_on() -> None:
    with pytest.raises(InvalidInput, match="loopback"):
        await dial_pipe("192.0.2.1:7000", None, "")
    with pytest.raises(InvalidInput, match="loopback"):
        await Device("box").exchange.listen("0.0.0.0:0")
    async with devices("cloud") as (cloud,):
        with pytest.raises(Unreachable, match="taken"):
            await Device("box").exchange.listen(f"127.0.0.1:{cloud.port}")


def whole(request_id: str) -> Parts:
    parts: Parts = []
    add_item(parts, item_header(an_input(request_id), 0.0), b"x")
    return parts
