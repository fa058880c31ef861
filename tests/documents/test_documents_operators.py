"""The operators of the document pipeline, each on real pages."""

from itertools import islice

import numpy as np
import pytest
from accuracy import CharacterAccuracy
from camera import CONDITIONS, Camera
from engines import ENGINES, Cascade, RapidReader, in_reading_order, open_engine
from operators import (
    CANONICAL_HEIGHT,
    CANONICAL_WIDTH,
    Denoise,
    Encode,
    Read,
    Rectify,
    find_page,
    flatten,
    grey_image,
    sharpen,
)

from circinus import payload
from circinus.operator import OperatorContext

CONTEXT = OperatorContext()


def photographs(content, count=1, seed=1):
    return list(islice(Camera(content, seed).samples(), count))


def rectified(page, scale=1.0):
    return Rectify({"scale": scale}, CONTEXT).process({"source": page.payload})


@pytest.mark.parametrize("scale", [0.4, 0.6, 1.0])
def test_rectify_gives_the_page_at_its_scale(scale):
    (page,) = photographs("clean")
    image = rectified(page, scale)["image"]
    assert image.dtype == np.uint8
    assert image.shape == (round(CANONICAL_HEIGHT * scale), round(CANONICAL_WIDTH * scale))
    assert image.mean() > 180  # paper alone: the desk is cut off


@pytest.mark.slow
@pytest.mark.parametrize("content", sorted(CONDITIONS))
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
    (page,) = photographs("dark")
    straight = rectified(page)
    sizes = [len(Encode({"quality": quality}, CONTEXT).process({"rectify": straight})["image"]) for quality in (20, 80)]
    assert 500 < sizes[0] < sizes[1] / 2
    assert sizes[1] < straight["image"].size / 4


def test_denoise_none_hands_on_what_it_is_given():
    given = {"image": b"any bytes"}
    assert Denoise({"filter": "none"}, CONTEXT).process({"encode": given}) == given


def test_flatten_makes_paper_white_wherever_the_light_falls():
    (page,) = photographs("dark")
    jpeg = Encode({"quality": 80}, CONTEXT).process({"rectify": rectified(page)})
    image = Denoise({"filter": "flatten"}, CONTEXT).process({"encode": jpeg})["image"]
    assert image.dtype == np.uint8
    quarters = [np.median(part) for half in np.array_split(image, 2) for part in np.array_split(half, 2, axis=1)]
    assert min(quarters) > 200
    assert np.median(grey_image(jpeg)) < 200


def test_sharpen_makes_edges_steeper_and_leaves_even_paper_alone():
    (page,) = photographs("blurred")
    jpeg = Encode({"quality": 80}, CONTEXT).process({"rectify": rectified(page)})
    image = Denoise({"filter": "sharpen"}, CONTEXT).process({"encode": jpeg})["image"]
    steps = [np.percentile(np.abs(np.diff(pixels.astype(int), axis=1)), 99) for pixels in (grey_image(jpeg), image)]
    assert image.dtype == np.uint8
    assert steps[1] > 1.5 * steps[0]
    paper = np.full((40, 60), 200, dtype=np.uint8)
    assert np.array_equal(sharpen(paper), paper)


@pytest.mark.parametrize("change", [flatten, sharpen])
@pytest.mark.parametrize("shape", [(1, 1), (3, 400), (400, 3)])
def test_filters_take_images_of_any_shape(change, shape):
    assert change(np.zeros(shape, dtype=np.uint8)).shape == shape


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


@pytest.fixture(scope="module", params=ENGINES)
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


def mean_accuracy(content, count, engine, scale, filter_name, quality=80):
    """Mean score of the first pages of a content through the whole pipeline."""
    rectify, encode = Rectify({"scale": scale}, CONTEXT), Encode({"quality": quality}, CONTEXT)
    denoise, scorer = Denoise({"filter": filter_name}, CONTEXT), CharacterAccuracy()
    scores = []
    for page in photographs(content, count):
        encoded = encode.process({"rectify": rectify.process({"source": page.payload})})
        text = engine.read(grey_image(denoise.process({"encode": encoded})))
        scores.append(scorer.score({"read": {"text": text}}, page.truth))
    return np.mean(scores)


@pytest.fixture(scope="module")
def tesseract():
    engine = open_engine("tesseract", CONTEXT)
    yield engine
    engine.close()


@pytest.mark.slow
def test_the_filter_that_helps_one_content_harms_another(tesseract):
    dark = {name: mean_accuracy("dark", 8, tesseract, 0.6, name) for name in Denoise.FILTERS}
    blurred = {name: mean_accuracy("blurred", 12, tesseract, 0.6, name) for name in Denoise.FILTERS}
    assert dark["flatten"] > max(dark["none"], dark["sharpen"]) + 0.2
    assert blurred["sharpen"] > max(blurred["none"], blurred["flatten"]) + 0.05


@pytest.mark.slow
def test_half_the_scale_does_for_clean_pages_and_loses_small_print(tesseract):
    assert mean_accuracy("clean", 6, tesseract, 0.6, "none") > 0.95
    small = {scale: mean_accuracy("small", 6, tesseract, scale, "none") for scale in (0.6, 1.0)}
    assert small[1.0] > small[0.6] + 0.15


@pytest.mark.slow
def test_low_quality_ruins_dark_pages_at_a_small_scale(tesseract):
    by_quality = {quality: mean_accuracy("dark", 8, tesseract, 0.4, "flatten", quality) for quality in (20, 80)}
    assert by_quality[80] > by_quality[20] + 0.15


@pytest.mark.slow
def test_rapidocr_reads_dark_pages_that_tesseract_cannot(tesseract):
    engine = open_engine("rapidocr", CONTEXT)
    assert mean_accuracy("dark", 4, engine, 0.6, "none") > mean_accuracy("dark", 4, tesseract, 0.6, "none") + 0.2
    engine.close()


class Reader:
    """Stands for RapidOCR: answers at once, and counts."""

    def __init__(self):
        self.pages = 0

    def read(self, image):
        self.pages += 1
        return "second opinion"

    def close(self):
        pass


@pytest.mark.slow
def test_cascade_reads_again_only_what_tesseract_is_not_sure_of(tesseract):
    second = Reader()
    cascade = Cascade(tesseract, second)
    clean, dark = (rectified(photographs(content, 3)[-1])["image"] for content in ("clean", "dark"))
    assert cascade.read(clean) == tesseract.read(clean)
    assert second.pages == 0
    assert cascade.read(dark) == "second opinion"
    assert cascade.read(np.full((200, 300), 255, dtype=np.uint8)) == "second opinion"  # nothing to be sure of
    assert second.pages == 2


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
