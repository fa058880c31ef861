"""``data: site``: an input whose items may not leave the site where they are made."""

from __future__ import annotations

import json
from importlib.resources import files

import jsonschema
import pytest
import yaml

from circinus.build import PipelineBuilder
from circinus.operator import Operator
from circinus.spec.dump import pipeline_yaml
from circinus.spec.errors import SpecErrors
from circinus.spec.pipeline import parse_pipeline

TEXT = """\
pipeline: gate
source: camera:Camera
scorer: score:Accuracy
operators:
  - id: find
    class: operators:Find
    inputs:
      - {from: source, data: site}
  - id: read
    class: operators:Read
    inputs: [find, {from: source, data: site}]
outputs: [read]
contents:
  day: {seed: 1, samples: 64}
"""


class Find(Operator): ...


class Read(Operator): ...


def said(text: str) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        parse_pipeline(text)
    return [str(error) for error in caught.value.errors]


def test_an_input_may_say_that_its_items_stay_at_their_site() -> None:
    find, read = parse_pipeline(TEXT).operators
    assert (find.inputs, find.site_inputs) == (("source",), ("source",))
    assert (read.inputs, read.site_inputs) == (("find", "source"), ("source",))


def test_it_is_written_back_as_it_was_read() -> None:
    pipeline = parse_pipeline(TEXT)
    assert parse_pipeline(pipeline_yaml(pipeline)) == pipeline


def test_an_input_that_is_written_out_without_it_is_as_any_other() -> None:
    plain = parse_pipeline(TEXT.replace(", data: site", ""))
    assert [operator.site_inputs for operator in plain.operators] == [(), ()]


def test_files_with_it_are_as_the_schema_says() -> None:
    schema = json.loads((files("circinus.spec") / "schema" / "pipeline.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(yaml.safe_load(TEXT))
    assert list(validator.iter_errors(yaml.safe_load(TEXT.replace("data: site", "data: away"))))


def test_what_is_wrong_with_an_input_is_said_with_its_line() -> None:
    assert said(TEXT.replace("- {from: source, data: site}", "- {from: source, data: sight}")) == [
        "pipeline.yaml:8: operator 'find': inputs: an input: unknown data 'sight'; did you mean 'site'?"
    ]
    assert said(TEXT.replace("- {from: source, data: site}", "- {data: site}")) == [
        "pipeline.yaml:8: operator 'find': inputs: an input: key 'from' is missing"
    ]
    assert said(TEXT.replace("[find, {from: source, data: site}]", "[find, {from: find, data: site}]")) == [
        "pipeline.yaml:11: operator 'read': inputs: 'find' is repeated"
    ]


def gate() -> PipelineBuilder:
    builder = PipelineBuilder("gate", source="camera:Camera", scorer="score:Accuracy")
    builder.content("day", seed=1, samples=64)
    return builder


def test_a_builder_says_it_with_at_site() -> None:
    builder = gate()
    find = builder.operator("find", "operators:Find", inputs=["source"], at_site=["source"])
    builder.output(builder.operator("read", "operators:Read", inputs=[find, "source"], at_site=["source"]))
    assert builder.build().operators == parse_pipeline(TEXT).operators


def test_a_builder_names_what_is_no_input() -> None:
    builder = gate()
    builder.output(builder.operator("find", "operators:Find", inputs=["source"], at_site=["lens"]))
    with pytest.raises(SpecErrors) as caught:
        builder.build()
    assert [error.message for error in caught.value.errors] == [
        "operator 'find': at_site: 'lens' is no input of it; known: source"
    ]
