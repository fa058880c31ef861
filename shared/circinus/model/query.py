"""A query: a pipeline bound to a source device, a rate, a weight and an SLO."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType

from circinus.model.device import DeviceId
from circinus.model.pipeline import FeedKind, Pipeline, PipelineId

QueryId = NewType("QueryId", str)

#: What Query.input may be, beside empty.
INPUT_PATTERN = r"(?:camera|file|directory|microphone|stream):[^\x00-\x20\x7f]+|push:"
INPUT_RULE = (
    "write camera:, file:, directory:, microphone: or stream: and what it names, without spaces, "
    "or push: if callers send the items"
)

#: What Query.sink may be, beside empty.
SINK_PATTERN = r"file:/[^\x00-\x20\x7f]+"
SINK_RULE = "write file: and an absolute path, without spaces: one result a line is written there"

#: The input of a query whose items come from callers only.
PUSH = "push:"
#: Inputs that become items as the pipeline's feed says, by scheme, with the kinds of feed that can read them.
FEED_KINDS: Mapping[str, tuple[FeedKind, ...]] = {
    "camera": (FeedKind.IMAGE,),
    "microphone": (FeedKind.AUDIO,),
    "file": tuple(FeedKind),
    "directory": tuple(FeedKind),
}

#: The percentile that a latency bound is for where none is given.
DEFAULT_PERCENTILE_RATIO = 0.95


class Guarantee(StrEnum):
    """What an accuracy bound is promised of: the mean over the labelled pool, or the population it was drawn from."""

    POOL = "pool"
    POPULATION = "population"


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What profiling for a query may take: samples, seconds of operators, money. None: no limit."""

    samples: int | None = None
    seconds: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """Bounds; None: no bound.

    ``accuracy_margin_ratio`` is the indifference margin: an accuracy lower than the bound by so much is as good.
    """

    latency_ms: float | None = None
    percentile_ratio: float = DEFAULT_PERCENTILE_RATIO
    accuracy_ratio: float | None = None
    accuracy_margin_ratio: float = 0.0
    cost_per_h: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What somebody wants served.

    ``input`` is what the source device reads: a URI of INPUT_PATTERN; empty: the pipeline's generator, for this query
    alone. ``sink`` is where it writes results: a URI of SINK_PATTERN; empty: nowhere. ``stand_by``: while the source
    device can't reach the rest of the plan, the query is served by what it has. ``selector``: the devices that its
    operators may run on (selector.py); empty: any. What is pinned to the source runs there all the same.
    """

    id: QueryId
    pipeline_id: PipelineId
    content: str
    source_device_id: DeviceId
    rate_per_s: float
    weight: float = 1.0
    slo: Slo
    guarantee: Guarantee = Guarantee.POOL
    budget: Budget = Budget()
    input: str = ""
    stand_by: bool = False
    sink: str = ""
    selector: str = ""


def scheme_of(query_input: str) -> str:
    """What kind of thing an input names: "camera", "push" ...; empty for the generator that a query has alone."""
    return query_input.partition(":")[0]


def is_fed(query_input: str) -> bool:
    """Whether an input is a file, folder, camera or microphone of the device."""
    return scheme_of(query_input) in FEED_KINDS


def input_fault(query: Query, pipeline: Pipeline) -> str:
    """Why a pipeline can't have items of a query's input; empty: it can."""
    scheme = scheme_of(query.input)
    kinds = FEED_KINDS.get(scheme)
    if kinds is None:
        return ""
    if pipeline.feed is None:
        return (
            f"input {query.input!r}: pipeline {pipeline.id!r} doesn't say how a {scheme} becomes items; add a feed to "
            "its pipeline.yaml, or leave the input out: then its source makes them"
        )
    if pipeline.feed.kind not in kinds:
        return (
            f"input {query.input!r}: a {scheme} gives {' or '.join(kinds)}, and the feed of pipeline {pipeline.id!r} "
            f"is {pipeline.feed.kind}"
        )
    return ""
