"""A pipeline: a DAG of operators with knobs, and how its answers are scored."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from math import prod
from typing import NewType

from circinus.model.device import DeviceId, Digest

PipelineId = NewType("PipelineId", str)
OperatorId = NewType("OperatorId", str)

#: The name by which an operator's inputs call the source.
SOURCE = OperatorId("source")

KnobValue = str | int | float | bool

#: One value for every knob of a pipeline, keyed "operator.knob".
Configuration = Mapping[str, KnobValue]


#: Made once: keys are needed by the thousand.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True)


class State(StrEnum):
    """Whether an operator carries anything over from one item of a source to the next."""

    NONE = "none"
    PER_SOURCE = "per_source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A setting with a finite domain, in the order in which it was written.

    ``monotone``: the accuracy never falls from one value to the next. The planner uses it as long as no measurement
    contradicts it.
    """

    name: str
    values: tuple[KnobValue, ...]
    monotone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSpec:
    """One step: its code, what it reads, its knobs.

    ``entry_point`` is "module:Class" in the bundle. ``inputs`` are operator ids or SOURCE.
    ``pinned`` names the one device, or "source" for the source device, that it must run on.
    ``accelerator_kinds`` are those it has a variant for; empty: CPU only.
    ``fan_out`` names the field of its output whose length counts the parts that it makes of an item; empty: none.
    ``site_inputs`` are those of its inputs whose items may not leave the site of the machine where they are made.
    ``each``: it is run for the parts that its one input was cut into, not for the whole item.
    ``network``: it reaches other machines; who doesn't say so can't.
    """

    id: OperatorId
    entry_point: str
    inputs: tuple[OperatorId, ...]
    knobs: tuple[Knob, ...] = ()
    state: State = State.NONE
    pinned: str = ""
    accelerator_kinds: tuple[str, ...] = ()
    hang_ms: float = 30_000.0
    fan_out: str = ""
    site_inputs: tuple[OperatorId, ...] = ()
    each: bool = False
    network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentSpec:
    """What a bundle's code needs: Python requirements, shared libraries, executables.

    ``debian`` are the packages that bring the libraries and executables, for the message to the person.
    """

    python: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    executables: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentSpec:
    """A labelled sample set that the pipeline's generator makes from a seed.

    A sample is a clip of ``clip`` items that are scored together, after ``warmup`` items that are run only.
    With a ``reference`` the items have no labels: the truths are what this configuration answers, and what others
    reach is their agreement with it, never called accuracy.
    """

    name: str
    seed: int
    samples: int
    clip: int = 1
    warmup: int = 0
    reference: Configuration | None = None

    @property
    def items(self) -> int:
        """How many items a sample takes of the source."""
        return self.warmup + self.clip


class FeedKind(StrEnum):
    """What a feed makes items of."""

    IMAGE = "image"
    AUDIO = "audio"
    BYTES = "bytes"


