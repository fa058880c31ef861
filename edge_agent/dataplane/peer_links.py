"""The ways to all peers of a device: one for each that was ever dialled or let in, up to a bound."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from circinus.clock import Clock
from circinus.errors import NotFound
from circinus.model.device import DeviceId, Link
from circinus.model.directive import Generation
from edge_agent.dataplane.item import Cause, Input, Outcome
from edge_agent.dataplane.peers import PeerLink
from edge_agent.dataplane.shaping import shaper_for

#: Peers that one device talks to at most.
_MAX_PEERS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkState:
    """How one way stands: whether there is a stream, what waits for it, and what was refused of what came."""

    up: bool
    waiting: int
    refused: int


class PeerLinks:
    """The ways of one device. ``on_lost`` and ``on_sent`` are as those of each."""

    def __init__(
        self,
        links: Mapping[DeviceId, Link],
        *,
        clock: Clock,
        on_lost: Callable[[Input, Cause], None],
        on_sent: Callable[[Input | Outcome, int], None],
    ) -> None:
        self._links = links
        self._clock = clock
        self._on_lost = on_lost
        self._on_sent = on_sent
        self._ways: dict[DeviceId, PeerLink] = {}

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._ways)

    def to(self, peer: DeviceId) -> PeerLink:
        """The way to a peer, made if there is none.

        Raises:
            NotFound: there are too many.
        """
        if peer not in self._ways:
            if len(self._ways) >= _MAX_PEERS:
                gone = next((one for one, link in self._ways.items() if not link.connected), None)
                if gone is None:
                    raise NotFound(f"there are {_MAX_PEERS} peers already, at most so many may be")
                del self._ways[gone]
            self._ways[peer] = PeerLink(
                peer,
                shaper=shaper_for(self._links.get(peer)),
                clock=self._clock,
                on_lost=self._on_lost,
                on_sent=self._on_sent,
            )
        return self._ways[peer]

    def send_input(self, peer: DeviceId, one: Input) -> Cause | None:
        """Sends an item; the cause if that can't be."""
        link = self._ways.get(peer)
        return Cause.LINK_DOWN if link is None else link.send_input(one)

    def send_outcome(self, peer: DeviceId, outcome: Outcome) -> bool:
        """Sends an outcome; False: it can't be."""
        link = self._ways.get(peer)
        return link is not None and link.send_outcome(outcome)

    def reached(self, peer: DeviceId) -> bool:
        """Whether there is a stream to a peer."""
        link = self._ways.get(peer)
        return link is not None and link.connected

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation wait to be sent."""
        return sum(link.count_older(than) for link in self._ways.values())

    def states(self) -> dict[DeviceId, LinkState]:
        """How each way stands, by peer."""
        return {
            peer: LinkState(up=link.connected, waiting=link.waiting, refused=link.refused)
            for peer, link in sorted(self._ways.items())
        }


__all__ = ["LinkState", "PeerLinks"]
