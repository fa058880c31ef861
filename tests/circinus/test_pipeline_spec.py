"""pipeline.yaml: what is read, and what is said of a broken one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml

from circinus.model.pipeline import OperatorId, State
from circinus.spec import schema_of
from circinus.spec.errors import SpecErrors
from circinus.spec.pipeline import parse_pipeline

GOOD = """\
pipeline: cam
description: A camera.
environment:
  python: [numpy>=2.0]
source: camera:Camera
scorer: score:Accuracy
operators:
  - id: read
    class: operators:Read
    inputs: [clean, crop]
    state: per_source
    pinned: source
    accelerators: [cuda]
    hang_ms: 500
  - id: clean
    class: operators:Clean
    inputs: [source]
    knobs:
      filter: [none, median]
      strength: [1, 0.5]
  - id: crop
    class: operators:Crop
    inputs: [source]
outputs: [read]
contents:
  day: {seed: 1, samples: 8}
"""
CLIPS = GOOD.replace("hang_ms: 500", "fan_out: words") + "  drive: {seed: 2, samples: 4, clip: 12, warmup: 8}\n"


SEARCHED = GOOD.replace("[1, 0.5]", "{values: [1, 0.5], monotone: true}").replace(
    "day: {seed: 1, samples: 8}",
    "day: {seed: 1, samples: 8, reference: {clean.filter: none, clean.strength: 1}}",
)


def messages(text: str) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        parse_pipeline(text, "pipeline.yaml")
    return [str(error) for error in caught.value.errors]


def test_operators_are_put_after_their_inputs_and_keep_their_order_otherwise() -> None:
    pipeline = parse_pipeline(GOOD)
    assert [operator.id for operator in pipeline.operators] == ["clean", "crop", "read"]


def test_every_field_is_read() -> None:
    pipeline = parse_pipeline(GOOD)
    read = pipeline.operator("read")  # type: ignore[arg-type]
    assert (read.state, read.pinned, read.accelerator_kinds, read.hang_ms) == (
        State.PER_SOURCE,
        "source",
        ("cuda",),
        500,
    )
    assert read.inputs == ("clean", "crop")
    assert pipeline.environment.python == ("numpy>=2.0",)
    assert [(content.name, content.seed, content.samples) for content in pipeline.contents] == [("day", 1, 8)]
    assert pipeline.configuration_count == 4


def test_clips_and_fan_out_are_read() -> None:
    pipeline = parse_pipeline(CLIPS)
    assert pipeline.operator("read").fan_out == "words"  # type: ignore[arg-type]
    day, drive = pipeline.contents
    assert (day.clip, day.warmup, day.items) == (1, 0, 1)
    assert (drive.samples, drive.clip, drive.warmup, drive.items) == (4, 12, 8, 20)
    assert pipeline.content("drive") == drive


def test_a_domain_with_a_real_is_a_domain_of_reals() -> None:
    knob = parse_pipeline(GOOD).operators[0].knobs[1]
    assert [(value, type(value)) for value in knob.values] == [(1.0, float), (0.5, float)]


def test_a_knob_is_monotone_if_it_says_so() -> None:
    (clean,) = (operator for operator in parse_pipeline(SEARCHED).operators if operator.knobs)
    assert [(knob.name, knob.monotone) for knob in clean.knobs] == [("filter", False), ("strength", True)]
    plain = parse_pipeline(SEARCHED.replace("monotone: true", "monotone: false"))
    assert plain.operators == parse_pipeline(GOOD).operators


def test_a_reference_is_a_configuration_with_the_domains_own_values() -> None:
    (day,) = parse_pipeline(SEARCHED).contents
    assert repr(day.reference) == "{'clean.filter': 'none', 'clean.strength': 1.0}"
    assert day.reference in list(parse_pipeline(SEARCHED).configurations())


def test_without_knobs_a_reference_is_empty_but_there() -> None:
    text = GOOD.replace("    knobs:\n      filter: [none, median]\n      strength: [1, 0.5]\n", "")
    (day,) = parse_pipeline(text.replace("samples: 8", "samples: 8, reference: {}")).contents
    assert day.reference == {}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("clean.filter", "clean.fliter", "26: content 'day': reference: key 'clean.filter' is missing"),
        ("clean.filter", "clean.fliter", "unknown key 'clean.fliter'; did you mean 'clean.filter'?"),
        ("filter: none,", "filter: medain,", "filter has no value 'medain'; did you mean 'median'?"),
        ("strength: 1}", "strength: 2}", "strength has no value 2; known: 1.0, 0.5"),
        ("strength: 1}", "strength: true}", "strength has no value true; known: 1.0, 0.5"),
        ("strength: 1}", "strength: '1'}", "strength has no value '1'; known: 1.0, 0.5"),
        ("strength: 1}", "strength: [1]}", "clean.strength must be one plain value, is a list"),
        (
            "reference: {",
            "reference: {clean: 1, ",
            "reference: unknown key 'clean'; known: clean.filter, clean.strength",
        ),
        ("{clean.filter: none, clean.strength: 1}", "best", "reference must be a mapping (key: value), is text"),
        ("monotone: true", "monotone: 1", "20: operator 'clean': knob 'strength': monotone must be true or false"),
        ("monotone: true", "monotne: true", "knob 'strength': unknown key 'monotne'; did you mean 'monotone'?"),
        ("{values: [1, 0.5], ", "{", "operator 'clean': knob 'strength': key 'values' is missing"),
        ("[1, 0.5], monotone", "[], monotone", "20: operator 'clean': knob 'strength' is empty; it needs at least 1"),
    ],
)
def test_what_is_wrong_with_a_search_is_named_with_its_line(old: str, new: str, expected: str) -> None:
    assert old in SEARCHED
    assert any(expected in message for message in messages(SEARCHED.replace(old, new, 1)))


def test_nothing_is_said_of_references_where_an_operator_could_not_be_read() -> None:
    assert messages(SEARCHED.replace("inputs: [source]\n    knobs", "inputs: [read]\n    knobs")) == [
        "pipeline.yaml:8: operators form a cycle: read -> clean -> read"
    ]


def test_unquoted_none_is_text() -> None:
    assert parse_pipeline(GOOD).operators[0].knobs[0].values == ("none", "median")


def test_the_documents_example_is_read() -> None:
    path = Path(__file__).parents[2] / "examples/documents/pipeline.yaml"
    assert parse_pipeline(path.read_text()).id == "documents"


BROKEN = {
    "unknown key": (
        GOOD.replace("scorer:", "scoerer:"),
        [
            "pipeline.yaml:1: pipeline file: key 'scorer' is missing",
            "pipeline.yaml:6: pipeline file: unknown key 'scoerer'; did you mean 'scorer'?",
        ],
    ),
    "unknown input": (
        GOOD.replace("[clean, crop]", "[cleen, crop]"),
        [
            "pipeline.yaml:10: operator 'read': unknown input 'cleen'; did you mean 'clean'?",
        ],
    ),
    "cycle": (
        GOOD.replace("inputs: [source]\n    knobs", "inputs: [read]\n    knobs"),
        [
            "pipeline.yaml:8: operators form a cycle: read -> clean -> read",
        ],
    ),
    "own cycle": (
        GOOD.replace("inputs: [clean, crop]", "inputs: [clean, crop, read]"),
        [
            "pipeline.yaml:8: operators form a cycle: read -> read",
        ],
    ),
    "empty domain": (
        GOOD.replace("[1, 0.5]", "[]"),
        [
            "pipeline.yaml:20: operator 'clean': knob 'strength' is empty; it needs at least 1",
        ],
    ),
    "repeated value": (
        GOOD.replace("[1, 0.5]", "[1, 2, 1.0]"),
        [
            "pipeline.yaml:20: operator 'clean': knob 'strength': value 1.0 is repeated",
        ],
    ),
    "nested value": (
        GOOD.replace("[1, 0.5]", "[[1], 0.5]"),
        [
            "pipeline.yaml:20: operator 'clean': knob 'strength': each value must be one plain value, is a list",
        ],
    ),
    "bad id": (
        GOOD.replace("pipeline: cam", "pipeline: My_Cam"),
        [
            "pipeline.yaml:1: pipeline 'My_Cam' must be "
            "lower-case letters, digits and dashes, beginning with a letter, at most 63",
        ],
    ),
    "twice": (
        GOOD.replace("id: crop", "id: clean"),
        [
            "pipeline.yaml:10: operator 'read': unknown input 'crop'; known: source, clean",
            "pipeline.yaml:21: operator 'clean' is defined twice (first on line 15)",
        ],
    ),
    "output": (
        GOOD.replace("outputs: [read]", "outputs: [reed]"),
        [
            "pipeline.yaml:24: output 'reed' is no operator; did you mean 'read'?",
        ],
    ),
    "leads nowhere": (
        GOOD.replace("[clean, crop]", "[clean]"),
        [
            "pipeline.yaml:21: operator 'crop' leads to no output; name it in outputs or remove it",
        ],
    ),
    "no samples": (
        GOOD.replace("samples: 8", "samples: 0"),
        [
            "pipeline.yaml:26: content 'day': samples is 0; it must be 1 to 10,000",
        ],
    ),
    "no contents": (
        GOOD.split("contents:")[0] + "contents: {}\n",
        [
            "pipeline.yaml:25: contents is empty; it needs at least 1",
        ],
    ),
    "wrong types": (
        GOOD.replace("hang_ms: 500", "hang_ms: soon").replace("[source]\n    knobs", "source\n    knobs"),
        [
            "pipeline.yaml:14: operator 'read': hang_ms must be a number, is text",
            "pipeline.yaml:17: operator 'clean': inputs must be a list, is text",
        ],
    ),
    "no is false": (
        GOOD.replace("[none, median]", "[no, median]"),
        [
            "pipeline.yaml:19: operator 'clean': knob 'filter': each value: "
            "YAML reads no as true or false; put it in quotes, or write true or false",
        ],
    ),
    "exponent": (
        GOOD.replace("[1, 0.5]", "[1e-3, 0.5]"),
        [
            "pipeline.yaml:20: operator 'clean': knob 'strength': each value: "
            "YAML reads 1e-3 as text; write it without an exponent, or put it in quotes",
        ],
    ),
    "octal": (
        GOOD.replace("[1, 0.5]", "[010, 0.5]"),
        [
            "pipeline.yaml:20: operator 'clean': knob 'strength': each value: "
            "010 is no plain decimal number to YAML; put it in quotes or write it in decimals",
        ],
    ),
    "date": (
        GOOD.replace("[none, median]", "[2024-01-02]"),
        [
            "pipeline.yaml:19: operator 'clean': knob 'filter': each value: "
            "YAML reads 2024-01-02 as a timestamp; put it in quotes",
        ],
    ),
    "nan": (
        GOOD.replace("[1, 0.5]", "[.nan, 0.5]"),
        [
            "pipeline.yaml:20: operator 'clean': knob 'strength': each value: .nan is not a finite decimal number",
        ],
    ),
    "repeated key": (
        GOOD.replace("description: A camera.", "pipeline: other"),
        [
            "pipeline.yaml:2: pipeline file: key 'pipeline' is repeated (first on line 1)",
        ],
    ),
    "entry point": (
        GOOD.replace("camera:Camera", "camera.Camera"),
        [
            "pipeline.yaml:5: source 'camera.Camera' must be \"module:Class\"",
        ],
    ),
    "source taken": (
        GOOD.replace("id: crop", "id: source").replace("[clean, crop]", "[clean, source]"),
        [
            "pipeline.yaml:21: operator id 'source' is taken: it is what operators call the source",
        ],
    ),
    "state": (
        GOOD.replace("per_source", "per-source"),
        [
            "pipeline.yaml:11: operator 'read': unknown state 'per-source'; did you mean 'per_source'?",
        ],
    ),
    "syntax": (
        GOOD.replace("[read]", "[read"),
        [
            "pipeline.yaml:25: not valid YAML: did not find expected ',' or ']'",
        ],
    ),
    "empty": ("", ["pipeline.yaml:1: the file is empty"]),
    "alias": (
        "pipeline: &a x\nsource: *a\n",
        [
            "pipeline.yaml:2: alias *a: aliases are not supported; write the value out",
        ],
    ),
    "clip too long": (
        CLIPS.replace("clip: 12", "clip: 993").replace("samples: 4", "samples: many"),
        [
            "pipeline.yaml:27: content 'drive': clip and warmup make 1001 items; the limit is 1000",
            "pipeline.yaml:27: content 'drive': samples must be a whole number, is text",
        ],
    ),
    "clip of none": (
        CLIPS.replace("clip: 12", "clip: 0"),
        ["pipeline.yaml:27: content 'drive': clip is 0; it must be 1 to 1,000"],
    ),
    "deep": ("pipeline: " + "[" * 5_000, ["pipeline.yaml:1: nested more than 20 deep"]),
    "long": ("#" * 300_000, ["pipeline.yaml: the file has 300,000 characters; the limit is 262,144"]),
    "no mapping": ("- 1\n", ["pipeline.yaml:1: pipeline file must be a mapping (key: value), is a list"]),
    "operator no mapping": (
        GOOD.replace("  - id: crop\n    class: operators:Crop\n    inputs: [source]", "  - crop"),
        [
            "pipeline.yaml:10: operator 'read': unknown input 'crop'; known: source, clean",
            "pipeline.yaml:21: each operator must be a mapping with id, class and inputs, is text",
        ],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_named_with_its_line(name: str) -> None:
    text, expected = BROKEN[name]
    assert messages(text) == expected


def test_errors_travel_one_by_one() -> None:
    with pytest.raises(SpecErrors) as caught:
        parse_pipeline(GOOD.replace("outputs: [read]", "outputs: [reed]"))
    assert [violation.field for violation in caught.value.violations] == ["pipeline.yaml:24"]


def test_all_errors_come_at_once() -> None:
    text = GOOD.replace("[1, 0.5]", "[]").replace("samples: 8", "samples: x").replace("[read]", "[reed]")
    assert [message.split(":")[1] for message in messages(text)] == ["20", "24", "26"]


def test_too_many_configurations_are_refused() -> None:
    knobs = "".join(f"      k{i}: [{', '.join(map(str, range(100)))}]\n" for i in range(4))
    text = GOOD.replace("      filter: [none, median]\n      strength: [1, 0.5]\n", knobs)
    assert "the knobs make 100,000,000 configurations; the limit is 1,000,000" in messages(text)[0]


@pytest.mark.parametrize(
    "text",
    ["\x00", "a: \ud800", "%YAML 9.9\n---\na: 1", "? [a]\n: b", "a: !!python/object:os.system x", "--- a\n--- b"],
)
def test_nothing_but_spec_errors_comes_out_of_odd_text(text: str) -> None:
    messages(text)


def test_the_schema_agrees_with_the_reader() -> None:
    schema = schema_of("pipeline")
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(yaml.safe_load(GOOD))
    validator.validate(yaml.safe_load(SEARCHED))
    for old, new in (
        ("monotone: true", "monotone: 1"),
        ("{values: [1, 0.5], ", "{"),
        ("clean.filter", "filter"),
        ("strength: 1}", "strength: [1]}"),
    ):
        assert list(validator.iter_errors(yaml.safe_load(SEARCHED.replace(old, new, 1)))), new
    for name in ("unknown key", "bad id", "empty domain", "nested value", "no samples", "wrong types", "no contents"):
        text, _ = BROKEN[name]
        assert list(validator.iter_errors(yaml.safe_load(text))), name


def test_pipelines_that_differ_in_description_only_are_otherwise_equal() -> None:
    other = parse_pipeline(GOOD.replace("A camera.", "Another."))
    assert replace(other, description="A camera.") == parse_pipeline(GOOD)


def test_the_schema_is_plain_json() -> None:
    assert json.loads(json.dumps(schema_of("queries")))["$schema"].startswith("https://json-schema.org/")


PARTS = GOOD.replace("    class: operators:Crop\n", "    class: operators:Crop\n    fan_out: crops\n").replace(
    "outputs: [read]",
    "  - {id: look, class: 'operators:Look', inputs: [crop], each: true}\n"
    "  - {id: name, class: 'operators:Name', inputs: [look], each: true}\n"
    "outputs: [read, name]",
)


def test_an_operator_that_is_run_for_each_part_is_read() -> None:
    pipeline = parse_pipeline(PARTS)
    assert [operator.id for operator in pipeline.operators if operator.each] == ["look", "name"]
    assert pipeline.split_by(OperatorId("crop")) == "crops"
    assert pipeline.split_by(OperatorId("look")) == pipeline.split_by(OperatorId("clean")) == ""


def test_an_operator_that_needs_the_network_says_so() -> None:
    pipeline = parse_pipeline(PARTS.replace("[look], each: true", "[look], each: true, network: true"))
    assert [operator.id for operator in pipeline.operators if operator.network] == ["name"]
    assert any("network must be" in message for message in messages(PARTS.replace("each: true", "network: 1", 1)))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("inputs: [crop], each", "inputs: [crop, clean], each", "needs exactly one input, there are 2"),
        ("    fan_out: crops\n", "", "its input 'crop' has no parts"),
        ("[look], each: true", "[look], each: true, fan_out: words", "a part can't be cut again"),
        ("[look], each: true", "[look], each: true, state: per_source", "it can carry no state"),
        ("[look], each: true", "[look], each: 1", "each must be"),
    ],
)
def test_what_cannot_be_run_for_each_part_is_refused(old: str, new: str, said: str) -> None:
    assert any(said in message for message in messages(PARTS.replace(old, new)))
