"""PURE. An emulated link: when what is sent now arrives.

The sender serialises: a message begins when the one before it is through, takes bytes x 8 / bandwidth, and
arrives half a round trip later. First in, first out, so arrival times never go back. What goes first is
chosen when the link is free (lanes.py).

A real link's rate is learnt from how long it takes what is written.
"""

from __future__ import annotations

from math import inf

from circinus.model.device import Link

MS_PER_S = 1000.0
_BITS_PER_BYTE = 8
#: A real link's rate is what it took over so long and so many bytes; it may be faster by so much than it seemed.
_SEEN_S = 0.5
_SEEN_BYTES = 256 * 1024
#: So many bytes are enough to correct what is believed, however quickly they went.
_SURE_BYTES = 4 * 1024 * 1024
_BELIEF_S = 5.0
_SMOOTHING = 0.3
_DOUBT_RATIO = 2.0


class Shaper:
    """The state of one direction of one link. ``bandwidth_bit_per_s`` 0: unlimited."""

    def __init__(self, bandwidth_bit_per_s: int, rtt_ms: float) -> None:
        self._bandwidth_bit_per_s = bandwidth_bit_per_s
        self._delay_s = rtt_ms / 2 / MS_PER_S
        self._free_at_s = 0.0

    @property
    def shapes(self) -> bool:
        """Whether anything is delayed."""
        return self._bandwidth_bit_per_s > 0 or self._delay_s > 0

    @property
    def rate_bytes_per_s(self) -> float:
        """What the link carries; inf: unlimited."""
        return self._bandwidth_bit_per_s / _BITS_PER_BYTE if self._bandwidth_bit_per_s else inf

    @property
    def delay_s(self) -> float:
        """Half a round trip."""
        return self._delay_s

    @property
    def free_at_s(self) -> float:
        """When the last message is through: the next one may begin."""
        return self._free_at_s

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


class LearntRate:
    """What a real link carries, from how long it took what was written. It is believed once it was seen for a while.

    And not for long: where nothing is sent because the link seems too slow, nothing would show that it no longer is.
    """

    def __init__(self) -> None:
        self._bytes = 0
        self._busy_s = 0.0
        self._rate_bytes_per_s = 0.0
        self._believed_until_s = 0.0

    def at_most_bytes_per_s(self, now_s: float) -> float:
        """A rate that the link surely does not exceed; inf: not known."""
        return self._rate_bytes_per_s * _DOUBT_RATIO if now_s < self._believed_until_s else inf

    def written(self, size_bytes: int, took_s: float, now_s: float) -> None:
        """A message of so many bytes was taken by the link in this time, until now."""
        self._bytes += size_bytes
        self._busy_s += took_s
        known = now_s < self._believed_until_s
        slow = self._busy_s >= _SEEN_S and self._bytes >= _SEEN_BYTES
        if slow or (known and self._bytes >= _SURE_BYTES):
            rate = self._bytes / max(self._busy_s, 1e-6)
            was = self._rate_bytes_per_s
            self._rate_bytes_per_s = was + _SMOOTHING * (rate - was) if known else rate
            self._believed_until_s = now_s + _BELIEF_S
            self._bytes, self._busy_s = 0, 0.0


def shaper_for(link: Link | None) -> Shaper:
    """The shaper of a link; one that delays nothing where the link is real, or not known."""
    if link is None or not link.emulated:
        return Shaper(0, 0.0)
    return Shaper(link.bandwidth_bit_per_s, link.rtt_ms)
