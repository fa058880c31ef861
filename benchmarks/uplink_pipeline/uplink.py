"""A pipeline whose times and accuracy are known by construction: the large reader is too slow for a small box."""

import itertools
import time
from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from circinus.operator import Operator, Sample, Scorer, Source

CPU_MS = {"small": 2.0, "large": 30.0}


def burn(cpu_ms: float) -> None:
    """Uses so much CPU time."""
    end = time.process_time() + cpu_ms / 1000.0
    while time.process_time() < end:
        pass


class Plates(Source):
    """Numbers on pictures of 20 kB."""

    def samples(self) -> Iterator[Sample]:
        rng = Random(f"{self.content}-{self.seed}")
        for _ in itertools.count():
            number = rng.randrange(10**6)
            yield Sample(payload={"number": number, "image": bytes(20_000)}, truth={"number": number})


class Prepare(Operator):
    """Looks at the picture, and leaves it out."""

    def process(self, inputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        burn(1.0)
        return {"number": inputs["source"]["number"]}


class Read(Operator):
    """Reads the number."""

    def process(self, inputs: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        size, number = self.knobs["size"], inputs["prepare"]["number"]
        burn(CPU_MS[size])
        return {"number": -1 if size == "small" and number % 5 == 0 else number}


class Exact(Scorer):
    """Right or wrong."""

    metric = "share of right answers"

    def score(self, outputs: Mapping[str, Mapping[str, Any]], truth: Mapping[str, Any]) -> float:
        return float(outputs["read"]["number"] == truth["number"])
