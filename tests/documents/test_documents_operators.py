"""The operators of the document pipeline, each on real pages."""

from itertools import islice

import numpy as np
import pytest
from accuracy import CharacterAccuracy
from camera import Camera
from engines import RapidReader, in_reading_order, open_engine
from operators import CANONICAL_HEIGHT, CANONICAL_WIDTH, Denoise, Encode, Read, Rectify, find_page, flatten, grey_image

from circinus import payload
from circinus.operator import OperatorContext

CONTEXT = OperatorContext()


def photographs(content, count=1, seed=1):
    return list(islice(Camera(content, seed).samples(), count))


def rectified(page, scale=1.0):
    return Rectify({"scale": scale}, CONTEXT).process({"source": page.payload})


@pytest.mark.parametrize("scale", [0.5, 0.75, 1.0])
def test_rectify_gives_the_page_at_its_scale(scale):
    (page,) = photographs("clean")
    image = rectified(page, scale)["image"]
    assert image.dtype == np.uint8
    assert image.shape == (round(CANONICAL_HEIGHT * scale), round(CANONICAL_WIDTH * scale))
    assert image.mean() > 180  # paper alone: the desk is cut off


@pytest.mark.slow
@pytest.mark.parametrize("content", ["clean", "hard"])
def test_page_is_found_in_every_photograph(content):
    assert all(find_page(page.payload["image"]) is not None for page in photographs(content, 30))


def test_frame_without_a_page_is_scaled_as_it_is():
    frame = np.full((440, 720), 128, dtype=np.uint8)
    assert find_page(frame) is None
    image = Rectify({"scale": 0.5}, CONTEXT).process({"source": {"image": frame}})["image"]
    assert image.shape == (155, 280)


def test_smallest_frame_there_is_goes_through():
    assert find_page(np.zeros((1, 1), dtype=np.uint8)) is None


def test_encode_gives_fewer_bytes_at_lower_quality():
    (page,) = photographs("hard")
    straight = rectified(page)
    sizes = [len(Encode({"quality": quality}, CONTEXT).process({"rectify": straight})["image"]) for quality in (20, 80)]
    assert 500 < sizes[0] < sizes[1] / 2
    assert sizes[1] < straight["image"].size / 4


def test_denoise_none_hands_on_what_it_is_given():
    given = {"image": b"any bytes"}
    assert Denoise({"filter": "none"}, CONTEXT).process({"encode": given}) == given


def test_flatten_makes_paper_white_wherever_the_light_falls():
    (page,) = photographs("hard")
    jpeg = Encode({"quality": 80}, CONTEXT).process({"rectify": rectified(page)})
    image = Denoise({"filter": "flatten"}, CONTEXT).process({"encode": jpeg})["image"]
    assert image.dtype == np.uint8
    quarters = [np.median(part) for half in np.array_split(image, 2) for part in np.array_split(half, 2, axis=1)]
    assert min(quarters) > 200
    assert np.median(grey_image(jpeg)) < 200


@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3)])
def test_flatten_takes_images_of_any_shape(shape):
    assert flatten(np.zeros(shape, dtype=np.uint8)).shape == shape


@pytest.mark.parametrize(
    "image",
    [
        b"",
        b"no image",
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((4, 4), np.float32),
        np.zeros((0, 4), np.uint8),
        "x",
        None,
    ],
)
def test_what_is_no_grey_image_is_refused(image):
    with pytest.raises(ValueError, match="image"):
        grey_image({"image": image} if image is not None else {})


@pytest.mark.parametrize(
    ("operator", "knobs"),
    [(Rectify, {"scale": 0}), (Encode, {"quality": 101}), (Denoise, {"filter": "magic"}), (Read, {"engine": "magic"})],
)
def test_unknown_knob_values_are_refused(operator, knobs):
    with pytest.raises(ValueError, match="is"):
        operator(knobs, CONTEXT)


@pytest.fixture(scope="module", params=["tesseract", "rapidocr"])
def reader(request):
    operator = Read({"engine": request.param}, CONTEXT)
    yield operator
    operator.close()


@pytest.mark.slow
def test_each_engine_reads_clean_pages(reader):
    scorer = CharacterAccuracy()
    for page in photographs("clean", 3):
        answer = reader.process({"denoise": rectified(page)})
        assert scorer.score({"read": answer}, page.truth) > 0.9


@pytest.mark.slow
def test_reading_is_the_same_for_pixels_that_travelled_and_after_other_pages(reader):
    first, second = photographs("clean", 2)
    straight = rectified(first, 0.75)
    answer = reader.process({"denoise": straight})
    reader.process({"denoise": rectified(second, 0.75)})
    assert reader.process({"denoise": payload.decode(payload.encode(straight))}) == answer


@pytest.mark.slow
def test_blank_page_has_no_text(reader):
    blank = {"image": np.full((200, 300), 255, dtype=np.uint8)}
    assert reader.process({"denoise": blank})["text"].strip() == ""


@pytest.mark.slow
def test_flatten_helps_tesseract_on_hard_pages():
    engine = open_engine("tesseract", CONTEXT)
    scorer = CharacterAccuracy()
    plain, flattened = [], []
    for page in photographs("hard", 8):
        image = rectified(page, 0.75)["image"]
        plain.append(scorer.score({"read": {"text": engine.read(image)}}, page.truth))
        flattened.append(scorer.score({"read": {"text": engine.read(flatten(image))}}, page.truth))
    engine.close()
    assert np.mean(flattened) > np.mean(plain) + 0.2


def test_closed_tesseract_says_so_and_closes_twice():
    engine = open_engine("tesseract", CONTEXT)
    engine.close()
    engine.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.read(np.zeros((10, 10), dtype=np.uint8))


@pytest.mark.slow
def test_accelerator_that_onnxruntime_cannot_use_is_an_error_and_no_quiet_fall_back_to_the_cpu():
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime can use CUDA")
    with pytest.raises(RuntimeError, match="CUDAExecutionProvider"):
        RapidReader(OperatorContext(providers=("CUDAExecutionProvider", "CPUExecutionProvider")))


def test_pieces_are_joined_down_the_page_and_along_the_line():
    def box(x, y):
        return np.array([[x, y], [x + 50, y], [x + 50, y + 20], [x, y + 20]], dtype=np.float32)

    boxes = [box(100, 43), box(0, 2), box(0, 40), box(90, 0)]
    assert in_reading_order(boxes, ["world", "good", "hello", "day"]) == "good day\nhello world"
    assert in_reading_order([], []) == ""
