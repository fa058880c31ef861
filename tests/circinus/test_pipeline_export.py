"""`circinus pipeline export`: what is built in Python becomes a pipeline.yaml."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from circinus.cli.main import main
from circinus.model.pipeline import Pipeline
from circinus.spec.folder import load_pipeline
from circinus.spec.pipeline import parse_pipeline

OPERATORS = """\
from circinus.operator import Operator, Scorer, Source
class Camera(Source): ...
class Accuracy(Scorer): ...
class Read(Operator): ...
"""
BUILT = """\
from circinus.build import PipelineBuilder
from ex_operators import Accuracy, Camera, Read

print("talk")
gate = PipelineBuilder("gate", source=Camera, scorer=Accuracy)
gate.output(gate.operator("read", Read, inputs=[gate.source], knobs={"size": [320, 640]}))
gate.content("day", seed=1, samples=64)
"""
TEXT = """\
pipeline: gate

source: ex_operators:Camera
scorer: ex_operators:Accuracy

operators:
  - id: read
    class: ex_operators:Read
    inputs: [source]
    knobs:
      size: [320, 640]

outputs: [read]

contents:
  day: {seed: 1, samples: 64}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A pipeline's folder, the current one; its modules are forgotten afterwards."""
    before, path = set(sys.modules), list(sys.path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ex_operators.py").write_text(OPERATORS)
    (tmp_path / "ex_built.py").write_text(BUILT)
    yield tmp_path
    assert sys.path == path
    for name in set(sys.modules) - before:
        if name.startswith("ex_"):
            del sys.modules[name]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["pipeline", "export", *arguments])
    found = capsys.readouterr()
    assert "Traceback" not in found.err + found.out
    return code, found.out, found.err


