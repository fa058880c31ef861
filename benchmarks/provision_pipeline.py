"""A pipeline whose environment is nowhere but in a bundle: it needs a wheel that no index and no box has."""

from __future__ import annotations

import base64
import hashlib
import zipfile
from pathlib import Path

_FILES = {
    "pipeline.yaml": """pipeline: lantern
description: Doubles numbers by a library of its own.
environment:
  python: [circinus-lantern==1.0]
source: lamps:Numbers
scorer: lamps:Exact
operators:
  - id: double
    class: lamps:Double
    inputs: [source]
outputs: [double]
contents:
  plain: {seed: 1, samples: 20}
""",
    "lamps.py": """import itertools

from circinus.operator import Operator, Sample, Scorer, Source


class Numbers(Source):
    def samples(self):
        for number in itertools.count(self.seed):
            yield Sample(payload={"number": number}, truth={"double": 2 * number})


class Double(Operator):
    def setup(self):
        import circinus_lantern

        self.double = circinus_lantern.double

    def process(self, inputs):
        return {"double": self.double(inputs["source"]["number"])}


class Exact(Scorer):
    metric = "share of right answers"

    def score(self, outputs, truth):
        return float(outputs["double"]["double"] == truth["double"])
""",
    "query.yaml": """- id: lamp
  pipeline: lantern
  content: plain
  source: {device}
  rate_per_s: 2
  slo: {{latency_ms: 500, percentile: 0.95, accuracy: 0.9}}
""",
}
_WHEEL = {
    "circinus_lantern.py": "def double(number):\n    return 2 * number\n",
    "circinus_lantern-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: circinus-lantern\nVersion: 1.0\n",
    "circinus_lantern-1.0.dist-info/WHEEL": (
        "Wheel-Version: 1.0\nGenerator: circinus\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
}


def write_pipeline(folder: Path, device: str) -> tuple[Path, Path, Path]:
    """Writes a pipeline, a folder with the wheel that it needs, and a query from a device; gives their paths."""
    pipeline, links, query = folder / "lantern", folder / "links", folder / "query.yaml"
    pipeline.mkdir()
    links.mkdir()
    for name in ("pipeline.yaml", "lamps.py"):
        (pipeline / name).write_text(_FILES[name])
    query.write_text(_FILES["query.yaml"].format(device=device))
    record = "circinus_lantern-1.0.dist-info/RECORD"
    lines = []
    with zipfile.ZipFile(links / "circinus_lantern-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in _WHEEL.items():
            wheel.writestr(name, text)
            digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
            lines.append(f"{name},sha256={digest},{len(text.encode())}")
        wheel.writestr(record, "\n".join([*lines, f"{record},,", ""]))
    return pipeline, links, query
