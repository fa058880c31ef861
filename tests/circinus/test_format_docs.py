"""The examples of docs/pipeline-format.md are what the readers read."""

from __future__ import annotations

import re
from pathlib import Path

from circinus.spec import pipeline as limits
from circinus.spec.pipeline import parse_pipeline
from circinus.spec.queries import parse_queries

TEXT = (Path(__file__).parents[2] / "docs/pipeline-format.md").read_text()


def example(kind: str) -> str:
    (found,) = re.findall(rf"```yaml {kind}\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


def test_the_pipeline_is_read_as_it_is_described() -> None:
    pipeline = parse_pipeline(example("pipeline"))
    assert [operator.id for operator in pipeline.operators] == ["find", "track", "read"]
    assert pipeline.operators[2].hang_ms == 10_000
    assert pipeline.operators[0].hang_ms == 30_000
    assert pipeline.configuration_count == 4


def test_the_queries_are_read_as_they_are_described() -> None:
    first, second = parse_queries(example("queries"))
    assert (first.weight, first.slo.cost_per_h, second.weight, second.slo.percentile_ratio) == (2, 0.25, 1, 0.95)


def test_the_limits_are_those_of_the_reader() -> None:
    for limit in (limits.MAX_CONFIGURATIONS, limits.MAX_SAMPLES, limits.MAX_HANG_MS, limits.MAX_KNOB_VALUES):
        assert f"{limit:,}" in TEXT
