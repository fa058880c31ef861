"""The document camera: the same pages for a content and seed, at a cost that a live source can bear."""

from itertools import islice

import numpy as np
import pytest
from camera import CONDITIONS, FRAME_HEIGHT, FRAME_WIDTH, Camera
from words import page_lines

from circinus import payload
from circinus.spec.pipeline import parse_pipeline


def pages(content, seed, count=2):
    return list(islice(Camera(content, seed).samples(), count))


@pytest.mark.parametrize("content", sorted(CONDITIONS))
def test_same_content_and_seed_give_the_same_pages(content):
    for one, other in zip(pages(content, 7), pages(content, 7), strict=True):
        assert payload.encode(one.payload) == payload.encode(other.payload)
        assert one.truth == other.truth


def test_other_seeds_and_other_contents_give_other_pages():
    texts = {pages(content, seed, 1)[0].truth["text"] for content in CONDITIONS for seed in (1, 2, 3)}
    assert len(texts) == 3 * len(CONDITIONS)


def test_cameras_that_run_side_by_side_do_not_disturb_each_other():
    dark, blurred = Camera("dark", 7).samples(), Camera("blurred", 7).samples()
    taken = [next(source).payload for source in (dark, blurred, dark, blurred)]
    assert payload.encode(taken[3]) == payload.encode(pages("blurred", 7)[1].payload)


@pytest.mark.parametrize("content", sorted(CONDITIONS))
def test_a_page_is_a_grey_frame_and_its_truth_is_text(content):
    (page,) = pages(content, 1, 1)
    image = page.payload["image"]
    assert image.shape == (FRAME_HEIGHT, FRAME_WIDTH)
    assert image.dtype == np.uint8
    lines = page.truth["text"].splitlines()
    assert len(lines) == CONDITIONS[content].lines
    assert max(map(len, lines)) <= CONDITIONS[content].characters


def measured(content, measure):
    return np.mean([measure(page) for page in pages(content, 3, 4)])


def brightness(page):
    return page.payload["image"].mean()


def detail(page):
    """How steep the steepest steps between neighbours are; the page's edge is among them."""
    return np.percentile(np.abs(np.diff(page.payload["image"].astype(int), axis=1)), 99.5)


def test_dark_pages_are_darker_than_all_others():
    others = min(measured(content, brightness) for content in CONDITIONS if content != "dark")
    assert measured("dark", brightness) < 0.8 * others


def test_blurred_pages_have_softer_edges_than_clean_ones():
    assert measured("blurred", detail) < 0.6 * measured("clean", detail)


def test_small_print_has_more_text_on_a_page():
    assert measured("small", lambda page: len(page.truth["text"])) > 1.5 * measured(
        "clean", lambda page: len(page.truth["text"])
    )


def test_unknown_content_is_refused_by_name():
    with pytest.raises(ValueError, match="no content 'night'"):
        next(Camera("night", 1).samples())


def test_seed_below_zero_is_refused():
    with pytest.raises(ValueError, match="seed is -1"):
        next(Camera("clean", -1).samples())


def test_lines_are_wrapped_between_words_and_bounded():
    lines = page_lines(np.random.default_rng(5), 200, 36)
    assert len(lines) == 200
    assert all(0 < len(line) <= 36 and line == line.strip() for line in lines)


def test_every_content_of_the_pipeline_can_be_photographed(bundle):
    pipeline = parse_pipeline((bundle / "pipeline.yaml").read_text(encoding="utf-8"))
    assert [content.name for content in pipeline.contents] == ["clean", "blurred", "dark", "small"]
    for content in pipeline.contents:
        assert pages(content.name, content.seed, 1)
