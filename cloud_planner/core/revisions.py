"""Observed figures that stand in for the stated ones: what drift and the ledger found. PURE.

Only what differs from what was stated or profiled is in it. Empty, it changes nothing at all: the same snapshot gives
the same problem, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from circinus.model.device import Device, DeviceId, Link
from circinus.model.pipeline import OperatorId, PipelineId
from circinus.model.plan import Interval
from circinus.model.query import Query, QueryId

#: A service time: an operator of a pipeline on a device, whatever its knobs.
ServicePlace = tuple[PipelineId, OperatorId, DeviceId]
#: An accuracy: a pipeline, a content and the key of a configuration; an empty key: every configuration.
AccuracyPlace = tuple[PipelineId, str, str]
#: A directed link.
LinkPlace = tuple[DeviceId, DeviceId]

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkRevision:
    """What a link was found to be. None: as its device says. ``bandwidth_bit_per_s`` 0: unlimited."""

    bandwidth_bit_per_s: int | None = None
    rtt_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Revisions:
    """What replaces stated figures, by what it is of.

    ``rate_per_s``: the offered rate that a query is planned at. ``service_ratio``: a factor on the profiled service
    time. ``accuracy_shift``: what is added to a measured accuracy. ``links``: what replaces a link's figures.
    """

    rate_per_s: Mapping[QueryId, float] = field(default_factory=dict)
    service_ratio: Mapping[ServicePlace, float] = field(default_factory=dict)
    accuracy_shift: Mapping[AccuracyPlace, float] = field(default_factory=dict)
    links: Mapping[LinkPlace, LinkRevision] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.rate_per_s or self.service_ratio or self.accuracy_shift or self.links)

    def shift(self, pipeline_id: PipelineId, content: str, configuration_key: str) -> float:
        """What is added to the accuracy of a configuration on a content."""
        whole = self.accuracy_shift.get((pipeline_id, content, ""), 0.0)
        return self.accuracy_shift.get((pipeline_id, content, configuration_key), whole)

    def without(self, queries: Collection[QueryId]) -> Revisions:
        """The same with the stated rates of these queries."""
        rates = {query_id: rate for query_id, rate in self.rate_per_s.items() if query_id not in queries}
        return replace(self, rate_per_s=rates)


NOTHING_REVISED = Revisions()


def merged(one: Revisions, other: Revisions) -> Revisions:
    """Both; where they speak of the same thing, the other one's word stands."""
    return Revisions(
        rate_per_s={**one.rate_per_s, **other.rate_per_s},
        service_ratio={**one.service_ratio, **other.service_ratio},
        accuracy_shift={**one.accuracy_shift, **other.accuracy_shift},
        links={**one.links, **other.links},
    )


def pruned(revisions: Revisions, queries: Collection[Query], devices: Collection[DeviceId]) -> Revisions:
    """Without what is of queries, pipelines and devices that are no longer there."""
    there = {query.id for query in queries}
    pipelines = {query.pipeline_id for query in queries}
    known = set(devices)
    return Revisions(
        rate_per_s=_those(revisions.rate_per_s, lambda key: key in there),
        service_ratio=_those(revisions.service_ratio, lambda key: key[0] in pipelines and key[2] in known),
        accuracy_shift=_those(revisions.accuracy_shift, lambda key: key[0] in pipelines),
        links=_those(revisions.links, lambda key: key[0] in known and key[1] in known),
    )


def _those(entries: Mapping[_Key, _Value], wanted: Callable[[_Key], bool]) -> dict[_Key, _Value]:
    return {key: value for key, value in entries.items() if wanted(key)}


def revised_queries(queries: Sequence[Query], revisions: Revisions) -> tuple[Query, ...]:
    """The queries at the rates at which they are to be planned."""
    rates = revisions.rate_per_s
    return tuple(replace(query, rate_per_s=rates[query.id]) if query.id in rates else query for query in queries)


def revised_devices(devices: Sequence[Device], revisions: Revisions) -> tuple[Device, ...]:
    """The devices with their links as they were found to be."""
    if not revisions.links:
        return tuple(devices)
    return tuple(
        replace(
            device,
            links=tuple(
                _link(link, found) if (found := revisions.links.get((device.id, link.peer))) is not None else link
                for link in device.links
            ),
        )
        for device in devices
    )


def _link(link: Link, found: LinkRevision) -> Link:
    bandwidth = link.bandwidth_bit_per_s if found.bandwidth_bit_per_s is None else found.bandwidth_bit_per_s
    return replace(link, bandwidth_bit_per_s=bandwidth, rtt_ms=link.rtt_ms if found.rtt_ms is None else found.rtt_ms)


def shifted(accuracy: Interval, shift: float) -> Interval:
    """An accuracy with something added to it, within 0..1."""
    return Interval(
        value=min(1.0, max(0.0, accuracy.value + shift)),
        low=min(1.0, max(0.0, accuracy.low + shift)),
        high=min(1.0, max(0.0, accuracy.high + shift)),
    )
