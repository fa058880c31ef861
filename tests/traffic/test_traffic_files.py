"""What is special in the files of the traffic pipeline: state, a DAG, models, clips."""

import importlib

import pytest

from circinus.model.pipeline import State
from circinus.operator import Operator
from circinus.spec.pipeline import parse_pipeline
from circinus.spec.queries import parse_queries


@pytest.fixture(scope="module")
def pipeline(bundle):
    return parse_pipeline((bundle / "pipeline.yaml").read_text(encoding="utf-8"))


def class_of(entry_point):
    module, name = entry_point.split(":")
    return getattr(importlib.import_module(module), name)


def test_what_carries_state_says_so_and_can_forget_it(pipeline):
    for operator in pipeline.operators:
        forgets = class_of(operator.entry_point).reset is not Operator.reset
        assert forgets == (operator.state is State.PER_SOURCE), operator.id


def test_the_pipeline_branches_and_joins(pipeline):
    inputs = {operator.id: set(operator.inputs) for operator in pipeline.operators}
    assert inputs["crop"] == {"decode", "detect"}
    assert inputs["track"] == {"detect"}
    assert inputs["count"] == {"classify", "track"}


def test_models_are_small_and_each_larger_than_the_one_before(bundle):
    from seeing import MODELS

    sizes = [(bundle / "models" / f"{name}.onnx").stat().st_size for name in MODELS]
    assert sizes == sorted(sizes)
    assert sum(sizes) < 2_000_000


def test_sample_sets_stay_small(pipeline, film):
    for content in pipeline.contents:
        frames = content.samples * (content.clip + content.warmup)
        assert frames * max(len(sample.payload["image"]) for sample in film(content.name, 3)) < 60_000_000


def test_queries_ask_for_two_contents_at_most(bundle):
    queries = parse_queries((bundle / "queries.yaml").read_text(encoding="utf-8"))
    assert len({query.content for query in queries}) <= 2
