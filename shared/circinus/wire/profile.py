"""Profile results."""

from __future__ import annotations

from collections.abc import Mapping

from circinus.model.pipeline import OperatorId
from circinus.model.profile import ConfigurationProfile, OperatorSample, SampleResult
from circinus.v1 import control_pb2
from circinus.wire import check
from circinus.wire.knobs import configuration_from_message, configuration_to_message

#: A day: an operator that takes longer for one item is no operator.
_MAX_TIME_MS = 86_400_000.0
_MAX_BYTES = 2**40


def configuration_profile_to_message(profile: ConfigurationProfile) -> control_pb2.ConfigurationProfile:
    """A profile's message."""
    return control_pb2.ConfigurationProfile(
        configuration=configuration_to_message(profile.configuration),
        samples=[_sample_to_message(sample) for sample in profile.samples],
        memory_bytes=_sizes_to_map(profile.memory_bytes),
        source_bytes=profile.source_bytes,
        accelerator_memory_bytes=_sizes_to_map(profile.accelerator_memory_bytes),
    )


def _sizes_to_map(sizes: Mapping[OperatorId, int]) -> dict[str, int]:
    return {str(operator_id): size for operator_id, size in sizes.items()}


def _sizes_from_map(field: str, sizes: Mapping[str, int]) -> dict[OperatorId, int]:
    check.size(field, sizes, 1_000)
    return {
        OperatorId(check.name(field, name)): int(check.number(field, value, high=_MAX_BYTES))
        for name, value in sizes.items()
    }


def _sample_to_message(sample: SampleResult) -> control_pb2.SampleResult:
    return control_pb2.SampleResult(
        sample_index=sample.sample_index,
        score_ratio=sample.score_ratio,
        operators=[
            control_pb2.OperatorSample(
                operator_id=operator.operator_id,
                cpu_ms=operator.cpu_ms,
                wall_ms=operator.wall_ms,
                output_bytes=operator.output_bytes,
                cached=operator.cached,
                hurried=operator.hurried,
            )
            for operator in sample.operators
        ],
    )


def configuration_profile_from_message(message: control_pb2.ConfigurationProfile) -> ConfigurationProfile:
    """The profile in a message. One bad figure refuses the whole.

    Raises:
        InvalidInput: a figure is NaN, negative or absurd, or a score is not 0..1.
        TooLarge: a list is too long.
    """
    check.size("samples", message.samples, 100_000)
    return ConfigurationProfile(
        configuration=configuration_from_message(message.configuration),
        samples=tuple(_sample_from_message(sample) for sample in message.samples),
        memory_bytes=_sizes_from_map("memory_bytes", message.memory_bytes),
        accelerator_memory_bytes=_sizes_from_map("accelerator_memory_bytes", message.accelerator_memory_bytes),
        source_bytes=int(check.number("source_bytes", message.source_bytes, high=_MAX_BYTES)),
    )


def _sample_from_message(message: control_pb2.SampleResult) -> SampleResult:
    check.size("samples.operators", message.operators, 1_000)
    score = check.ratio("samples.score_ratio", message.score_ratio) if message.HasField("score_ratio") else None
    return SampleResult(
        sample_index=message.sample_index,
        score_ratio=score,
        operators=tuple(
            OperatorSample(
                operator_id=OperatorId(check.name("samples.operators.operator_id", operator.operator_id)),
                cpu_ms=check.number("samples.operators.cpu_ms", operator.cpu_ms, high=_MAX_TIME_MS),
                wall_ms=check.number("samples.operators.wall_ms", operator.wall_ms, high=_MAX_TIME_MS),
                output_bytes=int(
                    check.number("samples.operators.output_bytes", operator.output_bytes, high=_MAX_BYTES)
                ),
                cached=operator.cached,
                hurried=operator.hurried,
            )
            for operator in message.operators
        ),
    )
