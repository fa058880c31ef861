"""A pipeline whose truth, times and accuracy are known by construction."""

import itertools
import time
from random import Random

from circinus.operator import Operator, Sample, Scorer, Source

CPU_MS = {"small": 2.0, "large": 8.0}


def burn(cpu_ms):
    """Uses so much CPU time."""
    end = time.process_time() + cpu_ms / 1000.0
    while time.process_time() < end:
        pass


class Numbers(Source):
    def samples(self):
        rng = Random(f"{self.content}-{self.seed}")
        for _ in itertools.count():
            number = rng.randrange(10**6)
            yield Sample(payload={"number": number, "image": bytes(20_000)}, truth={"double": 2 * number})


class Prepare(Operator):
    def process(self, inputs):
        burn(1.0)
        return {"number": inputs["source"]["number"]}


class Read(Operator):
    def process(self, inputs):
        size = self.knobs["size"]
        burn(CPU_MS[size])
        number = inputs["prepare"]["number"]
        wrong = size == "small" and number % 5 == 0
        return {"double": -1 if wrong else 2 * number}


class Exact(Scorer):
    metric = "share of right answers"

    def score(self, outputs, truth):
        return float(outputs["read"]["double"] == truth["double"])
