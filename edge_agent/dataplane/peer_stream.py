"""One stream to a peer, as whoever measures the link sees it."""

from __future__ import annotations

from edge_agent.dataplane.frames import padding_frame
from edge_agent.dataplane.peers import PeerLink
from edge_agent.dataplane.pipe import Pipe


class PeerStream:
    """While it lasts; afterwards it tells nothing and takes nothing."""

    def __init__(self, link: PeerLink, pipe: Pipe) -> None:
        self._link = link
        self._pipe = pipe

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""
        return self._link.idle

    def tcp_info(self) -> bytes:
        """The kernel's struct tcp_info; empty: it does not tell."""
        return self._pipe.tcp_info()

    def pad(self, size_bytes: int) -> bool:
        """Sends so many bytes that mean nothing; False: what was sent before has not left yet."""
        if not self._pipe.writable:
            return False
        self._pipe.put([padding_frame(size_bytes)])
        return True
