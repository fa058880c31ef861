"""The streams between devices with identities: who is let in, what a renewal changes, where one may listen."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from identity_fakes import DAY, Root

from circinus.clock import SystemClock
from circinus.errors import InvalidInput, Unreachable
from circinus.model.directive import Peer
from circinus.v1 import dataplane_pb2
from edge_agent.dataplane.credit import WINDOW_BYTES, WINDOW_ITEMS
from edge_agent.dataplane.exchange import Exchange
from edge_agent.dataplane.frames import hello_frame
from edge_agent.dataplane.peers import PeerLink
from edge_agent.dataplane.pipe import Pipe, dial_pipe, listen_for_pipes
from edge_agent.dataplane.reached import reached_at
from edge_agent.dataplane.shaping import Shaper
from edge_agent.identity.credentials import Credentials


class End:
    """One device's streams; ``named``: those that its directives name."""

    def __init__(self, name: str, credentials: Credentials | None) -> None:
        self.name = name
        self.named: set[str] = set()
        self.links: dict[str, PeerLink] = {}
        self.changed = asyncio.Event()
        self.dialling: list[asyncio.Task[None]] = []
        self.exchange = Exchange(
            device_id=name,
            link_to=self.link_to,
            receiver=self,
            clock=SystemClock(),
            rng=Random(1),
            on_change=self.changed.set,
            credentials=credentials,
            admits=self.named.__contains__,
        )

    def link_to(self, peer):
        if peer not in self.links:
            self.links[peer] = PeerLink(
                peer, shaper=Shaper(0, 0.0), clock=SystemClock(), on_lost=lambda one, cause: None
            )
        return self.links[peer]

    def receive_input(self, one, peer):
        raise AssertionError("no item was sent")

    def receive_outcome(self, outcome, peer):
        raise AssertionError("no outcome was sent")

    def connected(self, name: str) -> bool:
        return name in self.links and self.links[name].connected

    async def until(self, condition) -> None:
        async with asyncio.timeout(20.0):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def dial(self, name: str, address: str) -> None:
        self.dialling.append(asyncio.create_task(self.exchange.dial(Peer(device_id=name, address=address))))

    async def stop(self) -> None:
        for task in self.dialling:
            task.cancel()
        if self.dialling:
            await asyncio.wait(self.dialling)
        await self.exchange.stop()


@pytest.fixture
async def ends(root: Root):
    made = {name: End(name, Credentials(root.tls(name))) for name in ("cloud", "box")}
    yield made["cloud"], made["box"]
    for end in made.values():
        await end.stop()


async def test_a_peer_is_let_in_when_a_directive_names_it_and_let_go_when_none_does(ends):
    cloud, box = ends
    address = f"127.0.0.1:{await cloud.exchange.listen('127.0.0.1:0')}"
    pipe = await dial_pipe(address, box.exchange._credentials, "cloud")
    await pipe.write([hello("box")])
    assert await pipe.read() is None
    pipe.close()
    assert "box" not in cloud.links
    cloud.named.add("box")
    box.dial("cloud", address)
    await box.until(lambda: box.connected("cloud"))
    cloud.exchange.turn_out()
    await asyncio.sleep(0)
    assert cloud.connected("box")
    cloud.named.clear()
    cloud.exchange.turn_out()
    await cloud.until(lambda: not cloud.connected("box"))
    await box.until(lambda: not box.connected("cloud"))


async def test_a_name_that_is_not_in_the_certificate_is_not_believed(ends):
    cloud, box = ends
    cloud.named.add("somebody")
    address = f"127.0.0.1:{await cloud.exchange.listen('127.0.0.1:0')}"
    pipe = await dial_pipe(address, box.exchange._credentials, "cloud")
    await pipe.write([hello("somebody")])
    assert await pipe.read() is None
    pipe.close()
    assert cloud.links == {}


async def test_a_renewed_certificate_is_shown_to_who_dials_next_and_streams_that_stand_are_left(root: Root):
    over = Credentials(root.tls("cloud", begins=-2 * DAY, ends=-DAY))
    opened: list[Pipe] = []
    server, port = await listen_for_pipes("127.0.0.1:0", over, opened.append)
    box = Credentials(root.tls("box"))
    try:
        with pytest.raises(Unreachable, match="expired"):
            await dial_pipe(f"127.0.0.1:{port}", box, "cloud")
        over.renew(root.tls("cloud"))
        pipe = await dial_pipe(f"127.0.0.1:{port}", box, "cloud")
        await pipe.write([b"one"])
        # Both renew again; what stands is not touched.
        over.renew(root.tls("cloud"))
        box.renew(root.tls("box"))
        other = await dial_pipe(f"127.0.0.1:{port}", box, "cloud")
        await pipe.write([b"two"])
        assert [bytes(await opened[0].read()), bytes(await opened[0].read())] == [b"one", b"two"]
        pipe.close()
        other.close()
    finally:
        for one in opened:
            one.close()
        server.close()


async def test_who_dials_with_a_certificate_that_is_over_is_not_let_in(root: Root):
    opened: list[Pipe] = []
    server, port = await listen_for_pipes("127.0.0.1:0", Credentials(root.tls("cloud")), opened.append)
    box = Credentials(root.tls("box", begins=-2 * DAY, ends=-DAY))
    try:
        pipe = await dial_pipe(f"127.0.0.1:{port}", box, "cloud")
        # With TLS 1.3 the one who dials learns of it with the first thing that it reads.
        assert await pipe.read() is None
        assert opened == []
    finally:
        server.close()


@pytest.mark.parametrize("address", ["192.0.2.1:7000", "0.0.0.0:0"])
async def test_in_the_clear_there_is_nothing_but_this_machine(address):
    with pytest.raises(InvalidInput, match="not on loopback"):
        await dial_pipe(address, None, "")
    with pytest.raises(InvalidInput, match="not on loopback"):
        await listen_for_pipes(address, None, lambda _: None)


async def test_with_an_identity_a_device_may_listen_on_every_address(root: Root):
    server, port = await listen_for_pipes("0.0.0.0:0", Credentials(root.tls("cloud")), lambda _: None)
    server.close()
    assert port > 0


async def test_many_handshakes_at_once_leave_the_loop_to_others(root: Root):
    opened: list[Pipe] = []
    server, port = await listen_for_pipes("127.0.0.1:0", Credentials(root.tls("cloud")), opened.append)
    box = Credentials(root.tls("box"))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(others())
    pipes = await asyncio.gather(*(dial_pipe(f"127.0.0.1:{port}", box, "cloud") for _ in range(40)))
    beside.cancel()
    # However many come at once, a turn of the loop takes on a few.
    assert turns > 10
    for pipe in pipes:
        pipe.close()
    for pipe in opened:
        pipe.close()
    server.close()


def hello(name: str) -> bytes:
    return hello_frame(dataplane_pb2.PeerHello(device_id=name, window_bytes=WINDOW_BYTES, window_items=WINDOW_ITEMS))


@pytest.mark.parametrize(
    ("listens_on", "planner", "told"),
    [
        ("", "192.0.2.1:7400", ""),
        ("10.0.0.7:7500", "192.0.2.1:7400", "10.0.0.7:7500"),
        ("box.example:7500", "192.0.2.1:7400", "box.example:7500"),
        ("0.0.0.0:7500", "127.0.0.1:7400", "127.0.0.1:7500"),
        ("0.0.0.0:7500", "no-such-name.invalid:7400", ""),
    ],
)
def test_peers_are_told_where_a_box_that_listens_everywhere_is(listens_on, planner, told):
    assert reached_at(listens_on, planner) == told
