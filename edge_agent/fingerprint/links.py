"""Round trips and bandwidths of real links, gently: from connections that are there and what they send anyway.

The kernel's figures of each connection are looked at now and then. Only where they say nothing of a bandwidth, since
nothing large is sent, a short burst of padding is: of bounded size and time, while nothing waits, once in some hours.
What the configuration says of a link is not measured, and emulated links never are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from circinus.clock import Clock
from circinus.events import event
from circinus.model.device import Device, DeviceId
from edge_agent.fingerprint.damping import Damped
from edge_agent.fingerprint.links_file import LinkFigures, keep_links, read_links
from edge_agent.fingerprint.settings import FingerprintSettings
from edge_agent.fingerprint.tcp import TcpFigures, figures_to, read_figures

#: A faster link than this is as good as one without a limit, and what is measured of it is rather the machine.
_AS_GOOD_AS_UNLIMITED_BIT_PER_S = 1e9
#: Round trips that differ by less are no reason to plan anew.
_RTT_CHANGE_MS = 1.0
_CHUNK_BYTES = 16 * 1024
_FIRST_WINDOW_BYTES = 32 * 1024
#: Under way is what the link carries in so long, or in two round trips.
_AHEAD_S = 0.1
#: Before that what arrived says nothing: it may lie in a queue.
_SEEN_S = 0.01
#: A burst that took so long tells the rate by itself, within this factor.
_LONG_S = 0.05
_LONG_ROUND_TRIPS = 10
_WHOLE_RATIO = 1.25
_MAX_WINDOW_BYTES = 1024 * 1024
#: A burst takes the link for so long at most, and is waited for so long.
_BURST_S = 0.25
_ARRIVE_S = 2.0
_POLL_S = 0.002
#: No burst on a link that is not up for so long: it starts with a rollout.
_SETTLED_S = 600.0
_BURST_WEIGHT = 3


_NOTHING = LinkFigures()


class Stream(Protocol):
    """A connection to a peer."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits to be sent."""

    def tcp_info(self) -> bytes:
        """The kernel's struct tcp_info; empty: it does not tell."""

    def pad(self, size_bytes: int) -> bool:
        """Sends so many bytes that mean nothing; False: what was sent before has not left yet."""


class _Way:
    """What is known of the way to one peer, or to the planner."""

    def __init__(self, since_s: float, known: LinkFigures = _NOTHING) -> None:
        self.rtt = Damped(min, told=known.rtt_ms or 0.0, change=_RTT_CHANGE_MS)
        self.bandwidth = Damped(max, told=known.bandwidth_bit_per_s)
        self.burst_from_s = since_s + _SETTLED_S
        self.last: TcpFigures | None = None

    def note(self, figures: TcpFigures) -> bool:
        """Takes the kernel's figures; True: they say something of the bandwidth."""
        before, self.last = self.last, figures
        if figures.rtt_ms > 0.0:
            self.rtt.note(figures.rtt_ms)
        moved = before is None or figures.sent_bytes != before.sent_bytes
        held = before is not None and figures.receiver_held_us != before.receiver_held_us
        if not moved or held or figures.rate_bit_per_s <= 0.0:
            return False
        self.note_rate(figures.rate_bit_per_s)
        return True

    def note_rate(self, bit_per_s: float, *, weight: int = 1) -> None:
        if bit_per_s < _AS_GOOD_AS_UNLIMITED_BIT_PER_S or self.bandwidth.told is not None:
            self.bandwidth.note(bit_per_s, weight=weight)


