"""Sample sets come from the author's own source, in a process of its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from circinus import samples
from circinus.errors import CircinusError, CodeFailed, InvalidInput, TimedOut
from circinus.spec.folder import load_pipeline
from circinus.v1 import types_pb2

YAML = """\
pipeline: toy
environment: {python: [numpy]}
source: toy:Numbers
scorer: toy:Same
operators:
  - {id: up, class: "toy:Up", inputs: [source]}
outputs: [up]
contents: {day: {seed: 7, samples: 3}}
"""
CODE = """\
from circinus.operator import Operator, Sample, Scorer, Source

class Numbers(Source):
    def samples(self):
        n = self.seed
        while True:
            yield Sample(payload={"n": n, "content": self.content, "b": str(set("abc"))}, truth={"n": n + 1})
            n += 1

class Up(Operator):
    def process(self, inputs):
        return {"n": inputs["source"]["n"] + 1}

class Same(Scorer):
    def score(self, outputs, truth):
        return float(outputs["up"]["n"] == truth["n"])
"""

pytestmark = [pytest.mark.slow, pytest.mark.system]


def make(tmp_path: Path, code: str = CODE, yaml: str = YAML) -> Path:
    folder = tmp_path / "toy"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(yaml)
    (folder / "toy.py").write_text(code)
    return folder


async def generate(folder: Path, timeout_s: float = 60.0) -> bytes:
    pipeline = load_pipeline(folder)
    return await samples.generate(folder, pipeline, pipeline.contents[0], timeout_s=timeout_s)


async def test_the_first_samples_come_with_their_truth_and_are_the_same_each_time(tmp_path: Path) -> None:
    folder = make(tmp_path)
    data = await generate(folder)
    assert await generate(folder) == data
    found = types_pb2.SampleSet.FromString(data)
    assert (found.pipeline_id, found.content) == ("toy", "day")
    assert [sample.items[0].payload.fields["n"].integer for sample in found.samples] == [7, 8, 9]
    assert [sample.items[0].truth.fields["n"].integer for sample in found.samples] == [8, 9, 10]
    assert not (folder / "__pycache__").exists()


@pytest.mark.parametrize(
    ("old", "new", "kind", "expected"),
    [
        (
            "n = self.seed",
            "n = 1 / 0",
            CodeFailed,
            "toy/toy.py:5: content 'day': the source raised in sample 0: ZeroDivisionError",
        ),
        (
            "from circinus",
            "import nosuchmodule\nfrom circinus",
            InvalidInput,
            "no module 'nosuchmodule'; the pipeline declares numpy: install",
        ),
        ("while True:", "while n < 9:", CodeFailed, "ended after 2 samples; 3 are asked for"),
        (
            "yield Sample(",
            "yield dict(",
            CodeFailed,
            "sample 0 is dict; the source must yield circinus.operator.Sample",
        ),
        ('"n": n,', '"n": object(),', CodeFailed, "sample 0 can't travel: payload field 'n' is object"),
        (
            "class Numbers(Source)",
            "class Numbers",
            InvalidInput,
            "toy:Numbers is no subclass of circinus.operator.Source",
        ),
        ("n = self.seed", "import os; os.abort()", CodeFailed, "the source's process died (signal 6)"),
        ("n = self.seed", "print('last words'); raise SystemExit(4)", CodeFailed, "died (exit status 4): last words"),
        ('"n": n,', '"n": bytes(5_000_000),', CodeFailed, "sample 0 has 5,000,0"),
    ],
)
async def test_what_is_wrong_with_a_source_is_said_in_a_line(
    tmp_path: Path, old: str, new: str, kind: type[CircinusError], expected: str
) -> None:
    with pytest.raises(kind) as caught:
        await generate(make(tmp_path, CODE.replace(old, new, 1)))
    assert expected in caught.value.message
    assert "Traceback" not in caught.value.message


async def test_a_source_that_hangs_is_stopped(tmp_path: Path) -> None:
    folder = make(tmp_path, CODE.replace("n = self.seed", "import time; time.sleep(600)"))
    with pytest.raises(TimedOut, match="made no 3 samples in 2 s"):
        await generate(folder, timeout_s=2.0)


def test_a_class_that_is_not_there_is_named_with_its_line(tmp_path: Path) -> None:
    folder = make(tmp_path, yaml=YAML.replace("toy:Up", "toy:Upp"))
    with pytest.raises(InvalidInput, match=r"pipeline.yaml:6: toy.py has no 'Upp'; did you mean 'Up'\?"):
        load_pipeline(folder)


def test_code_that_is_no_python_is_named_with_its_line(tmp_path: Path) -> None:
    folder = make(tmp_path, CODE.replace("while True:", "while True"))
    with pytest.raises(InvalidInput, match="toy.py:6: no valid Python"):
        load_pipeline(folder)
