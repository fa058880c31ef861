"""The scorer of the traffic pipeline at its edges."""

import numpy as np
import pytest
from boxes import best_pairs, iou
from road_score import ClipF1, match


def truth(boxes, labels=None, hidden=None, crossed=(0, 0, 0, 0)):
    count = len(boxes)
    return {
        "boxes": np.array(boxes, np.float32).reshape(-1, 4),
        "labels": np.array(labels if labels is not None else [0] * count, np.int64),
        "ids": np.arange(count),
        "hidden": np.array(hidden if hidden is not None else [0] * count, np.uint8),
        "crossed": np.array(crossed),
    }


def answer(boxes, labels=None, ids=None, counts=(0, 0, 0, 0)):
    count = len(boxes)
    return {
        "count": {
            "boxes": np.array(boxes, np.float32).reshape(-1, 4),
            "labels": np.array(labels if labels is not None else [0] * count, np.int64),
            "ids": np.array(ids if ids is not None else range(count), np.int64),
            "counts": np.array(counts),
        }
    }


HERE, THERE = [0, 0, 20, 10], [100, 100, 120, 110]
SCORER = ClipF1()


@pytest.mark.parametrize(
    ("found", "labels", "expected"),
    [
        ([HERE, THERE], [0, 1], 1.0),
        ([THERE, HERE], [1, 0], 1.0),  # in any order
        ([HERE], [0], 2 / 3),
        ([HERE, THERE], [0, 0], 0.5),  # a wrong class is both a wrong box and a miss
        ([HERE, HERE, THERE], [0, 0, 1], 0.8),  # twice the same
        ([[0, 0, 10.1, 10], THERE], [0, 1], 1.0),  # just over a half
        ([[0, 0, 9.9, 10], THERE], [0, 1], 0.5),
        ([], [], 0.0),
    ],
)
def test_score_is_f1_of_boxes_of_the_right_class(found, labels, expected):
    assert SCORER.score(answer(found, labels), truth([HERE, THERE], [0, 1])) == pytest.approx(expected)


def test_nothing_found_where_nothing_is_is_right():
    assert SCORER.score(answer([]), truth([])) == 1.0
    assert SCORER.score(answer([HERE]), truth([])) == 0.0


def test_hidden_vehicles_need_not_be_found_and_boxes_on_them_are_no_error():
    hidden = truth([HERE, THERE], [0, 1], hidden=[0, 1])
    assert SCORER.score(answer([HERE], [0]), hidden) == 1.0
    assert SCORER.score(answer([HERE, THERE], [0, 3]), hidden) == 1.0
    assert match(answer([[50, 0, 60, 9]])["count"], hidden)[1:] == (1, 1)


def test_a_clip_pools_its_frames_and_a_frame_without_an_answer_has_found_nothing():
    truths = [truth([HERE]), truth([HERE, THERE]), truth([HERE])]
    outputs = [answer([HERE]), answer([HERE, THERE]), {}]
    assert SCORER.score_clip(outputs, truths) == pytest.approx(2 * 3 / (2 * 3 + 1))
    assert SCORER.score_clip([{}, {}, {}], truths) == 0.0


def test_tally_counts_changes_of_identity_and_errors_of_the_counts():
    truths = [truth([HERE], crossed=(1, 0, 0, 0)), truth([HERE], crossed=(2, 0, 1, 0))]
    outputs = [answer([HERE], ids=[5]), answer([HERE], ids=[6], counts=(1, 1, 0, 0))]
    tally = SCORER.tally(outputs, truths)
    assert tally == {"right": 2, "wrong": 0, "missed": 0, "switches": 1, "crossed": 2, "count_errors": 2}


def test_a_vehicle_seen_for_the_first_time_is_no_change_of_identity():
    tally = SCORER.tally([answer([HERE], ids=[5])] * 2, [truth([HERE])] * 2)
    assert tally["switches"] == 0


def test_corpus_metrics_come_from_sums():
    totals = {"right": 6, "wrong": 2, "missed": 4, "switches": 1, "crossed": 4, "count_errors": 1}
    metrics = SCORER.corpus(totals)
    assert metrics["F1"] == pytest.approx(12 / 18)
    assert metrics["precision"] == pytest.approx(0.75)
    assert metrics["recall"] == pytest.approx(0.6)
    assert metrics["MOTA"] == pytest.approx(1 - 7 / 10)
    assert metrics["count_error"] == pytest.approx(0.25)


def test_corpus_of_nothing_divides_by_nothing():
    nothing = SCORER.tally([answer([])], [truth([])])
    assert SCORER.corpus(nothing)["F1"] == 1.0


def test_iou_and_pairs():
    one = np.array([HERE, THERE], np.float64)
    other = np.array([[10, 0, 30, 10], THERE, [500, 0, 510, 10]], np.float64)
    assert iou(one, other) == pytest.approx(np.array([[1 / 3, 0, 0], [0, 1, 0]]))
    assert best_pairs(iou(one, other), 0.3) == [(1, 1), (0, 0)]
    assert best_pairs(np.array([[0.9, 0.8], [0.85, 0.1]]), 0.5) == [(0, 0)]
