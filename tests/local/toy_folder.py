"""A tiny pipeline of pure Python, to be broken in one place at a time."""

from __future__ import annotations

from pathlib import Path

FILES = {
    "pipeline.yaml": """\
pipeline: sums
source: numbers_toy:Numbers
scorer: score_toy:Right
operators:
  - id: scale
    class: steps_toy:Scale
    inputs: [source]
    knobs:
      by: [1, 2]
  - id: total
    class: steps_toy:Total
    inputs: [scale]
    state: per_source
    knobs:
      wrong: [false, true]
outputs: [total]
contents:
  few: {seed: 1, samples: 3, clip: 2, warmup: 1}
  many: {seed: 2, samples: 3, clip: 2, warmup: 1}
""",
    "numbers_toy.py": """\
from random import Random

from circinus.operator import Sample, Source


class Numbers(Source):
    def samples(self):
        rng = Random(f"{self.content}-{self.seed}")
        while True:
            number = rng.randrange(1000)
            yield Sample(payload={"number": number}, truth={"number": number})
""",
    "steps_toy.py": """\
from circinus.operator import Operator


class Scale(Operator):
    def process(self, inputs):  # scale
        number = inputs["source"]["number"]
        return {"number": number * self.knobs["by"]}


class Total(Operator):
    def setup(self):
        self.reset()

    def reset(self):
        self.total = 0

    def process(self, inputs):  # total
        number = inputs["scale"]["number"]
        self.total += number
        return {"number": -1 if self.knobs["wrong"] else number, "total": self.total}
""",
    "score_toy.py": """\
from circinus.operator import Scorer


class Right(Scorer):
    def score(self, outputs, truth):
        return float(outputs["total"]["number"] == truth["number"])
""",
}


def write_toy(folder: Path, *edits: tuple[str, str, str]) -> Path:
    """Writes the pipeline into a new folder; each edit is a file, what stands in it once, and what is to stand there.

    An edit whose second part is empty writes a file anew.
    """
    folder.mkdir(parents=True)
    files = dict(FILES)
    for name, old, new in edits:
        assert not old or files[name].count(old) == 1, f"{name} has {old!r} {files[name].count(old)} times"
        files[name] = files[name].replace(old, new) if old else new
    for name, text in files.items():
        (folder / name).write_text(text)
    return folder
