"""Bounds on failed attempts, by where they come from.

Secrets have 256 bits, so this is not what keeps them from being guessed: it keeps one peer's errors from costing the
planner time, disk and log. Who has failed too often is refused whatever they bring, until a while has passed.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from urllib.parse import unquote

from circinus.clock import Clock
from circinus.errors import TooLarge

_PEERS = 10_000


class FailureLimiter:
    """So many failures at once from one peer, and one more every ``each_s``."""

    def __init__(self, clock: Clock, *, burst: int = 20, each_s: float = 3.0) -> None:
        self._clock = clock
        self._burst = burst
        self._each_s = each_s
        #: When a peer's failures would all be forgiven.
        self._until_s: OrderedDict[str, float] = OrderedDict()

    def check(self, peer: str) -> None:
        """Lets a peer try.

        Raises:
            TooLarge: it has failed too often.
        """
        if (waits_s := self._waits_s(peer)) > 0.0:
            raise TooLarge(
                f"{peer} has failed more than {self._burst} times, more often than once in {self._each_s:g} s: "
                f"wait {waits_s:.0f} s"
            )

    def has_room(self, peer: str) -> bool:
        """The same as an answer."""
        return self._waits_s(peer) <= 0.0

    def _waits_s(self, peer: str) -> float:
        return self._until_s.get(peer, 0.0) - self._clock.monotonic_s() - (self._burst - 1) * self._each_s

    def failed(self, peer: str) -> None:
        """A peer's attempt failed."""
        now_s = self._clock.monotonic_s()
        self._until_s[peer] = max(now_s, self._until_s.get(peer, 0.0)) + self._each_s
        self._until_s.move_to_end(peer)
        if len(self._until_s) > _PEERS:
            self._until_s.popitem(last=False)


def peer_name(peer: str) -> str:
    """Whom failures are counted for, of grpc's name of a peer: an IPv4 address, or the 64 bits of a site in IPv6."""
    kind, _, rest = unquote(peer).partition(":")
    host = rest.rpartition(":")[0].strip("[]")
    if kind not in ("ipv4", "ipv6"):
        return peer[:100]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host[:100]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)
