"""A pipeline written as YAML: it is read back as it was, and people can read it too."""

from __future__ import annotations

import enum
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from circinus.model.pipeline import (
    SOURCE,
    ContentSpec,
    EnvironmentSpec,
    Knob,
    KnobValue,
    OperatorId,
    OperatorSpec,
    Pipeline,
    PipelineId,
    State,
)
from circinus.spec import document
from circinus.spec.dump import pipeline_yaml
from circinus.spec.errors import SpecErrors
from circinus.spec.pipeline import MAX_ITEMS, parse_pipeline

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/pipeline.yaml"))
TEXT = """\
pipeline: gate
description: Reads number plates.

environment:
  python: [numpy>=2.0, onnxruntime>=1.20]
  libraries: [tesseract]

source: camera:Camera
scorer: score:CharacterAccuracy

operators:
  - id: find
    class: operators:Find
    inputs: [source]
    knobs:
      size: [320, 640]
      blur: [0.0, 0.5, 1.0e-05]
      filter: [none, 'yes', 'null', '1e-3', '0x10', '2024-01-02', '']
      fast: [true, false]
      model:
        values: [small, large]
        monotone: true
  - id: track
    class: operators:Track
    inputs: [find]
    state: per_source
    pinned: source
  - id: read
    class: operators:Read
    inputs: [find, track]
    accelerators: [cuda]
    hang_ms: 10000
    fan_out: plates

outputs: [read]

contents:
  day: {seed: 1, samples: 64}
  night: {seed: 2, samples: 64, clip: 12, warmup: 8}
  street:
    seed: 3
    samples: 64
    reference: {find.size: 640, find.blur: 0.5, find.filter: 'yes', find.fast: true, find.model: large}
"""
#: Without a reference, so that knobs may be others.
LABELLED = TEXT.split("  street:")[0]

# Ids that YAML 1.1 would take for something else.
IDS = st.from_regex(r"[a-z][a-z0-9-]{0,62}", fullmatch=True) | st.sampled_from(
    ["yes", "no", "on", "off", "null", "true", "false", "y", "e-1", "inf", "nan"]
)
KNOB_NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,62}", fullmatch=True) | st.sampled_from(["no", "null", "on"])
ENTRY_POINTS = st.from_regex(r"[A-Za-z_]\w{0,8}(\.[A-Za-z_]\w{0,8}){0,2}:[A-Za-z_]\w{0,8}", fullmatch=True)
ODD_WORDS = """
    yes No on OFF y n true False none None null Null ~ = << <<: - -- --- ... ? : :: # ! !! & * | > % @ ` ' " \\
    1 -1 +1 01 010 0b1 0x10 0o17 1_000 1:30 190:20:30 1. .5 1.5 1e3 1e-3 1E+3 .5e1 -1.e-3 1_0e1 +.inf .NaN inf nan
    2024-01-02 2024-01-02T03:04:05Z 1.2.3 ١e5 a:b a#b a,b [a] {a} !a &a *a [ ] { } , numpy>=2.0 x@https://y Grüße
"""
ODD_TEXTS = [
    *ODD_WORDS.split(),
    *("", " ", "  a", "a ", "a  b", "a: b", "a #b", "- a", "? a", "a\tb", "\t", "\n", "a\n", "a\n\n", "\na"),
    *("a\nb", "a \nb", "a\n b", " a\nb", "a\n\n\nb", "a\r\nb", "a\rb", "a\x85b", "a\u2028b", "a\u2029b\n"),
    *("\ufeffa", "\x00", "\x7f\x80\x9f\xa0", "\ufffe\uffff", "\U0001f600", "\U0010ffff", "x " * 99, "word" * 50),
]
TEXTS = st.text(max_size=200) | st.sampled_from(ODD_TEXTS)
NAMED_TEXTS = TEXTS.filter(bool)
VALUES = (
    TEXTS
    | st.integers(-(2**63), 2**63 - 1)
    | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([1e16, 1e-7, 5e-324, 1.7976931348623157e308, -0.0, 0.1])
)


def is_number(value: KnobValue) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


@st.composite
def domains(draw: st.DrawFn) -> tuple[KnobValue, ...]:
    values: list[KnobValue] = list(dict.fromkeys(draw(st.lists(VALUES, min_size=1, max_size=3))))
    if all(map(is_number, values)) and any(isinstance(value, float) for value in values):
        # As the reader does; two large whole numbers may become the same real.
        return tuple(dict.fromkeys(float(value) for value in values))
    return tuple(values)


@st.composite
def contents(draw: st.DrawFn, name: str, operators: list[OperatorSpec]) -> ContentSpec:
    clip = draw(st.integers(1, MAX_ITEMS) | st.just(1))
    # In the order in which the reader gives them.
    names = [f"{operator.id}.{knob.name}" for operator in operators for knob in operator.knobs]
    domains = [st.sampled_from(knob.values) for operator in operators for knob in operator.knobs]
    return ContentSpec(
        name=name,
        seed=draw(st.integers(0, 2**63 - 1)),
        samples=draw(st.integers(1, 10_000)),
        clip=clip,
        warmup=draw(st.integers(0, MAX_ITEMS - clip) | st.just(0)),
        reference=draw(st.none() | st.tuples(*domains).map(lambda values: dict(zip(names, values, strict=True)))),
    )


