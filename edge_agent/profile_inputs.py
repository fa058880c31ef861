"""What a profile runs: a bundle's pipeline, and samples as clips of items."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from circinus.model.pipeline import SOURCE, OperatorId, configuration_key, knobs_of
from circinus.operator import KnobValue
from circinus.v1 import types_pb2

_CPU_PROVIDERS = ("CPUExecutionProvider",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One operator of the pipeline, as its bundle's pipeline.json says."""

    id: OperatorId
    entry_point: str
    inputs: tuple[OperatorId, ...]
    stateful: bool
    hang_ms: float
    fan_out: str = ""
    each: bool = False
    accelerated: bool = False

    def providers(self, there: tuple[str, ...]) -> tuple[str, ...]:
        """Of the providers that there are those that it is served with: without a variant for accelerators the CPU."""
        return there if self.accelerated else _CPU_PROVIDERS


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfiledPipeline:
    """The DAG, each operator after its inputs."""

    steps: tuple[Step, ...]
    outputs: tuple[str, ...]
    scorer: str


def read_pipeline(bundle: Path) -> ProfiledPipeline:
    """The pipeline in a bundle.

    Raises:
        OSError, ValueError, KeyError, TypeError: there is none, or it is damaged.
    """
    document = json.loads((bundle / "pipeline.json").read_text(encoding="utf-8"))
    steps = [
        Step(
            id=OperatorId(str(entry["id"])),
            entry_point=str(entry["entry_point"]),
            inputs=tuple(OperatorId(str(name)) for name in entry["inputs"]),
            stateful=str(entry.get("state", "none")) != "none",
            hang_ms=float(entry.get("hang_ms", 30_000.0)),
            fan_out=str(entry.get("fan_out", "")),
            each=bool(entry.get("each", False)),
            accelerated=bool(entry.get("accelerators")),
        )
        for entry in document["operators"]
    ]
    known = {SOURCE}
    for step in steps:
        if not set(step.inputs) <= known:
            raise ValueError(f"operator {step.id!r} stands before one of its inputs {', '.join(step.inputs)}")
        known.add(step.id)
    return ProfiledPipeline(
        steps=tuple(steps), outputs=tuple(str(name) for name in document["outputs"]), scorer=str(document["scorer"])
    )


def by_prefix(
    steps: tuple[Step, ...], configurations: list[dict[str, KnobValue]]
) -> list[tuple[int, dict[str, KnobValue]]]:
    """Configurations with their indices, those with equal settings upstream next to each other."""

    def key(entry: tuple[int, dict[str, KnobValue]]) -> tuple[str, ...]:
        return tuple(configuration_key(knobs_of(entry[1], step.id)) for step in steps)

    return sorted(enumerate(configurations), key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One item of a sample as it travels, and its truth."""

    payload: bytes
    truth: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A sample: its items, of which the first ``warmup`` are run only."""

    items: tuple[Item, ...]
    warmup: int = 0

    def timed(self, index: int) -> int:
        """Which of its items is timed when it is sample ``index``."""
        return self.warmup + index % (len(self.items) - self.warmup)


def clip_of(sample: types_pb2.Sample) -> Clip:
    """A sample of a sample set.

    Raises:
        ValueError: all of its items are to warm up.
    """
    items = tuple(Item(payload=_bytes(item.payload), truth=_bytes(item.truth)) for item in sample.items)
    if sample.warmup >= len(items):
        raise ValueError(f"a sample has {len(items)} items, of which {sample.warmup} are to warm up")
    return Clip(items=items, warmup=sample.warmup)


def _bytes(payload: types_pb2.Payload) -> bytes:
    return payload.SerializeToString(deterministic=True)
