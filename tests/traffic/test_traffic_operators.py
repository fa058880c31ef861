"""The operators of the traffic pipeline, each on made frames."""

import numpy as np
import pytest
from boxes import iou, no_boxes
from calibration import FRAME_HEIGHT, FRAME_WIDTH
from following import Count, Track
from road_score import ClipF1
from seeing import CROP_PX, MODELS, Classify, Crop, Decode, Detect, cut_crops, moving_boxes
from vehicles import CLASSES

from circinus import payload
from circinus.operator import OperatorContext

CONTEXT = OperatorContext()


def decode(sample, width=320, every=1):
    return Decode({"width": width, "every": every}, CONTEXT).process({"source": sample.payload})


def detected(samples, method="mog2", clean="light", width=320, operator=None):
    operator = operator or Detect({"method": method, "clean": clean}, CONTEXT)
    return [operator.process({"decode": decode(sample, width)}) for sample in samples]


class Chain:
    """The whole pipeline in one configuration."""

    def __init__(self, width=320, every=1, method="mog2", clean="light", model="large"):
        self.decode = Decode({"width": width, "every": every}, CONTEXT)
        self.detect = Detect({"method": method, "clean": clean}, CONTEXT)
        self.crop, self.track, self.count = Crop({}, CONTEXT), Track({}, CONTEXT), Count({}, CONTEXT)
        self.classify = Classify({"model": model}, CONTEXT)

    def process(self, sample):
        image = self.decode.process({"source": sample.payload})
        boxes = self.detect.process({"decode": image})
        crops = self.crop.process({"decode": image, "detect": boxes})
        scores = self.classify.process({"crop": crops})
        tracks = self.track.process({"detect": boxes})
        return self.count.process({"classify": scores, "track": tracks})

    def score(self, samples, warmup):
        outputs = [{"count": self.process(sample)} for sample in samples][warmup:]
        return ClipF1().score_clip(outputs, [sample.truth for sample in samples[warmup:]])


