"""Profiles <-> rows: a row for each score, each operator's sample and each size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from circinus.model.device import DeviceClass, Digest
from circinus.model.pipeline import OperatorId, configuration_key
from circinus.model.profile import ConfigurationProfile, OperatorSample, ProfileTable, SampleResult

Row = Sequence[Any]

#: Kinds of sizes.
_SOURCE = "source"
_MEMORY = "memory"
_ACCELERATOR = "accelerator"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileRows:
    """Rows of the tables scores, times and sizes, in the order of their columns."""

    scores: tuple[Row, ...]
    times: tuple[Row, ...]
    sizes: tuple[Row, ...]


def to_rows(
    bundle_digest: Digest,
    content_digest: Digest,
    device_class: DeviceClass,
    profiles: Iterable[ConfigurationProfile],
) -> ProfileRows:
    """The rows of these profiles."""
    scores: list[Row] = []
    times: list[Row] = []
    sizes: list[Row] = []
    for profile in profiles:
        key = configuration_key(profile.configuration)
        of_class = (bundle_digest, content_digest, device_class, key)
        for sample in profile.samples:
            if sample.score_ratio is not None:
                scores.append((bundle_digest, content_digest, key, sample.sample_index, sample.score_ratio))
            times.extend(
                (
                    *of_class,
                    sample.sample_index,
                    measured.operator_id,
                    measured.cpu_ms,
                    measured.wall_ms,
                    measured.output_bytes,
                    int(measured.cached),
                    int(measured.hurried),
                )
                for measured in sample.operators
            )
        for kind, by_operator in ((_MEMORY, profile.memory_bytes), (_ACCELERATOR, profile.accelerator_memory_bytes)):
            sizes.extend((*of_class, kind, operator_id, size) for operator_id, size in sorted(by_operator.items()))
        if profile.source_bytes > 0:
            sizes.append((*of_class, _SOURCE, "", profile.source_bytes))
    return ProfileRows(scores=tuple(scores), times=tuple(times), sizes=tuple(sizes))


def to_table(
    bundle_digest: Digest, content_digest: Digest, scores: Iterable[Row], times: Iterable[Row], sizes: Iterable[Row]
) -> ProfileTable:
    """The table in these rows; each row without its bundle and content."""
    by_key: dict[str, dict[int, float]] = {}
    for key, sample_index, score_ratio in scores:
        by_key.setdefault(key, {})[sample_index] = score_ratio
    samples: dict[tuple[str, str], dict[int, list[OperatorSample]]] = {}
    for device_class, key, sample_index, operator_id, cpu_ms, wall_ms, output_bytes, cached, hurried in times:
        samples.setdefault((device_class, key), {}).setdefault(sample_index, []).append(
            OperatorSample(
                operator_id=OperatorId(operator_id),
                cpu_ms=cpu_ms,
                wall_ms=wall_ms,
                output_bytes=output_bytes,
                cached=bool(cached),
                hurried=bool(hurried),
            )
        )
    by_kind: dict[tuple[str, str, str], dict[OperatorId, int]] = {}
    for device_class, key, kind, operator_id, size_bytes in sizes:
        by_kind.setdefault((kind, device_class, key), {})[OperatorId(operator_id)] = size_bytes
    profiles: dict[DeviceClass, list[ConfigurationProfile]] = {}
    for class_and_key in sorted(samples):
        device_class, key = class_and_key
        profiles.setdefault(DeviceClass(device_class), []).append(
            ConfigurationProfile(
                configuration=json.loads(key),
                samples=tuple(
                    SampleResult(
                        sample_index=sample_index,
                        score_ratio=by_key.get(key, {}).get(sample_index),
                        operators=tuple(operators),
                    )
                    for sample_index, operators in sorted(samples[class_and_key].items())
                ),
                memory_bytes=by_kind.get((_MEMORY, *class_and_key), {}),
                source_bytes=by_kind.get((_SOURCE, *class_and_key), {}).get(OperatorId(""), 0),
                accelerator_memory_bytes=by_kind.get((_ACCELERATOR, *class_and_key), {}),
            )
        )
    return ProfileTable(
        bundle_digest=bundle_digest,
        content_digest=content_digest,
        scores=by_key,
        times={device_class: tuple(found) for device_class, found in profiles.items()},
    )