#: What Feed.form may be; the first is the default.
FEED_FORMS: Mapping[FeedKind, tuple[str, ...]] = {
    FeedKind.IMAGE: ("bgr", "rgb", "grey", "jpeg"),
    FeedKind.AUDIO: ("int16", "float32"),
    FeedKind.BYTES: ("bytes",),
}
#: The channels that an array of an image's colours has; JPEG is bytes.
IMAGE_CHANNELS: Mapping[str, int] = {"bgr": 3, "rgb": 3, "grey": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Which fields of an item a file, camera or microphone fills, and with what; an empty field name: none.

    ``field`` has the image (an array of uint8 with colours in this order, or "jpeg"), the sound (an array of samples)
    or the bytes; ``number_field`` the item's number, from 0. Of sound: ``rate_hz`` that it is brought to, which
    ``rate_field`` has, too, and ``chunk_ms``, how long an item is.
    """

    kind: FeedKind
    field: str
    form: str
    number_field: str = ""
    rate_hz: int = 0
    rate_field: str = ""
    chunk_ms: int = 0
    channels: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """A DAG of operators, in an order in which each comes after its inputs.

    ``source`` and ``scorer`` are entry points; ``outputs`` the operators whose results are the answer. Without a
    ``feed`` only the source, or callers, can make items.
    """

    id: PipelineId
    description: str
    environment: EnvironmentSpec
    source: str
    scorer: str
    operators: tuple[OperatorSpec, ...]
    outputs: tuple[OperatorId, ...]
    contents: tuple[ContentSpec, ...]
    feed: Feed | None = None

    def operator(self, operator_id: OperatorId) -> OperatorSpec:
        """The operator with this id.

        Raises:
            KeyError: there is none.
        """
        for operator in self.operators:
            if operator.id == operator_id:
                return operator
        raise KeyError(operator_id)

    def content(self, name: str) -> ContentSpec:
        """The content of this name.

        Raises:
            KeyError: there is none.
        """
        for content in self.contents:
            if content.name == name:
                return content
        raise KeyError(name)

    def split_by(self, operator_id: OperatorId) -> str:
        """The field by which an operator's output is cut for those that take its parts one by one; empty: none does."""
        operator = self.operator(operator_id)
        return operator.fan_out if any(reader.each for reader in self.successors(operator_id)) else ""

    def successors(self, operator_id: OperatorId) -> tuple[OperatorSpec, ...]:
        """Operators that read this one's output (or SOURCE's)."""
        return tuple(operator for operator in self.operators if operator_id in operator.inputs)

    @property
    def configuration_count(self) -> int:
        """How many configurations there are."""
        return prod(len(knob.values) for operator in self.operators for knob in operator.knobs)

    def configurations(self) -> Iterator[Configuration]:
        """Every configuration, in the order of operators, knobs and values; the last knob turns fastest."""
        names = [f"{operator.id}.{knob.name}" for operator in self.operators for knob in operator.knobs]
        domains = [knob.values for operator in self.operators for knob in operator.knobs]
        for values in product(*domains):
            yield dict(zip(names, values, strict=True))

    def upstream_knobs(self, operator_id: OperatorId) -> tuple[str, ...]:
        """Names "operator.knob" that an operator's time and output may depend on: its own and its ancestors'."""
        wanted = {operator_id}
        for operator in reversed(self.operators):
            if operator.id in wanted:
                wanted.update(operator.inputs)
        return tuple(
            f"{operator.id}.{knob.name}"
            for operator in self.operators
            if operator.id in wanted
            for knob in operator.knobs
        )


def knobs_of(configuration: Configuration, operator_id: OperatorId) -> dict[str, KnobValue]:
    """An operator's own knobs, without its name in front."""
    prefix = f"{operator_id}."
    return {name.removeprefix(prefix): value for name, value in configuration.items() if name.startswith(prefix)}


def configuration_key(configuration: Configuration) -> str:
    """The one text that stands for a configuration, or an operator's knobs, wherever it is a key: canonical JSON."""
    return _CANONICAL.encode(dict(configuration))


def knobs_text(knobs: Mapping[str, KnobValue]) -> str:
    """Knobs on one line, for people."""
    return " ".join(
        f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in knobs.items()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRef:
    """A stored sample set."""

    name: str
    digest: Digest
    samples: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredPipeline:
    """A pipeline as the planner holds it: spec, bundle and sample sets by digest."""

    pipeline: Pipeline
    bundle_digest: Digest
    environment_digest: Digest
    contents: tuple[ContentRef, ...]


__all__ = [
    "FEED_FORMS",
    "IMAGE_CHANNELS",
    "SOURCE",
    "Configuration",
    "ContentRef",
    "ContentSpec",
    "DeviceId",
    "EnvironmentSpec",
    "Feed",
    "FeedKind",
    "Knob",
    "KnobValue",
    "OperatorId",
    "OperatorSpec",
    "Pipeline",
    "PipelineId",
    "RegisteredPipeline",
    "State",
    "configuration_key",
    "knobs_of",
]