@pytest.mark.parametrize("width", [160, 240, 320, 640])
def test_decode_gives_the_frame_at_its_width(width, film):
    (sample,) = film("day", 1)
    output = decode(sample, width)
    assert output["image"].shape == (width * 9 // 16, width, 3)
    assert output["image"].dtype == np.uint8
    assert output["frame"] == 0
    assert not output["skipped"]


def test_decode_skips_all_frames_but_one_of_every(film):
    skipped = [decode(sample, every=3)["skipped"] for sample in film("day", 6)]
    assert skipped == [False, True, True, False, True, True]
    assert decode(film("day", 2)[1], every=3)["image"].size == 0


@pytest.mark.parametrize("image", [b"", b"no image"])
def test_what_is_no_image_is_refused(image):
    with pytest.raises(ValueError, match="can't be decoded"):
        Decode({"width": 320, "every": 1}, CONTEXT).process({"source": {"image": image, "frame": 0}})


@pytest.mark.parametrize(
    ("operator", "knobs"),
    [
        (Decode, {"width": 10, "every": 1}),
        (Decode, {"width": 320, "every": 0}),
        (Detect, {"method": "magic", "clean": "light"}),
        (Detect, {"method": "knn", "clean": "magic"}),
        (Classify, {"model": "magic"}),
    ],
)
def test_unknown_knob_values_are_refused(operator, knobs):
    with pytest.raises(ValueError, match="is"):
        operator(knobs, CONTEXT)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mog2", "knn"])
def test_most_vehicles_are_found_by_day(method, film):
    samples = film("day", 36)
    found = total = 0
    for sample, output in list(zip(samples, detected(samples, method), strict=True))[24:]:
        boxes = sample.truth["boxes"][sample.truth["hidden"] == 0]
        found += int((iou(boxes, output["boxes"]).max(axis=1, initial=0) > 0.4).sum())
        total += len(boxes)
    assert total > 30
    assert found > 0.6 * total


@pytest.mark.slow
@pytest.mark.parametrize("method", ["mog2", "knn"])
def test_detect_forgets_all_when_reset_whatever_ran_before(method, film):
    samples = film("day", 12)
    fresh = detected(samples, method)
    operator = Detect({"method": method, "clean": "light"}, CONTEXT)
    other = Detect({"method": method, "clean": "strong"}, CONTEXT)
    detected(film("crowd", 8), operator=operator)
    operator.reset()
    again = []
    for sample in samples:
        again += detected([sample], operator=operator)
        detected(film("crowd", 1), operator=other)  # another replica in the same process
    assert [payload.encode(one) for one in again] == [payload.encode(one) for one in fresh]


def test_detect_finds_nothing_in_a_frame_that_was_skipped(film):
    output = Detect({"method": "mog2", "clean": "light"}, CONTEXT).process(
        {"decode": decode(film("day", 2)[1], every=2)}
    )
    assert output["boxes"].shape == (0, 4)
    assert output["skipped"]


@pytest.mark.parametrize("width", [160, 320, 640])
def test_boxes_lie_on_what_the_mask_shows_in_pixels_of_the_frame(width):
    scale = width / FRAME_WIDTH
    mask = np.zeros((round(FRAME_HEIGHT * scale), width), np.uint8)
    mask[round(100 * scale) : round(140 * scale), round(200 * scale) : round(280 * scale)] = 255
    (box,) = moving_boxes(mask, 3)
    assert box == pytest.approx([200, 100, 280, 140])


def test_thin_ends_are_cut_off_and_specks_left_out():
    mask = np.zeros((FRAME_HEIGHT, FRAME_WIDTH), np.uint8)
    mask[100:140, 200:280] = 255
    mask[134:140, 280:340] = 255  # a beam
    mask[300:303, 300:303] = 255
    (box,) = moving_boxes(mask, 3)
    assert box == pytest.approx([200, 100, 280, 140])


def test_strong_cleaning_takes_streaks_off_and_leaves_bodies():
    mask = np.zeros((FRAME_HEIGHT, FRAME_WIDTH), np.uint8)
    mask[50:90, 100:105] = 255
    mask[200:230, 300:380] = 255
    assert len(moving_boxes(mask, 3)) == 2
    assert len(moving_boxes(mask, 9)) == 1


def test_an_empty_mask_has_no_boxes():
    assert moving_boxes(np.zeros((90, 160), np.uint8), 3).shape == (0, 4)


def test_crops_are_squares_around_the_boxes():
    image = np.zeros((180, 320, 3), np.uint8)
    image[50:70, 100:140] = 200  # in the frame 200..280, 100..140
    crops = cut_crops(image, np.array([[200, 100, 280, 140], [0, 0, 30, 20], [620, 350, 640, 360]], np.float32))
    assert crops.shape == (3, CROP_PX, CROP_PX, 3)
    assert crops.dtype == np.uint8
    assert crops[0, CROP_PX // 2].mean() > 150
    assert crops[0, 1].max() == 0  # what is above a wide box
    assert crops[1:].max() == 0


def test_no_boxes_and_skipped_frames_have_no_crops():
    empty = (0, CROP_PX, CROP_PX, 3)
    assert cut_crops(np.zeros((90, 160, 3), np.uint8), no_boxes()).shape == empty
    assert cut_crops(np.zeros((0, 0, 3), np.uint8), no_boxes()).shape == empty


@pytest.mark.parametrize("model", MODELS)
def test_scores_are_distributions_and_do_not_depend_on_what_else_is_in_the_frame(model):
    crops = np.random.default_rng(1).integers(0, 255, (7, CROP_PX, CROP_PX, 3)).astype(np.uint8)
    operator = Classify({"model": model}, CONTEXT)
    scores = operator.process({"crop": {"crops": crops}})["scores"]
    assert scores.shape == (7, len(CLASSES) + 1)
    assert scores.sum(axis=1) == pytest.approx(np.ones(7), abs=1e-5)
    single = operator.process({"crop": {"crops": crops[3:4]}})["scores"]
    assert single[0] == pytest.approx(scores[3], abs=1e-5)
    assert operator.process({"crop": {"crops": crops[:0]}})["scores"].shape == (0, len(CLASSES) + 1)


@pytest.mark.slow
def test_larger_models_are_right_more_often(film):
    rights = {}
    samples = [sample for content in ("day", "night") for sample in film(content, 36)]
    crops, labels = [], []
    for sample in samples[::3]:
        clear = sample.truth["hidden"] == 0
        crops.append(cut_crops(decode(sample, 640)["image"], sample.truth["boxes"][clear]))
        labels.append(sample.truth["labels"][clear])
    expected = np.concatenate(labels)
    for model in MODELS:
        scores = Classify({"model": model}, CONTEXT).process({"crop": {"crops": np.concatenate(crops)}})["scores"]
        rights[model] = (scores.argmax(axis=1) == expected).mean()
    assert rights["tiny"] + 0.1 < rights["small"] < rights["large"]
    assert rights["large"] > 0.9


def boxes_at(left, frame, skipped=False, top=280):
    boxes = no_boxes() if skipped else np.array([[left, top, left + 70, top + 28]], np.float32)
    return {"detect": {"boxes": boxes, "frame": frame, "skipped": skipped}}


def test_a_track_keeps_its_id_and_goes_on_through_skipped_frames():
    track = Track({}, CONTEXT)
    first = [track.process(boxes_at(100 + 30 * frame, frame)) for frame in range(4)]
    assert {int(output["ids"][0]) for output in first} == {0}
    assert all(output["rows"].tolist() == [0] for output in first)
    carried = track.process(boxes_at(0, 4, skipped=True))
    assert carried["ids"].tolist() == [0]
    assert carried["rows"].tolist() == [-1]
    assert carried["boxes"][0] == pytest.approx([220, 280, 290, 308])
    assert track.process(boxes_at(250, 5))["ids"].tolist() == [0]


def test_a_new_track_is_looked_for_where_traffic_in_its_rows_goes():
    track = Track({}, CONTEXT)
    track.process(boxes_at(100, 0))
    assert track.process(boxes_at(160, 3))["ids"].tolist() == [0]  # to the right, on the near lanes
    other = Track({}, CONTEXT)
    other.process(boxes_at(300, 0))
    assert other.process(boxes_at(220, 3))["ids"].tolist() == [1]  # nobody drives that way


def test_a_track_that_is_seen_once_and_never_again_ends():
    track = Track({}, CONTEXT)
    track.process(boxes_at(100, 0))
    gone = track.process({"detect": {"boxes": no_boxes(), "frame": 1, "skipped": False}})
    assert len(gone["ids"]) == 0


def test_a_track_that_leaves_the_frame_is_not_given():
    track = Track({}, CONTEXT)
    for frame in range(3):
        track.process(boxes_at(480 + 40 * frame, frame))
    assert len(track.process(boxes_at(0, 6, skipped=True))["ids"]) == 0


def test_late_frames_change_nothing_and_gaps_are_bridged():
    track = Track({}, CONTEXT)
    for frame in (0, 1, 2):
        track.process(boxes_at(100 + 30 * frame, frame))
    late = track.process(boxes_at(130, 1))
    assert late["boxes"][0] == pytest.approx([130, 280, 200, 308])
    assert late["rows"].tolist() == [-1]
    assert track.process(boxes_at(280, 6))["ids"].tolist() == [0]


def test_a_stream_that_begins_anew_is_followed_anew():
    track = Track({}, CONTEXT)
    for frame in range(100, 104):
        track.process(boxes_at(100, frame))
    again = track.process(boxes_at(100, 0))
    assert again["ids"].tolist() == [0]
    assert again["rows"].tolist() == [0]


def tracked(frame, left, ids=(0,), rows=(0,)):
    boxes = np.array([[left, 280, left + 70, 308]] * len(ids), np.float32)
    return {"boxes": boxes, "ids": np.array(ids), "rows": np.array(rows), "frame": frame}


def scores_of(*labels, certainty=0.8):
    scores = np.full((len(labels), len(CLASSES) + 1), (1 - certainty) / len(CLASSES), np.float32)
    scores[np.arange(len(labels)), labels] = certainty
    return {"scores": scores}


def test_a_track_is_what_most_of_its_crops_showed():
    count = Count({}, CONTEXT)
    labels = [
        int(count.process({"classify": scores_of(label), "track": tracked(frame, 100)})["labels"][0])
        for frame, label in enumerate([2, 2, 1, 2])
    ]
    assert labels == [2, 2, 2, 2]
    carried = count.process(
        {"classify": {"scores": np.zeros((0, 5), np.float32)}, "track": tracked(4, 100, rows=(-1,))}
    )
    assert carried["labels"].tolist() == [2]


def test_what_is_no_vehicle_is_left_out():
    count = Count({}, CONTEXT)
    output = count.process({"classify": scores_of(4, 0), "track": tracked(0, 100, ids=(7, 8), rows=(0, 1))})
    assert output["ids"].tolist() == [8]
    assert output["boxes"].shape == (1, 4)


def test_each_vehicle_is_counted_once_when_it_passes_the_line():
    count = Count({}, CONTEXT)
    counts = [
        count.process({"classify": scores_of(1), "track": tracked(frame, left)})["counts"].tolist()
        for frame, left in enumerate([200, 260, 320, 270, 330])
    ]
    assert counts == [[0, 0, 0, 0]] * 2 + [[0, 1, 0, 0]] * 3


def test_many_vehicles_in_view_are_an_alert():
    count = Count({}, CONTEXT)
    few = count.process({"classify": scores_of(0), "track": tracked(0, 100)})
    many = count.process(
        {"classify": scores_of(*[0] * 20), "track": tracked(1, 100, ids=range(20), rows=tuple(range(20)))}
    )
    assert (few["alert"], many["alert"]) == (False, True)


@pytest.mark.slow
def test_frames_that_are_lost_or_late_stop_nothing(film):
    chain = Chain(width=160)
    samples = film("crowd", 20)
    order = [0, 1, 2, 5, 4, 6, 12, 11, 10, 13, 19, 3]
    outputs = [chain.process(samples[index]) for index in order]
    assert [output["frame"] for output in outputs] == order
    assert all(len(output["boxes"]) == len(output["labels"]) == len(output["ids"]) for output in outputs)


@pytest.mark.slow
def test_the_same_clip_gives_the_same_bytes_after_a_reset(film):
    chain = Chain(every=2)
    samples = film("night", 16)
    first = [payload.encode(chain.process(sample)) for sample in samples]
    for operator in (chain.detect, chain.track, chain.count):
        operator.reset()
    assert [payload.encode(chain.process(sample)) for sample in samples] == first


@pytest.mark.slow
def test_most_of_a_clear_day_is_right_and_the_smallest_model_is_less_so(film):
    day = film("day", 36)
    best = Chain().score(day, 24)
    assert best > 0.6
    assert best > Chain(model="tiny").score(day, 24) + 0.1


@pytest.mark.slow
def test_strong_cleaning_helps_in_rain_and_harms_at_night(film):
    rain, night = film("rain", 36), film("night", 36)
    assert Chain(width=160, clean="strong").score(rain, 24) > Chain(width=160, clean="light").score(rain, 24) + 0.05
    strong, light = (Chain(width=160, method="knn", clean=clean).score(night, 24) for clean in ("strong", "light"))
    assert light > strong + 0.1
