"""A pipeline built in Python: the same value, by the same rules, as from a pipeline.yaml."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from circinus.build import PipelineBuilder
from circinus.model.pipeline import ContentSpec, OperatorSpec, State
from circinus.operator import Operator, Scorer, Source
from circinus.spec.errors import SpecErrors
from circinus.spec.pipeline import parse_pipeline

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/pipeline.yaml"))
TEXT = """\
pipeline: gate
description: Reads number plates.
environment:
  python: [numpy>=2.0]
  libraries: [tesseract]
  executables: [ffmpeg]
  debian: [tesseract-ocr, ffmpeg]
source: camera:Camera
scorer: score:Accuracy
operators:
  - id: find
    class: operators:Find
    inputs: [source]
    knobs: {size: {values: [320, 640], monotone: true}, blur: [1, 0.5]}
  - {id: track, class: "operators:Track", inputs: [find], state: per_source, pinned: source}
  - {id: read, class: "operators:Read", inputs: [find, track], accelerators: [cuda], hang_ms: 10000, fan_out: plates}
outputs: [read]
contents:
  day: {seed: 1, samples: 64}
  night: {seed: 2, samples: 64, clip: 12, warmup: 8}
  street: {seed: 3, samples: 64, reference: {find.size: 640, find.blur: 1}}
