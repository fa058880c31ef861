"""The streams between devices: one bidirectional stream per pair, dialled by the one that can.

Both ends say who they are first, and what credit they grant (credit.py). A stream that breaks is dialled again with
back-off; meanwhile items for that peer fail at once and by name. TCP holds back a sender whose peer doesn't read.
pipe.py carries frames, frames.py makes and reads them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random

from circinus.clock import Clock
from circinus.errors import CircinusError, InvalidInput, NotAllowed, Unreachable
from circinus.events import debug, event, warning
from circinus.model.device import DeviceId
from circinus.model.directive import Peer
from circinus.retry import Backoff
from circinus.v1 import dataplane_pb2
from edge_agent.dataplane.credit import WINDOW_BYTES, WINDOW_ITEMS, Amount, Grants
from edge_agent.dataplane.frames import decode, hello_frame
from edge_agent.dataplane.inbound import Inbound, Receiver
from edge_agent.dataplane.item import MAX_ID_CHARS
from edge_agent.dataplane.peer_stream import PeerStream
from edge_agent.dataplane.peers import PeerLink
from edge_agent.dataplane.pipe import Pipe, check_name, dial_pipe, listen_for_pipes
from edge_agent.dataplane.pulse import SILENCE_S, Pulse
from edge_agent.identity.credentials import Credentials
from edge_agent.tasks import TaskSet

_HELLO_TIMEOUT_S = 5.0
_FIRST_BACKOFF_S = 0.2
_CAP_BACKOFF_S = 5.0
#: Connections that peers have dialled at most, those that did not say who they are included.
_MAX_DIALLED = 512


class Exchange:
    """All streams of one device.

    With ``credentials`` they are encrypted, a peer's name must be in its certificate, and only peers that ``admits``
    knows are let in.
    """

    def __init__(
        self,
        *,
        device_id: DeviceId,
        link_to: Callable[[DeviceId], PeerLink],
        receiver: Receiver,
        clock: Clock,
        rng: Random,
        on_change: Callable[[], None],
        credentials: Credentials | None = None,
        admits: Callable[[DeviceId], bool] = lambda _: True,
        silence_s: Callable[[DeviceId], float] = lambda _: SILENCE_S,
    ) -> None:
        """``silence_s``: a peer that was not heard of for so long is lost."""
        self._device_id = device_id
        self._link_to = link_to
        self._receiver = receiver
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._credentials = credentials
        self._admits = admits
        self._silence_s = silence_s
        self._server: asyncio.Server | None = None
        #: Connections that peers have dialled; empty until they said who they are.
        self._dialled: dict[Pipe, str] = {}
        self._streams: dict[DeviceId, PeerStream] = {}
        self._tasks = TaskSet()

    async def listen(self, address: str) -> int:
        """Answers peers that dial an address; port 0 takes a free one. Gives the port.

        Raises:
            InvalidInput: the address is not host:port, or not on loopback and connections would be in the clear.
            Unreachable: the port is taken.
        """
        self._server, port = await listen_for_pipes(address, self._credentials, self._opened)
        return port

    async def stop(self) -> None:
        """Listens no more, and ends the streams that peers dialled."""
        if self._server is not None:
            self._server.close()
        await self._tasks.stop()
        for pipe in self._dialled:  # whose task had not begun
            pipe.close()

    def streams(self) -> dict[DeviceId, PeerStream]:
        """The streams that there are now."""
        return dict(self._streams)

    def _opened(self, pipe: Pipe) -> None:
        if len(self._dialled) >= _MAX_DIALLED:
            pipe.close()
            return
        self._dialled[pipe] = ""
        self._tasks.spawn(self._serve(pipe), name="peer that dialled")

    async def _serve(self, pipe: Pipe) -> None:
        """Serves a peer that dialled."""
        try:
            async with asyncio.timeout(_HELLO_TIMEOUT_S):
                peer, granted = self._hello_of(await pipe.read())
                check_name(pipe, peer)
                self._check_admitted(peer)
                self._dialled[pipe] = peer
                link = self._link_to(peer)
                await pipe.write(self._hello())
            await self._run_stream(link, granted, pipe)
        except (CircinusError, TimeoutError) as error:
            reason = error if isinstance(error, CircinusError) else InvalidInput("no hello came")
            warning("peer_refused", reason=reason)
        finally:
            self._dialled.pop(pipe, None)
            pipe.close()

    def _check_admitted(self, peer: DeviceId) -> None:
        if self._credentials is not None and not self._admits(peer):
            raise NotAllowed(f"{peer} dials this device, and no directive here names it")

    def turn_out(self) -> None:
        """Ends the streams of peers that are not admitted any more."""
        for pipe, peer in self._dialled.items():
            if self._credentials is not None and peer and not self._admits(DeviceId(peer)):
                event("peer_turned_out", peer=peer)
                pipe.close()

    async def dial(self, peer: Peer) -> None:
        """Keeps a stream to a peer until it is cancelled."""
        backoff = Backoff(_FIRST_BACKOFF_S, _CAP_BACKOFF_S, self._rng)
        while True:
            try:
                await self._dial_once(peer, backoff.reset)
            except (CircinusError, OSError, TimeoutError) as error:
                warning("peer_lost", peer=peer.device_id, address=peer.address, reason=error or "it does not answer")
            await self._clock.sleep(backoff.next_s())

    async def _dial_once(self, peer: Peer, on_connected: Callable[[], None]) -> None:
        pipe = await dial_pipe(peer.address, self._credentials, peer.device_id)
        try:
            async with asyncio.timeout(_HELLO_TIMEOUT_S):
                await pipe.write(self._hello())
                answered, granted = self._hello_of(await pipe.read())
            if answered != peer.device_id:
                raise InvalidInput(f"at {peer.address} there is {answered!r}, not {peer.device_id!r}")
            on_connected()
            await self._run_stream(self._link_to(answered), granted, pipe)
            raise Unreachable("the stream ended")
        finally:
            pipe.close()

    async def _run_stream(self, link: PeerLink, granted: Amount, pipe: Pipe) -> None:
        """Sends and receives until the stream ends."""
        grants = Grants()
        inbound = Inbound(link, grants, self._receiver, self._clock)
        pulse = Pulse(pipe.write, self._clock, lambda: self._silence_s(link.peer))
        number = link.attach(granted, grants)
        stream = self._streams[link.peer] = PeerStream(link, pipe)
        event("peer_connected", peer=link.peer)
        self._on_change()
        try:
            # A sender that fails ends the reading, too: half a stream is none.
            async with asyncio.TaskGroup() as group:
                work = (link.pump(number, pulse.write, pipe), pulse.beat(), pulse.listen())
                tasks = [group.create_task(one) for one in work]
                try:
                    while (message := await pipe.read()) is not None:
                        pulse.heard()
                        inbound.receive(message)
                finally:
                    for task in tasks:
                        task.cancel()
        except* CircinusError as errors:
            debug("stream_broken", peer=link.peer, reason=errors.exceptions[0])
        finally:
            if self._streams.get(link.peer) is stream:
                del self._streams[link.peer]
            link.detach(number)
            self._on_change()

    def _hello_of(self, message: bytes | bytearray | None) -> tuple[DeviceId, Amount]:
        """Who a peer is, and the credit that it grants."""
        if message is None:
            raise Unreachable("the peer hung up before it said who it is")
        hello = decode(message).hello
        if hello is None:
            raise InvalidInput("the first message is not a hello")
        if not hello.device_id or len(hello.device_id) > MAX_ID_CHARS or hello.device_id == self._device_id:
            raise InvalidInput(f"a peer can't be called {hello.device_id[:MAX_ID_CHARS]!r}")
        return DeviceId(hello.device_id), Amount(size_bytes=hello.window_bytes, items=hello.window_items)

    def _hello(self) -> list[bytes | memoryview]:
        hello = dataplane_pb2.PeerHello(device_id=self._device_id, window_bytes=WINDOW_BYTES, window_items=WINDOW_ITEMS)
        return [hello_frame(hello)]
