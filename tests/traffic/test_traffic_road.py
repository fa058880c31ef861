"""The road camera: the same frames for a content and seed, and truth that says what is in them."""

from itertools import islice, pairwise

import cv2
import numpy as np
import pytest
from boxes import areas
from calibration import COUNT_LINE_X, FRAME_HEIGHT, FRAME_WIDTH
from road import CONTENTS, RoadCamera
from vehicles import CLASSES, make_vehicle

from circinus import payload
from circinus.spec.pipeline import parse_pipeline


def frames(content, seed, count=2):
    return list(islice(RoadCamera(content, seed).samples(), count))


def pixels(sample):
    return cv2.imdecode(np.frombuffer(sample.payload["image"], np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize("content", sorted(CONTENTS))
def test_same_content_and_seed_give_the_same_frames(content):
    for one, other in zip(frames(content, 7, 4), frames(content, 7, 4), strict=True):
        assert payload.encode(one.payload) == payload.encode(other.payload)
        assert payload.encode(one.truth) == payload.encode(other.truth)


def test_two_streams_that_run_side_by_side_do_not_touch_each_other():
    alone = frames("rain", 3, 3)
    one, other = RoadCamera("rain", 3).samples(), RoadCamera("rain", 4).samples()
    between = [(next(one), next(other))[0] for _ in range(3)]
    assert [sample.payload["image"] for sample in alone] == [sample.payload["image"] for sample in between]


@pytest.mark.parametrize("content", sorted(CONTENTS))
def test_other_seeds_give_other_traffic_on_the_same_street(content):
    one, other = (pixels(frames(content, seed, 1)[0]) for seed in (1, 2))
    assert not np.array_equal(one, other)
    houses = np.s_[20:60]  # above all that moves
    assert np.abs(one[houses].astype(int) - other[houses]).mean() < 15


@pytest.mark.parametrize("content", sorted(CONTENTS))
def test_a_frame_is_a_jpeg_with_its_number_and_truth_is_boxes(content, film):
    for number, sample in enumerate(film(content, 6)):
        assert sample.payload["frame"] == number
        assert len(sample.payload["image"]) < 60_000
        truth = sample.truth
        boxes = truth["boxes"]
        assert boxes.shape == (len(truth["labels"]), 4)
        assert len(truth["ids"]) == len(truth["hidden"]) == len(boxes)
        assert len(set(truth["ids"].tolist())) == len(boxes)
        assert set(truth["labels"].tolist()) <= set(range(len(CLASSES)))
        assert (areas(boxes) > 0).all()
        assert (boxes >= 0).all()
        assert (boxes <= [FRAME_WIDTH, FRAME_HEIGHT] * 2).all()
    assert pixels(sample).shape == (FRAME_HEIGHT, FRAME_WIDTH, 3)


def test_boxes_lie_where_the_frame_differs_from_the_frame_before(film):
    before, after = film("day", 6)[4:]
    change = np.abs(pixels(before).astype(int) - pixels(after)).max(axis=2) > 40
    inside = np.zeros_like(change)
    for sample in (before, after):
        for left, top, right, bottom in sample.truth["boxes"].astype(int):
            inside[max(0, top - 4) : bottom + 10, max(0, left - 14) : right + 14] = True  # with a shadow's width
    road = np.s_[176:325]
    assert change[road].sum() > 500
    assert change[road][inside[road]].sum() > 0.9 * change[road].sum()


def test_vehicles_keep_their_class_and_move_one_way(film):
    seen = {}
    for sample in film("day", 12):
        for identity, label, box in zip(
            *(sample.truth[name].tolist() for name in ("ids", "labels", "boxes")), strict=True
        ):
            seen.setdefault(identity, []).append((label, box))
    whole = [trace for trace in seen.values() if len(trace) == 12]
    assert len(whole) >= 2
    for trace in whole:
        assert len({label for label, _ in trace}) == 1
        middles = np.array([(box[0] + box[2]) / 2 for _, box in trace])
        steps = np.diff(middles)
        assert (steps > 0).all() or (steps < 0).all()


def test_crossed_counts_those_whose_middle_passes_the_line(film):
    samples = film("crowd", 40)
    assert all((np.diff([one.truth["crossed"] for one in samples], axis=0) >= 0).ravel())
    start, end = samples[1].truth["crossed"], samples[-1].truth["crossed"]
    passed = np.zeros(len(CLASSES), int)
    for before, after in pairwise(samples[1:]):
        old = dict(zip(before.truth["ids"].tolist(), before.truth["boxes"].tolist(), strict=True))
        for identity, box, label in zip(
            *(after.truth[name].tolist() for name in ("ids", "boxes", "labels")), strict=True
        ):
            if identity in old:
                sides = [(one[0] + one[2]) / 2 < COUNT_LINE_X for one in (old[identity], box)]
                passed[label] += sides[0] != sides[1]
    assert (end - start).sum() >= 3
    # Boxes are of what shows, so that one that is partly hidden may seem to pass a frame sooner or later, or twice.
    assert abs(int(passed.sum()) - int((end - start).sum())) <= 0.35 * (end - start).sum() + 1


def test_contents_look_like_what_they_are_called(film):
    bright = {content: np.mean([pixels(sample).mean() for sample in film(content, 6)]) for content in CONTENTS}
    traffic = {content: np.mean([len(sample.truth["boxes"]) for sample in film(content, 6)]) for content in CONTENTS}
    assert bright["night"] < 0.5 * bright["day"]
    assert traffic["crowd"] > 1.8 * max(traffic[content] for content in ("day", "rain", "night"))
    sky = np.s_[5:100]
    change = {
        content: np.abs(np.diff([pixels(sample)[sky].astype(float) for sample in film(content, 3)], axis=0)).mean()
        for content in ("day", "rain")
    }
    assert change["rain"] > 1.3 * change["day"]


def test_every_class_can_be_drawn_and_is_opaque():
    rng = np.random.default_rng(1)
    for label in range(len(CLASSES)):
        vehicle = make_vehicle(rng, label)
        sprite = vehicle.sprite(12.0)
        height, width = sprite.alpha.shape
        assert width == round(vehicle.length_m * 12)
        assert height == round(vehicle.height_m * 12)
        assert 0.4 < (sprite.alpha > 127).mean() <= 1
        assert np.array_equal(sprite.flipped().flipped().colour, sprite.colour)
        assert np.array_equal(vehicle.sprite(12.0).colour, sprite.colour)


def test_unknown_content_is_refused_by_name():
    with pytest.raises(ValueError, match="no content 'snow'"):
        next(RoadCamera("snow", 1).samples())


def test_seed_below_zero_is_refused():
    with pytest.raises(ValueError, match="seed is -1"):
        next(RoadCamera("day", -1).samples())


def test_every_content_of_the_pipeline_can_be_filmed(bundle):
    pipeline = parse_pipeline((bundle / "pipeline.yaml").read_text(encoding="utf-8"))
    assert {content.name for content in pipeline.contents} == set(CONTENTS)
    for content in pipeline.contents:
        assert frames(content.name, content.seed, 1)