"""


class Camera(Source): ...


class Accuracy(Scorer): ...


class Find(Operator):
    class Inner(Operator): ...


def local_class() -> type[Operator]:
    class Local(Operator): ...

    return Local


@pytest.fixture
def code() -> SimpleNamespace:
    """Classes as they are where an author's modules lie in the pipeline's folder."""

    def made(base: type, module: str, name: str) -> type:
        return type(name, (base,), {"__module__": module})

    return SimpleNamespace(
        camera=made(Source, "camera", "Camera"),
        accuracy=made(Scorer, "score", "Accuracy"),
        **{name.lower(): made(Operator, "operators", name) for name in ("Find", "Track", "Read")},
    )


def small(**kwargs: object) -> PipelineBuilder:
    return PipelineBuilder("gate", source="camera:Camera", scorer="score:Accuracy", **kwargs)  # type: ignore[arg-type]


def read_only(**kwargs: object) -> PipelineBuilder:
    builder = small()
    builder.output(builder.operator("read", "operators:Read", **{"inputs": ["source"], **kwargs}))  # type: ignore[arg-type]
    builder.content("day", seed=1, samples=2)
    return builder


def errors(builder: PipelineBuilder) -> dict[str, str]:
    """What is said of it: the message by the text of the line that it points to."""
    with pytest.raises(SpecErrors) as caught:
        builder.build()
    return {error.message: Path(error.file).read_text().splitlines()[error.line - 1] for error in caught.value.errors}


def test_it_gives_what_the_file_gives(code: SimpleNamespace) -> None:
    gate = PipelineBuilder(
        "gate",
        source=code.camera,
        scorer=code.accuracy,
        description="Reads number plates.",
        python=["numpy>=2.0"],
        libraries=["tesseract"],
        executables=["ffmpeg"],
        debian=["tesseract-ocr", "ffmpeg"],
    )
    knobs = {"size": [320, 640], "blur": [1, 0.5]}
    find = gate.operator("find", code.find, inputs=[gate.source], knobs=knobs, monotone=["size"])
    track = gate.operator("track", code.track, inputs=[find], state="per_source", pinned="source")
    read = gate.operator(
        "read", code.read, inputs=[find, track], accelerators=["cuda"], hang_ms=10_000, fan_out="plates"
    )
    gate.output(read)
    gate.content("day", seed=1, samples=64)
    gate.content("night", seed=2, samples=64, clip=12, warmup=8)
    gate.content("street", seed=3, samples=64, reference={"find.blur": np.int64(1), "find.size": 640})
    assert repr(gate.build()) == repr(parse_pipeline(TEXT))


def test_what_is_left_out_has_its_default() -> None:
    pipeline = read_only().build()
    assert pipeline.operators == (
        OperatorSpec(id="read", entry_point="operators:Read", inputs=("source",)),  # type: ignore[arg-type]
    )
    assert pipeline.contents == (ContentSpec(name="day", seed=1, samples=2),)


def test_operators_are_put_after_their_inputs() -> None:
    gate = small()
    gate.operator("read", "operators:Read", inputs=["find"], state=State.PER_SOURCE)
    gate.operator("find", "operators:Find", inputs=["source"])
    gate.output("read")
    gate.content("day", seed=1, samples=1)
    assert [operator.id for operator in gate.build().operators] == ["find", "read"]


def test_a_domain_is_any_list_of_values_also_of_numpy() -> None:
    knobs = {"a": range(3), "b": np.linspace(0, 1, 3), "c": [np.int64(4), np.bool_(True)], "d": (x for x in "xy")}
    found = read_only(knobs=knobs).build().operators[0].knobs
    assert [knob.values for knob in found] == [(0, 1, 2), (0.0, 0.5, 1.0), (4, True), ("x", "y")]


def test_a_reference_is_completed_when_there_are_more_knobs() -> None:
    gate = PipelineBuilder.of(parse_pipeline(TEXT))
    gate.outputs.remove("read")
    gate.output(gate.operator("correct", "words:Correct", inputs=["read"], knobs={"distance": [0, 1]}))
    assert list(errors(gate)) == ["content 'street': reference: key 'correct.distance' is missing"]
    gate.reference("street", {"correct.distance": 1})
    assert gate.build().contents[2].reference == {"find.size": 640, "find.blur": 1.0, "correct.distance": 1}


def test_what_is_wrong_with_a_search_has_the_readers_words_and_the_lines_of_python() -> None:
    gate = small()
    gate.output(gate.operator("find", "a:B", inputs=["source"], knobs={"size": [1, 2]}, monotone=["sise"]))
    gate.content("day", seed=1, samples=1, reference={"find.sise": 2})
    gate.content("night", seed=1, samples=1, reference={"find.size": 3})
    gate.reference("noon", {})
    line = '    gate.content("day", seed=1, samples=1, reference={"find.sise": 2})'
    assert errors(gate) == {
        "operator 'find': monotone: 'sise' is no knob of it; known: size": (
            '    gate.output(gate.operator("find", "a:B", inputs=["source"], '
            'knobs={"size": [1, 2]}, monotone=["sise"]))'
        ),
        "content 'day': reference: key 'find.size' is missing": line,
        "content 'day': reference: unknown key 'find.sise'; did you mean 'find.size'?": line,
        "content 'night': reference: find.size has no value 3; known: 1, 2": (
            '    gate.content("night", seed=1, samples=1, reference={"find.size": 3})'
        ),
        "reference: there is no content 'noon'; known: day, night": '    gate.reference("noon", {})',
    }


def test_monotone_is_a_list_of_names() -> None:
    (message,) = errors(read_only(knobs={"k": [1, 2]}, monotone="k"))
    assert message == "operator 'read': monotone must be names of knobs, is 'k'"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_come_back_from_a_builder(path: Path) -> None:
    pipeline = parse_pipeline(path.read_text(encoding="utf-8"))
    assert PipelineBuilder.of(pipeline).build() == pipeline


def test_a_pipeline_of_a_file_is_extended() -> None:
    gate = PipelineBuilder.of(parse_pipeline(TEXT))
    gate.python.append("rapidfuzz>=3.10")
    gate.outputs.remove("read")
    gate.output(gate.operator("correct", "words:Correct", inputs=["read"]))
    gate.content("rain", seed=3, samples=64)
    extended = (
        TEXT.replace("[numpy>=2.0]", "[numpy>=2.0, rapidfuzz>=3.10]").replace(
            "outputs: [read]", '  - {id: correct, class: "words:Correct", inputs: [read]}\noutputs: [correct]'
        )
        + "  rain: {seed: 3, samples: 64}\n"
    )
    assert gate.build() == parse_pipeline(extended)


def test_building_again_after_a_change_gives_the_changed_one() -> None:
    gate = read_only()
    before = gate.build()
    gate.description = "Changed."
    assert gate.build() == replace(before, description="Changed.")


def test_errors_have_the_readers_words_and_the_lines_of_python() -> None:
    gate = small(python=["numpy", "numpy"])
    find = gate.operator("find", "operators:Find", inputs=["source"], knobs={"size": [1, 1], "On": []})
    gate.operator("read", "operators.Read", inputs=[find, "trakc"], state="per-source")
    gate.operator("track", "operators:Track", inputs="find", hang_ms=0)
    gate.output("read", "track", "reed")
    gate.content("day", seed=-1, samples=64)
    gate.content("Night", seed=1, samples=64, clip=990, warmup=12)
    assert errors(gate) == {
        "environment: python: 'numpy' is repeated": SMALL,
        "operator 'find': knob 'size': value 1 is repeated": (
            line := '    find = gate.operator("find", "operators:Find", inputs=["source"], '
            'knobs={"size": [1, 1], "On": []})'
        ),
        "operator 'find': knob 'On' must be lower-case letters, digits, dashes and underscores, "
        "beginning with a letter, at most 63": line,
        "operator 'find': knob 'On' is empty; it needs at least 1": line,
        "operator 'read': class 'operators.Read' must be \"module:Class\"": (
            line := '    gate.operator("read", "operators.Read", inputs=[find, "trakc"], state="per-source")'
        ),
        "operator 'read': unknown state 'per-source'; did you mean 'per_source'?": line,
        "operator 'read': unknown input 'trakc'; did you mean 'track'?": line,
        "operator 'track': inputs must be a list, is text": (
            line := '    gate.operator("track", "operators:Track", inputs="find", hang_ms=0)'
        ),
        "operator 'track': hang_ms is 0; it must be above 0 and at most 3,600,000": line,
        "output 'reed' is no operator; did you mean 'read'?": '    gate.output("read", "track", "reed")',
        "content 'day': seed is -1; it must be 0 to 9,223,372,036,854,775,807": (
            '    gate.content("day", seed=-1, samples=64)'
        ),
        "content 'Night' must be lower-case letters, digits and dashes, beginning with a letter, at most 63": (
            line := '    gate.content("Night", seed=1, samples=64, clip=990, warmup=12)'
        ),
        "content 'Night': clip and warmup make 1002 items; the limit is 1000": line,
    }


SMALL = next(line for line in Path(__file__).read_text().splitlines() if line.startswith("    return PipelineBuilder("))


def test_what_is_missing_is_said_of_the_builder() -> None:
    assert errors(small()) == {
        "operators is empty; it needs at least 1": SMALL,
        "outputs is empty; it needs at least 1": SMALL,
        "contents is empty; it needs at least 1": SMALL,
    }


def test_what_is_there_twice_is_said_of_the_second() -> None:
    gate = read_only()
    gate.operator("read", "operators:Other", inputs=["source"])
    gate.content("day", seed=2, samples=2)
    lines = Path(__file__).read_text().splitlines()
    first = {
        name: next(number for number, line in enumerate(lines, 1) if line.startswith(start))
        for name, start in (("read", "    builder.output(builder"), ("day", "    builder.content("))
    }
    assert errors(gate) == {
        f"operator 'read' is defined twice (first on line {first['read']})": (
            '    gate.operator("read", "operators:Other", inputs=["source"])'
        ),
        f"contents: key 'day' is repeated (first on line {first['day']})": (
            '    gate.content("day", seed=2, samples=2)'
        ),
    }


def test_classes_of_another_kind_are_refused() -> None:
    gate = PipelineBuilder("gate", source=Find, scorer=Accuracy)  # type: ignore[arg-type]
    gate.output(gate.operator("find", Camera, inputs=["source"]))  # type: ignore[arg-type]
    gate.content("day", seed=1, samples=1)
    assert [message.split(":")[-1] for message in errors(gate)] == [
        "source 'Find' is no subclass of circinus.operator.Source",
        " class 'Camera' is no subclass of circinus.operator.Operator",
    ]


@pytest.mark.parametrize("inner", [Find.Inner, local_class()])
def test_a_class_that_cannot_be_imported_by_its_name_is_refused(inner: type[Operator]) -> None:
    gate = small()
    gate.output(gate.operator("find", inner, inputs=["source"]))
    gate.content("day", seed=1, samples=1)
    (message,) = errors(gate)
    assert message == f"operator 'find': class '{__name__}:{inner.__qualname__}' must be \"module:Class\""


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("abc", " must be a list, is text"),
        (3, " must be a list, is a whole number"),
        ({1, 2}, " must be a list, is a mapping"),
        ([None], ": each value is empty"),
        ([[1]], ": each value must be one plain value, is a list"),
        ([2**63], ": each value: 9223372036854775808 does not fit in 64 bits"),
        ([float("nan")], ": each value: .nan is not a finite decimal number"),
        ([Path("a/b")], ": each value: YAML reads a/b as a PosixPath; put it in quotes"),
        (["x" * 201], ": a value has 201 characters; the limit is 200"),
    ],
    ids=str,
)
def test_a_domain_of_something_else_is_refused(values: object, expected: str) -> None:
    (message,) = errors(read_only(knobs={"k": values}))
    assert message == f"operator 'read': knob 'k'{expected}"


def test_text_that_no_file_can_hold_is_refused() -> None:
    (message,) = errors(small(description="\ud800"))
    assert message.startswith("not valid YAML: ")


def test_errors_of_a_pipeline_that_was_extended_name_their_operator() -> None:
    pipeline = parse_pipeline(TEXT)
    odd = replace(pipeline.operators[1], pinned="a b")
    builder = PipelineBuilder.of(replace(pipeline, operators=(pipeline.operators[0], odd, pipeline.operators[2])))
    (message,) = errors(builder)
    assert message.startswith("operator 'track': pinned 'a b' must be a device id")


@pytest.mark.slow
def test_who_runs_as_a_program_is_named_by_its_file(tmp_path: Path) -> None:
    program = tmp_path / "gate.py"
    program.write_text(
        "from circinus.build import PipelineBuilder\n"
        "from circinus.operator import Operator\n"
        "class Read(Operator): ...\n"
        "gate = PipelineBuilder('gate', source='a:B', scorer='a:B')\n"
        "gate.output(gate.operator('read', Read, inputs=[gate.source]))\n"
        "gate.content('day', seed=1, samples=1)\n"
        "print(gate.build().operators[0].entry_point)\n"
    )
    for arguments in ([str(program)], ["-m", "gate"]):
        found = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert found.stdout == "gate:Read\n"


def test_only_who_builds_needs_yaml() -> None:
    code = "import sys, circinus.build; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"yaml", "grpc", "numpy"} & set(loaded) == set()
