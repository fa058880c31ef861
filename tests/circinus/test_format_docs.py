"""The examples of docs/pipeline-format.md are what the readers read."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from circinus.model.query import Budget, Guarantee
from circinus.operator import Operator, Scorer, Source
from circinus.spec import pipeline as limits
from circinus.spec.pipeline import parse_pipeline
from circinus.spec.queries import parse_queries

if TYPE_CHECKING:
    import pytest

TEXT = (Path(__file__).parents[2] / "docs/pipeline-format.md").read_text()


def example(kind: str, language: str = "yaml") -> str:
    (found,) = re.findall(rf"```{language} {kind}\n(.*?)```", TEXT, re.DOTALL)
    return str(found)


def test_the_pipeline_is_read_as_it_is_described() -> None:
    pipeline = parse_pipeline(example("pipeline"))
    assert [operator.id for operator in pipeline.operators] == ["find", "track", "read"]
    assert pipeline.operators[2].hang_ms == 10_000
    assert pipeline.operators[0].hang_ms == 30_000
    assert pipeline.configuration_count == 4
    assert [knob.monotone for knob in pipeline.operators[0].knobs] == [False, True]
    assert [content.reference for content in pipeline.contents] == [
        None,
        None,
        {"find.size": 640, "find.model": "large"},
    ]


def test_the_queries_are_read_as_they_are_described() -> None:
    first, second = parse_queries(example("queries"))
    assert (first.guarantee, first.budget) == (
        Guarantee.POPULATION,
        Budget(samples=5_000, seconds=600.0, cost=0.5),
    )
    assert (second.guarantee, second.budget) == (Guarantee.POOL, Budget())
    assert (first.slo.accuracy_margin_ratio, second.slo.accuracy_margin_ratio) == (0.02, 0)
    assert (first.weight, first.slo.cost_per_h, second.weight, second.slo.percentile_ratio) == (2, 0.25, 1, 0.95)


def test_the_limits_are_those_of_the_reader() -> None:
    for limit in (limits.MAX_CONFIGURATIONS, limits.MAX_SAMPLES, limits.MAX_HANG_MS, limits.MAX_KNOB_VALUES):
        assert f"{limit:,}" in TEXT


def test_the_python_way_gives_what_the_file_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    classes = {"camera": (Source, ["Camera"]), "operators": (Operator, ["Find", "Track", "Read"])}
    for name, (base, kinds) in {**classes, "score": (Scorer, ["CharacterAccuracy"])}.items():
        module = ModuleType(name)
        for kind in kinds:
            setattr(module, kind, type(kind, (base,), {"__module__": name}))
        monkeypatch.setitem(sys.modules, name, module)
    found: dict[str, Any] = {}
    exec(example("pipeline", "python"), found)
    assert found["gate"].build() == parse_pipeline(example("pipeline"))


def test_a_pipeline_is_extended_as_it_is_described(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate/pipeline.yaml").write_text(example("pipeline"))
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    exec(example("extend", "python"), found)
    assert [operator.id for operator in found["pipeline"].operators] == ["find", "track", "read", "correct"]
    assert found["pipeline"].outputs == ("correct",)