class LinkMeter:
    """Of one device. ``look`` from time to time; ``apply`` puts what is known into a fingerprint.

    ``file`` keeps it over restarts.
    """

    def __init__(self, settings: FingerprintSettings, planner: str, clock: Clock, *, file: Path | None = None) -> None:
        self._settings = settings
        self._planner = planner
        self._clock = clock
        self._file = file
        self._kept = read_links(file) if file is not None else {}
        peers = self._kept.keys() & (settings.rtt_of | settings.bandwidth_of)
        self._ways = {peer: _Way(clock.monotonic_s(), self._kept[peer]) for peer in sorted(peers)}
        self._to_planner = _Way(clock.monotonic_s())

    async def look(self, streams: Mapping[DeviceId, Stream]) -> None:
        """Looks at every connection once, and sends a burst where one is due."""
        await self._look_at_planner()
        settings = self._settings
        for peer in sorted(settings.rtt_of | settings.bandwidth_of):
            stream = streams.get(peer)
            if stream is None:
                self._unsettle(peer)
                continue
            way = self._ways.setdefault(peer, _Way(self._clock.monotonic_s()))
            figures = read_figures(stream.tcp_info())
            if figures is None:
                continue
            now_s = self._clock.monotonic_s()
            if way.note(figures):
                way.burst_from_s = now_s + settings.burst_s
            elif peer in settings.bandwidth_of and settings.burst_bytes > 0 and now_s >= way.burst_from_s:
                await self._burst(peer, stream, way)
        await self._keep()

    def apply(self, device: Device) -> Device:
        """A fingerprint with what was measured in the place of what the configuration leaves out."""
        links, measured = [], []
        for link in device.links:
            way = self._ways.get(link.peer)
            found = link
            if way is not None and link.peer in self._settings.rtt_of and way.rtt.told:
                found = replace(found, rtt_ms=way.rtt.told)
            if way is not None and link.peer in self._settings.bandwidth_of and way.bandwidth.told:
                found = replace(found, bandwidth_bit_per_s=round(way.bandwidth.told))
            if found != link:
                measured.append(link.peer)
            links.append(found)
        return replace(
            device,
            links=tuple(links),
            measured_peers=tuple(measured),
            planner_rtt_ms=self._to_planner.rtt.told or 0.0,
            planner_bandwidth_bit_per_s=round(self._to_planner.bandwidth.told or 0.0),
        )

    async def _keep(self) -> None:
        told = {
            peer: LinkFigures(rtt_ms=way.rtt.told or None, bandwidth_bit_per_s=way.bandwidth.told or None)
            for peer, way in self._ways.items()
        }
        known = {peer: figures for peer, figures in told.items() if figures != _NOTHING}
        if self._file is not None and known != self._kept:
            self._kept = known
            await asyncio.to_thread(keep_links, self._file, known)

    async def _look_at_planner(self) -> None:
        host, _, port = self._planner.rpartition(":")
        found = await asyncio.to_thread(figures_to, host.strip("[]"), int(port))
        if found:
            self._to_planner.note(min(found, key=lambda figures: figures.rtt_ms))

    def _unsettle(self, peer: DeviceId) -> None:
        if peer in self._ways:
            way = self._ways[peer]
            way.last = None
            way.burst_from_s = max(way.burst_from_s, self._clock.monotonic_s() + _SETTLED_S)

    async def _burst(self, peer: DeviceId, stream: Stream, way: _Way) -> None:
        if not stream.idle:
            return  # at the next look, perhaps
        way.burst_from_s = self._clock.monotonic_s() + self._settings.burst_s
        rate_bit_per_s = await burst(stream, self._settings.burst_bytes, self._clock)
        event("link_measured", peer=peer, bandwidth_bit_per_s=round(rate_bit_per_s))
        if rate_bit_per_s > 0.0:
            way.note_rate(rate_bit_per_s, weight=_BURST_WEIGHT)
        way.last = None


async def burst(stream: Stream, at_most_bytes: int, clock: Clock) -> float:
    """What a link carried of a short burst, in bit/s; 0: nothing can be said.

    What is under way is at most what the link seems to carry in a moment, so that a real item never waits long for it;
    and what else is to be sent ends the burst.
    """
    begin = read_figures(stream.tcp_info())
    if begin is None:
        return 0.0
    begun_s = clock.monotonic_s()
    sent, arrived, window, sending = 0, 0, _FIRST_WINDOW_BYTES, True
    rates_bit_per_s: list[float] = []
    while sending or arrived < sent:
        now_s = clock.monotonic_s()
        if now_s - begun_s > _ARRIVE_S or (figures := read_figures(stream.tcp_info())) is None:
            break
        arrived = figures.sent_bytes - begin.sent_bytes
        # What comes first may only have filled what there is of queues on the way.
        if figures.rate_bit_per_s > 0.0 and arrived >= 2 * _FIRST_WINDOW_BYTES:
            rates_bit_per_s.append(figures.rate_bit_per_s)
        sending = sending and stream.idle and sent < at_most_bytes and now_s - begun_s < _BURST_S
        size = min(_CHUNK_BYTES, at_most_bytes - sent)
        if sending and sent - arrived + size <= window and stream.pad(size):
            sent += size
            continue
        took_s = now_s - begun_s
        if took_s >= _SEEN_S:
            ahead_s = max(_AHEAD_S, 2.0 * figures.rtt_ms / 1000.0)
            window = min(max(_FIRST_WINDOW_BYTES, int(arrived / took_s * ahead_s)), _MAX_WINDOW_BYTES)
        await clock.sleep(_POLL_S)
    took_s = clock.monotonic_s() - begun_s
    whole_bit_per_s = arrived * 8.0 / max(took_s, 1e-6)
    if not rates_bit_per_s:
        return whole_bit_per_s if 0 < sent <= arrived else 0.0
    # The kernel's figure is of a few packets at a time; a burst that takes many round trips is a better word.
    if took_s >= max(_LONG_S, _LONG_ROUND_TRIPS * begin.rtt_ms / 1000.0):
        return min(_median(rates_bit_per_s), _WHOLE_RATIO * whole_bit_per_s)
    return _median(rates_bit_per_s)


def _median(values: Sequence[float]) -> float:
    # The standard library's takes 0.7 MB of an idle agent.
    ordered, half = sorted(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2.0