def test_a_builder_is_written_to_stdout(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, err = run(capsys, "ex_built:gate")
    # What the module prints is no part of the file.
    assert (code, out, err) == (0, TEXT, "talk\n")


def test_the_file_makes_the_folder_a_bundle(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, out, err = run(capsys, "ex_built:gate", "--output-file", "pipeline.yaml")
    assert (code, out) == (0, "")
    assert "pipeline gate is written to pipeline.yaml" in err
    assert load_pipeline(folder) == parse_pipeline(TEXT)
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == [
        "ex_built.py",
        "ex_operators.py",
        "pipeline.yaml",
    ]


def test_a_module_of_another_folder_is_found(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    code, out, _ = run(capsys, "ex_built:gate", "--folder", "..")
    assert (code, out) == (0, TEXT)


def test_a_pipeline_value_is_written(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "ex_value.py").write_text("from ex_built import gate\npipeline = gate.build()\n")
    code, out, _ = run(capsys, "ex_value:pipeline")
    assert (code, out) == (0, TEXT)


def test_a_file_is_replaced_only_by_force(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    (folder / "pipeline.yaml").write_text("mine\n")
    code, out, err = run(capsys, "ex_built:gate", "--output-file", "pipeline.yaml")
    assert (code, out) == (2, "")
    assert "pipeline.yaml: there is such a file already; --force replaces it" in err
    assert (folder / "pipeline.yaml").read_text() == "mine\n"
    assert run(capsys, "ex_built:gate", "--output-file", "pipeline.yaml", "--force")[0] == 0
    assert (folder / "pipeline.yaml").read_text() == TEXT


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("nowhere/pipeline.yaml", "can't be written: No such file or directory"),
        (".", "is a folder; name the file in it"),
    ],
)
def test_where_nothing_can_be_written_is_said(
    capsys: pytest.CaptureFixture[str], folder: Path, where: str, reason: str
) -> None:
    code, out, err = run(capsys, "ex_built:gate", "--output-file", where, "--force")
    assert (code, out) == (2, "")
    assert f"{where}: {reason}" in err
    assert not list(folder.glob(".*"))


BROKEN = {
    "no module": ("", "ex_missing:gate", ".: no module 'ex_missing'"),
    "no package": ("", "ex_missing.inner:gate", ".: no module 'ex_missing'"),
    "no colon": ("", "ex_broken", "'ex_broken' must be \"module:name\""),
    "a path": ("", "./ex_broken.py:gate", "'./ex_broken.py:gate' must be \"module:name\""),
    "no name": (
        "from ex_built import gate\n",
        "ex_broken:gat",
        "ex_broken.py: module 'ex_broken' has no 'gat'; did you mean",
    ),
    "no names": ("x = 1\n", "ex_broken:gate", "ex_broken.py: module 'ex_broken' has no 'gate'\n"),
    "built in": ("", "sys:gate", "sys: module 'sys' has no 'gate'\n"),
    "another type": (
        "import sys\nif sys:\n    gate: object = 3\n",
        "ex_broken:gate",
        "ex_broken.py:3: 'gate' must be a PipelineBuilder or a Pipeline, is int",
    ),
    "a function": (
        "x = 1\ndef gate():\n    gate = 3\n",
        "ex_broken:gate",
        "ex_broken.py:2: 'gate' must be a PipelineBuilder or a Pipeline, is function",
    ),
    "raises": (
        "import json\nx = 1\ngate = json.loads('{')\n",
        "ex_broken:gate",
        "ex_broken.py:3: JSONDecodeError: Expecting property name",
    ),
    "raises elsewhere": (
        "import ex_raising\n",
        "ex_broken:gate",
        "ex_raising.py:2: ZeroDivisionError: division by zero",
    ),
    "ends": ("import sys\nsys.exit(7)\n", "ex_broken:gate", "ex_broken.py:2: SystemExit: 7"),
    "imports nothing": (
        "\nimport ex_absent\n",
        "ex_broken:gate",
        "ex_broken.py:2: ModuleNotFoundError: No module named 'ex_absent'",
    ),
    "syntax": ("x = 1\ngate = = 1\n", "ex_broken:gate", "ex_broken.py:2: no valid Python: invalid syntax"),
    "no pipeline": (
        "from circinus.build import PipelineBuilder\ngate = PipelineBuilder('Gate', source='a:B', scorer='a:B')\n",
        "ex_broken:gate",
        "ex_broken.py:2: pipeline 'Gate' must be lower-case letters",
    ),
    "built at once": (
        "from circinus.build import PipelineBuilder\ng = PipelineBuilder('Gate', source='a:B', scorer='a:B').build()\n",
        "ex_broken:g",
        "ex_broken.py:2: pipeline 'Gate' must be lower-case letters",
    ),
    "no valid pipeline": (
        "from dataclasses import replace\nfrom ex_built import gate\nbad = replace(gate.build(), outputs=('reed',))\n",
        "ex_broken:bad",
        "ex_broken.py:3: output 'reed' is no operator; did you mean 'read'?",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_one_message_with_its_line(
    capsys: pytest.CaptureFixture[str], folder: Path, name: str
) -> None:
    code, target, expected = BROKEN[name]
    (folder / "ex_broken.py").write_text(code)
    (folder / "ex_raising.py").write_text("def f():\n    return 1 / 0\nf()\n")
    status, out, err = run(capsys, target, "--output-file", "pipeline.yaml")
    assert (status, out) == (2, "")
    assert expected in err
    assert not (folder / "pipeline.yaml").exists()


def test_a_folder_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    code, _, err = run(capsys, "ex_built:gate", "--folder", "nowhere")
    assert code == 2
    assert "nowhere: no such folder" in err


def test_an_error_outside_of_the_current_folder_has_the_whole_path(
    capsys: pytest.CaptureFixture[str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "ex_broken.py").write_text("gate = 3\n")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    _, _, err = run(capsys, "ex_broken:gate", "--folder", "..")
    assert f"{folder}{os.sep}ex_broken.py:1: " in err


def test_the_exported_file_is_read_by_the_reader(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    pipeline = parse_pipeline(run(capsys, "ex_built:gate")[1])
    assert isinstance(pipeline, Pipeline)
    assert pipeline.configuration_count == 2
