"""The page of an agent: everything that it knows of itself, read when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import circinus
from circinus.event_counts import EventCounts
from circinus.exposition import Family, Sample, by, one
from circinus.process_figures import process_figures
from edge_agent.config import AgentConfig
from edge_agent.control_link import ControlLink
from edge_agent.disk_guard import DiskGuard
from edge_agent.fingerprint.tcp import read_figures
from edge_agent.health import Health
from edge_agent.identity.box import BoxIdentity
from edge_agent.ledger import Ledger
from edge_agent.metrics import metric_list as m
from edge_agent.metrics.totals import Totals
from edge_agent.outbox import Outbox
from edge_agent.serving_figures import ReplicaFigures
from edge_agent.serving_port import Serving
from edge_agent.serving_status import Phase
from edge_agent.tracing.exporter import Exporter
from edge_agent.tracing.tracer import Tracer

_MS_PER_S = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentParts:
    """What an agent's figures are read from."""

    config: AgentConfig
    identity: BoxIdentity | None
    link: ControlLink
    ledger: Ledger
    outbox: Outbox
    health: Health
    guard: DiskGuard


class AgentPage:
    """The figures of one agent, that started at a moment of the wall clock."""

    def __init__(self, parts: AgentParts, totals: Totals, events: EventCounts, started_at_s: float) -> None:
        self._parts = parts
        self._totals = totals
        self._events = events
        self._started_at_s = started_at_s
        self.serving: Serving | None = None
        self.device_class = ""
        self.tracing: tuple[Tracer, Exporter] | None = None
        self.scrapes: Callable[[], tuple[int, int]] = lambda: (0, 0)

    def families(self) -> Iterator[Family]:
        """All metrics of metric_list.py but the last, in its order."""
        yield from self._own()
        yield from self._planner()
        yield from _disk(self._parts.config.state_dir, self._parts.guard)
        yield from self._totals.families()
        if self.serving is not None:
            yield from _running(self.serving)
        yield from self._told()

    def _own(self) -> Iterator[Family]:
        config, figures = self._parts.config, process_figures()
        who = (config.device_id, config.tier, config.site, self.device_class, circinus.__version__)
        yield m.INFO, ((who, 1),)
        yield one(m.START, self._started_at_s)
        yield one(m.CPU, figures.cpu_s)
        yield one(m.CHILDREN_CPU, figures.children_cpu_s)
        yield one(m.MEMORY, figures.memory_bytes)
        yield one(m.OPEN_FILES, figures.open_files)
        yield one(m.MAX_FILES, figures.max_files)
        yield m.EVENTS, (((name, str(int(warning))), count) for name, warning, count in self._events.by_name())
        yield one(m.TROUBLES, len(self._parts.health.troubles()))

    def _planner(self) -> Iterator[Family]:
        parts = self._parts
        yield one(m.CONNECTED, int(parts.link.connected))
        newest = parts.ledger.newest
        if newest is not None:
            active = parts.ledger.active
            known = {"accepted": newest.generation.number} | ({"active": active.number} if active else {})
            yield by(m.GENERATION, known)
            yield one(m.EPOCH, newest.generation.epoch)
            phase = str(self.serving.status().phase) if self.serving is not None else ""
            yield by(m.PHASE, {str(name): int(name == phase) for name in Phase})
        messages, size_bytes = parts.outbox.waiting
        yield one(m.OUTBOX_MESSAGES, messages)
        yield one(m.OUTBOX_BYTES, size_bytes)
        yield one(m.OUTBOX_DROPPED, parts.outbox.dropped)
        if parts.identity is not None:
            ends_at = parts.identity.certificate_ends_at
            yield one(m.CERTIFICATE_END, ends_at.timestamp() if ends_at is not None else None)
            yield one(m.CERTIFICATE_TROUBLE, int(bool(parts.identity.certificate_trouble)))

    def _told(self) -> Iterator[Family]:
        if self.tracing is not None:
            tracer, exporter = self.tracing
            yield by(m.HOP, {str(peer): histogram for peer, histogram in sorted(tracer.hops.items())})
            yield by(m.SPANS, {"taken": tracer.taken, "sent": exporter.sent, "dropped": tracer.dropped})
        served, refused = self.scrapes()
        yield by(m.SCRAPES, {"served": served, "refused": refused})


def _disk(state_dir: Path, guard: DiskGuard) -> Iterator[Family]:
    yield one(m.DISK_FAULT, int(bool(guard.look())))
    try:
        disk = os.statvfs(state_dir)
    except OSError:
        return
    yield one(m.DISK_FREE, disk.f_bavail * disk.f_frsize)
    yield one(m.DISK_SIZE, disk.f_blocks * disk.f_frsize)


def _running(serving: Serving) -> Iterator[Family]:
    running = serving.running()
    sets = tuple(((found.query_id, found.operator_id), found) for found in running.replica_sets)
    yield m.OPERATOR_WAITING, ((place, figures.waiting) for place, figures in sets)
    yield m.OPERATOR_REPLICAS, _replicas(sets)
    yield m.OPERATOR_SHARE, ((place, figures.cores) for place, figures in sets)
    yield by(m.LINK_UP, {str(peer): int(link.up) for peer, link in running.links.items()})
    rtts_s = {}
    for peer, stream in sorted(serving.streams().items()):
        figures = read_figures(stream.tcp_info())
        if figures is not None and figures.rtt_ms > 0.0:
            rtts_s[str(peer)] = figures.rtt_ms / _MS_PER_S
    yield by(m.LINK_RTT, rtts_s)
    yield by(m.LINK_WAITING, {str(peer): link.waiting for peer, link in running.links.items()})
    yield by(m.LINK_REFUSED, {str(peer): link.refused for peer, link in running.links.items()})


def _replicas(sets: Iterable[tuple[tuple[str, str], ReplicaFigures]]) -> Iterator[Sample]:
    for place, figures in sets:
        yield (*place, "planned"), figures.replicas
        yield (*place, "up"), figures.up


__all__ = ["AgentPage", "AgentParts"]
