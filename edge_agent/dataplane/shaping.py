"""PURE. An emulated link: when what is sent now arrives.

The sender serialises: a message begins when the one before it is through, takes bytes x 8 / bandwidth, and
arrives half a round trip later. First in, first out, so arrival times never go back.
"""

from __future__ import annotations

from circinus.model.device import Link

MS_PER_S = 1000.0
_BITS_PER_BYTE = 8


class Shaper:
    """The state of one direction of one link. ``bandwidth_bit_per_s`` 0: unlimited."""

    def __init__(self, bandwidth_bit_per_s: int, rtt_ms: float) -> None:
        self._bandwidth_bit_per_s = bandwidth_bit_per_s
        self._delay_s = rtt_ms / 2 / MS_PER_S
        self._free_at_s = 0.0

    def arrival_s(self, size_bytes: int, now_s: float) -> float:
        """When a message of this size would arrive if it were sent now; nothing changes."""
        return self._through_at_s(size_bytes, now_s) + self._delay_s

    def send(self, size_bytes: int, now_s: float) -> float:
        """Sends a message of this size: takes its time on the link and gives its arrival."""
        self._free_at_s = self._through_at_s(size_bytes, now_s)
        return self._free_at_s + self._delay_s

    def _through_at_s(self, size_bytes: int, now_s: float) -> float:
        start_s = max(now_s, self._free_at_s)
        if self._bandwidth_bit_per_s == 0:
            return start_s
        return start_s + size_bytes * _BITS_PER_BYTE / self._bandwidth_bit_per_s


def shaper_for(link: Link | None) -> Shaper:
    """The shaper of a link; one that delays nothing where the link is real, or not known."""
    if link is None or not link.emulated:
        return Shaper(0, 0.0)
    return Shaper(link.bandwidth_bit_per_s, link.rtt_ms)
