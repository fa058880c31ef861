"""pipeline.yaml, queries.yaml, fleet/ and models/ of the traffic pipeline fit each other and the code."""

import importlib
import tomllib

import pytest

from circinus.model.pipeline import State, knobs_of
from circinus.operator import Operator, OperatorContext, Scorer, Source
from circinus.spec.pipeline import parse_pipeline
from circinus.spec.queries import parse_queries


@pytest.fixture(scope="module")
def pipeline(bundle):
    return parse_pipeline((bundle / "pipeline.yaml").read_text(encoding="utf-8"))


def class_of(entry_point):
    module, name = entry_point.split(":")
    return getattr(importlib.import_module(module), name)


def test_entry_points_name_what_they_should(pipeline):
    assert issubclass(class_of(pipeline.source), Source)
    assert issubclass(class_of(pipeline.scorer), Scorer)
    assert all(issubclass(class_of(operator.entry_point), Operator) for operator in pipeline.operators)


def test_what_carries_state_says_so_and_can_forget_it(pipeline):
    for operator in pipeline.operators:
        forgets = class_of(operator.entry_point).reset is not Operator.reset
        assert forgets == (operator.state is State.PER_SOURCE), operator.id


def test_the_pipeline_branches_and_joins(pipeline):
    inputs = {operator.id: set(operator.inputs) for operator in pipeline.operators}
    assert inputs["crop"] == {"decode", "detect"}
    assert inputs["track"] == {"detect"}
    assert inputs["count"] == {"classify", "track"}


@pytest.mark.slow
def test_every_knob_value_is_one_that_its_operator_takes(pipeline):
    made = set()
    for configuration in pipeline.configurations():
        for operator in pipeline.operators:
            knobs = knobs_of(configuration, operator.id)
            key = (operator.id, *knobs.values())
            if key not in made:
                made.add(key)
                class_of(operator.entry_point)(knobs, OperatorContext()).close()
    assert len(made) == 6 + 4 + 1 + 3 + 1 + 1


def test_models_are_small_and_each_larger_than_the_one_before(bundle):
    from seeing import MODELS

    sizes = [(bundle / "models" / f"{name}.onnx").stat().st_size for name in MODELS]
    assert sizes == sorted(sizes)
    assert sum(sizes) < 2_000_000


def test_sample_sets_stay_small(pipeline, film):
    for content in pipeline.contents:
        frames = content.samples * (content.clip + content.warmup)
        assert frames * max(len(sample.payload["image"]) for sample in film(content.name, 3)) < 60_000_000


def test_queries_ask_for_what_there_is(bundle, pipeline):
    queries = parse_queries((bundle / "queries.yaml").read_text(encoding="utf-8"))
    devices = {tomllib.loads(path.read_text())["device_id"] for path in (bundle / "fleet").glob("*.toml")}
    assert {query.pipeline_id for query in queries} == {pipeline.id}
    assert {query.content for query in queries} <= {content.name for content in pipeline.contents}
    assert len({query.content for query in queries}) <= 2
    assert {query.source_device_id for query in queries} <= devices
    assert len(queries) == 4
