"""A pipeline that prints what it does, secrets among it, and whose last operator dies now and then."""

import itertools
import os
import sys

from circinus.operator import Operator, Sample, Scorer, Source

#: The item that `tell` dies of while it serves; profiles are made of the first few alone.
DEADLY = 40


class Numbers(Source):
    def samples(self):
        for number in itertools.count():
            yield Sample(payload={"number": number, "image": bytes(100_000)}, truth={"double": 2 * number})


class Prepare(Operator):
    def process(self, inputs):
        number = inputs["source"]["number"]
        print(f"preparing with password=hunter2-{number}", flush=True)
        return {"number": number, "image": inputs["source"]["image"]}


class Read(Operator):
    def process(self, inputs):
        print("reading", file=sys.stderr, flush=True)
        return {"double": 2 * inputs["prepare"]["number"], "said": "so be it"}


class Tell(Operator):
    def process(self, inputs):
        double = inputs["read"]["double"]
        if double == 2 * DEADLY:
            print("the last words of tell", flush=True)
            os._exit(3)
        return {"double": double}


class Exact(Scorer):
    metric = "share of right answers"

    def score(self, outputs, truth):
        return float(outputs["tell"]["double"] == truth["double"])
