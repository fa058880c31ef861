"""What a source's process says of answers: alone, and as clips."""

from __future__ import annotations

from itertools import count

import pytest

from circinus.operator import Sample, Scorer, Source
from circinus.payload import encode
from circinus.v1 import worker_pb2
from edge_agent.source_process import SourceProcess


class Numbers(Source):
    def samples(self):
        for number in count():
            yield Sample(payload={"number": number}, truth={"number": number})


class Right(Scorer):
    def score(self, outputs, truth):
        return float(outputs["read"]["number"] == truth["number"])


class Wild(Scorer):
    def score(self, outputs, truth):
        return float("nan")


def process(clip=1, scorer=Right, emitted=0):
    made = SourceProcess(Numbers("plain", 1), scorer() if scorer else None, clip)
    for sequence in range(100, 100 + emitted):
        made.emit(sequence)
    return made


def answer(sequence, number=None):
    outputs = {} if number is None else {"read": encode({"number": number})}
    return worker_pb2.ScoreAnswer(sequence=sequence, outputs=outputs)


def scores(scored):
    return {item.sequence: item.score_ratio if item.HasField("score_ratio") else None for item in scored.items}


def test_an_item_alone_is_scored_with_its_answer():
    made = process(emitted=2)
    assert scores(made.answer(answer(100, 0))) == {100: 1.0}
    assert scores(made.answer(answer(101, 7))) == {101: 0.0}


def test_an_item_without_an_answer_has_no_score():
    assert scores(process(emitted=1).answer(answer(100))) == {100: None}


def test_a_clip_is_scored_when_its_last_item_has_ended_in_whatever_order():
    made = process(clip=3, emitted=6)
    assert not made.answer(answer(102, 2)).items
    assert not made.answer(answer(103, 3)).items
    assert not made.answer(answer(100, 9)).items
    assert scores(made.answer(answer(101, 1))) == pytest.approx({102: 2 / 3, 100: 2 / 3, 101: 2 / 3})


def test_a_dropped_item_counts_as_wrong_in_its_clip():
    made = process(clip=2, emitted=2)
    made.answer(answer(100))
    assert scores(made.answer(answer(101, 1))) == {100: 0.5, 101: 0.5}


def test_a_clip_that_is_never_full_is_scored_by_what_there_is():
    made = process(clip=4, emitted=5)
    for sequence in (100, 101):
        made.answer(answer(sequence, sequence - 100))
    # Two of the clip are still on their way, and of the next one nothing has ended.
    assert scores(made.score_rest()) == {100: 0.5, 101: 0.5}
    assert not made.score_rest().items


def test_an_item_that_nobody_knows_says_so():
    made = process(emitted=1)
    made.answer(answer(100, 0))
    (item,) = made.answer(answer(100, 0)).items
    assert "no longer known" in item.error


def test_a_score_that_is_none_is_an_error():
    (item,) = process(scorer=Wild, emitted=1).answer(answer(100, 0)).items
    assert "not in 0..1" in item.error
    assert not item.HasField("score_ratio")


def test_without_a_scorer_nothing_has_a_score():
    assert scores(process(scorer=None, emitted=1).answer(answer(100, 0))) == {100: None}


def test_items_of_which_nothing_is_heard_do_not_pile_up():
    made = process(clip=2)
    for sequence in range(5_000):
        made.emit(sequence)
    assert "no longer known" in made.answer(answer(0, 0)).items[0].error
    assert not made.answer(answer(4_998, 4_998)).items
