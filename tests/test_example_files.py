"""pipeline.yaml, queries.yaml and fleet/ of each example pipeline fit each other and the code."""

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from circinus.model.pipeline import knobs_of
from circinus.operator import Operator, OperatorContext, Scorer, Source
from circinus.spec.pipeline import parse_pipeline
from circinus.spec.queries import parse_queries

EXAMPLES = Path(__file__).parents[1] / "examples"
#: How many settings the operators of each have, one after the other.
SETTINGS = {"documents": 3 + 2 + 3 + 3, "meeting": 2 + 3 + 12 + 1, "traffic": 6 + 4 + 1 + 3 + 1 + 1}


@pytest.fixture(scope="module", params=sorted(SETTINGS))
def bundle(request):
    folder = EXAMPLES / request.param
    # As an agent does it: the bundle's folder is on the path, and its modules go by their plain names.
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return folder


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


def test_there_are_configurations_enough_to_choose_from(pipeline):
    assert pipeline.configuration_count >= 48
    assert len(pipeline.contents) >= 4


@pytest.mark.slow
def test_every_knob_value_is_one_that_its_operator_takes(bundle, pipeline):
    made = set()
    for configuration in pipeline.configurations():
        for operator in pipeline.operators:
            knobs = knobs_of(configuration, operator.id)
            key = (operator.id, *knobs.values())
            if key not in made:
                made.add(key)
                class_of(operator.entry_point)(knobs, OperatorContext()).close()
    assert len(made) == SETTINGS[bundle.name]


@pytest.mark.parametrize(("name", "count"), [("queries.yaml", 4), ("later.yaml", 2)])
def test_queries_ask_for_what_there_is(bundle, pipeline, name, count):
    queries = parse_queries((bundle / name).read_text(encoding="utf-8"))
    devices = {tomllib.loads(path.read_text())["device_id"] for path in (bundle / "fleet").glob("*.toml")}
    assert {query.pipeline_id for query in queries} == {pipeline.id}
    assert {query.content for query in queries} <= {content.name for content in pipeline.contents}
    assert {query.source_device_id for query in queries} <= devices
    assert len(queries) == count