@st.composite
def pipelines(draw: st.DrawFn) -> Pipeline:
    """Valid pipelines in every respect, as the reader gives them."""
    operator_ids = IDS.filter(lambda name: name != SOURCE).map(OperatorId)
    ids = draw(st.lists(operator_ids, min_size=1, max_size=4, unique=True))
    texts = st.lists(NAMED_TEXTS, max_size=3, unique=True).map(tuple)
    operators = [
        OperatorSpec(
            id=name,
            entry_point=draw(ENTRY_POINTS),
            inputs=tuple(draw(st.lists(st.sampled_from([SOURCE, *ids[:place]]), min_size=1, unique=True))),
            knobs=tuple(
                Knob(name=knob, values=draw(domains()), monotone=draw(st.booleans()))
                for knob in draw(st.lists(KNOB_NAMES, max_size=3, unique=True))
            ),
            state=draw(st.sampled_from(State)),
            pinned=draw(st.just("") | st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True)),
            accelerator_kinds=draw(texts),
            hang_ms=draw(
                st.just(30_000.0) | st.integers(1, 3_600_000).map(float) | st.floats(0, 3.6e6, exclude_min=True)
            ),
            fan_out=draw(TEXTS),
            network=draw(st.booleans()),
        )
        for place, name in enumerate(ids)
    ]
    operators = [
        replace(each, site_inputs=tuple(name for name in each.inputs if draw(st.booleans()))) for each in operators
    ]
    read = {name for operator in operators for name in operator.inputs}
    needed = [name for name in ids if name not in read]
    more = draw(st.lists(st.sampled_from(ids), unique=True))
    return Pipeline(
        id=PipelineId(draw(IDS)),
        description=draw(st.text(max_size=2_000) | st.sampled_from(ODD_TEXTS)),
        environment=EnvironmentSpec(
            python=draw(texts), libraries=draw(texts), executables=draw(texts), debian=draw(texts)
        ),
        source=draw(ENTRY_POINTS),
        scorer=draw(ENTRY_POINTS),
        operators=tuple(operators),
        outputs=tuple(dict.fromkeys([*more, *needed])),
        contents=tuple(
            draw(contents(name, operators)) for name in draw(st.lists(IDS, min_size=1, max_size=3, unique=True))
        ),
    )


@pytest.mark.slow
@given(pipelines())
@settings(deadline=None)
def test_what_is_written_is_read_back(pipeline: Pipeline) -> None:
    found = parse_pipeline(pipeline_yaml(pipeline))
    assert found == pipeline
    # Equal is not enough: 1 == 1.0 == True.
    assert repr(found) == repr(pipeline)


@pytest.mark.slow
@pytest.mark.parametrize("loader", [yaml.SafeLoader, getattr(yaml, "CSafeLoader", yaml.SafeLoader)])
def test_odd_text_stays_the_same_text_with_either_loader(loader: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "_LOADER", loader)
    gate = parse_pipeline(LABELLED)
    for text in ODD_TEXTS:
        find = replace(gate.operators[0], knobs=(Knob(name="k", values=(text, 1, 0.5)),))
        changed = replace(gate, description=text, operators=(find, *gate.operators[1:]))
        assert parse_pipeline(pipeline_yaml(changed)) == changed


def test_it_is_written_as_people_write_it() -> None:
    assert pipeline_yaml(parse_pipeline(TEXT)) == TEXT


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_are_read_back(path: Path) -> None:
    pipeline = parse_pipeline(path.read_text(encoding="utf-8"))
    assert parse_pipeline(pipeline_yaml(pipeline)) == pipeline


def test_a_description_of_several_lines_is_a_block() -> None:
    described = replace(parse_pipeline(TEXT), description="Reads plates.\n\n  Also at night: it's für alle.")
    text = pipeline_yaml(described)
    assert "description: |-\n  Reads plates.\n\n    Also at night: it's für alle.\n\nenvironment:" in text
    assert parse_pipeline(text) == described


def test_kinds_of_text_and_numbers_are_written_as_what_they_are_kinds_of() -> None:
    colour = enum.StrEnum("colour", ["RED"])
    size = enum.IntEnum("size", ["ONE"])
    gate = parse_pipeline(LABELLED)
    odd = replace(gate.operators[0], knobs=(Knob(name="k", values=(colour.RED, size.ONE)),))
    found = parse_pipeline(pipeline_yaml(replace(gate, operators=(odd, *gate.operators[1:]))))
    assert [(value, type(value)) for value in found.operators[0].knobs[0].values] == [("red", str), (1, int)]


def test_what_no_file_can_hold_is_refused_by_the_reader() -> None:
    gate = parse_pipeline(LABELLED)
    odd = replace(gate.operators[0], knobs=(Knob(name="k", values=(Path("a/b"), float("nan"))),))  # type: ignore[arg-type]
    with pytest.raises(SpecErrors) as caught:
        parse_pipeline(pipeline_yaml(replace(gate, operators=(odd, *gate.operators[1:]))))
    assert sorted(error.message for error in caught.value.errors) == [
        "operator 'find': knob 'k': each value: .nan is not a finite decimal number",
        "operator 'find': knob 'k': each value: YAML reads a/b as a PosixPath; put it in quotes",
    ]


def test_writing_leaves_yaml_itself_as_it_is() -> None:
    assert yaml.safe_dump(["1e-3", None]) == "- 1e-3\n- null\n"
