"""Clips: operators with state run whole clips from a reset, and a clip has one score."""

from __future__ import annotations

import sys

import pytest

from circinus.payload import encode
from edge_agent.profile_inputs import Clip, Item, Step, read_pipeline
from edge_agent.profile_run import OperatorFailed, PipelineRun, parts_of

CODE = """
from circinus.operator import Operator, Scorer

class Halve(Operator):
    def process(self, inputs):
        number = inputs["source"]["number"]
        return {"number": number // self.knobs["by"], "parts": [b"", b"x", b"xx"][number % 3]}

class Total(Operator):
    resets = 0

    def setup(self):
        self.total = 0

    def reset(self):
        Total.resets += 1
        self.total = 0

    def process(self, inputs):
        self.total += inputs["halve"]["number"]
        return {"total": self.total}

class Hits(Scorer):
    def score(self, outputs, truth):
        return float(outputs["total"]["total"] == truth["total"])

    def label(self, outputs):
        return {"total": outputs["total"]["total"]}

    def tally(self, outputs, truths):
        return {"items": len(truths), "hits": sum(self.score(one, truth) for one, truth in zip(outputs, truths))}
"""
PIPELINE = """{"id": "sums", "source": "sums:None", "scorer": "sums:Hits", "outputs": ["total"], "operators": [
    {"id": "halve", "entry_point": "sums:Halve", "inputs": ["source"], "fan_out": "parts"},
    {"id": "total", "entry_point": "sums:Total", "inputs": ["halve"], "state": "per_source"}]}"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    (tmp_path / "sums.py").write_text(CODE)
    (tmp_path / "pipeline.json").write_text(PIPELINE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "sums", raising=False)
    run = PipelineRun(read_pipeline(tmp_path), speed_ratio=1.0, providers=("CPUExecutionProvider",))
    yield run
    run.close()
    sys.modules.pop("sums", None)


def clip(numbers, totals, warmup=0):
    items = [
        Item(payload=encode({"number": number}), truth=encode({"total": total}))
        for number, total in zip(numbers, totals, strict=True)
    ]
    return Clip(items=tuple(items), warmup=warmup)


def settings(by):
    return {"halve.by": by}


def test_state_is_carried_within_a_clip_and_not_into_the_next(run):
    first = clip([1, 2, 3], [1, 3, 6])
    for index in range(2):
        result, error = run.sample(index, first, settings(1), score=True)
        assert (error, result.score_ratio) == ("", 1.0)


def test_what_warms_up_is_run_but_not_scored_nor_counted(run):
    result, _ = run.sample(0, clip([5, 5, 1, 2], [0, 0, 11, 0], warmup=2), settings(1), score=True)
    assert result.score_ratio == 0.5
    assert dict(result.tally) == {"items": 2.0, "hits": 1.0}
    halve, _ = result.operators
    assert halve.parts == 1.5
    assert halve.output_bytes == round(
        (len(encode({"number": 1, "parts": b"x"})) + len(encode({"number": 2, "parts": b"xx"}))) / 2
    )


def test_a_clip_whose_inputs_are_known_is_not_run_again(run):
    sums = sys.modules.get("sums")
    known = clip([1, 2], [1, 3])
    run.sample(0, known, settings(1), score=True)
    sums = sys.modules["sums"]
    resets = sums.Total.resets
    result, _ = run.sample(0, known, settings(1), score=True)
    assert sums.Total.resets == resets
    assert result.operators[1].cached
    # Other knobs upstream that give the same numbers share it, too: what counts are the inputs.
    zeros = clip([0, 0], [0, 0])
    run.sample(1, zeros, settings(1), score=True)
    other, _ = run.sample(1, zeros, settings(2), score=True)
    assert other.operators[1].cached
    assert not other.operators[0].cached


def test_one_item_of_a_clip_is_timed_and_in_each_sample_the_next_one():
    three = clip([1, 2, 3, 4, 5], [0, 0, 0, 0, 0], warmup=2)
    assert [three.timed(index) for index in range(4)] == [2, 3, 4, 2]


def test_every_operator_is_timed_on_every_sample(run):
    for index in range(3):
        result, _ = run.sample(index, clip([1, 1, 1], [1, 2, 3]), settings(1), score=True)
        assert all(operator.cpu_ms > 0.0 for operator in result.operators)


def test_a_clip_is_scored_against_what_the_reference_gives(run):
    unknown = clip([9, 1, 2, 5], [-1, -1, -1, -1], warmup=1)
    labelled = run.labelled(0, unknown, settings(1))
    same, _ = run.sample(0, labelled, settings(1), score=True)
    other, _ = run.sample(0, labelled, settings(2), score=True)
    assert (same.score_ratio, other.score_ratio) == (1.0, 0.0)
    # What the reference gave is not made again.
    assert all(operator.cached for operator in same.operators)
    assert labelled.items[0].truth == unknown.items[0].truth


def test_equal_outputs_have_equal_fingerprints_and_others_do_not(run):
    results = [
        run.sample(index, clip(numbers, [0, 0]), settings(1), score=False)[0]
        for index, numbers in enumerate([[1, 2], [1, 2], [2, 1]])
    ]
    first, same, other = ([one.output_fingerprint for one in result.operators] for result in results)
    assert first == same
    assert all(one != another for one, another in zip(first, other, strict=True))


def test_a_fan_out_that_is_not_there_has_no_parts_and_one_that_has_no_length_is_refused():
    step = Step(id="cut", entry_point="m:Cut", inputs=("source",), stateful=False, hang_ms=1.0, fan_out="crops")
    assert parts_of(step, {"skipped": True}) == 0
    with pytest.raises(OperatorFailed, match=r"operator cut: fan_out names 'crops', which is int"):
        parts_of(step, {"crops": 3})
