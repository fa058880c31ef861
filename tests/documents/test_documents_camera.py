"""The document camera: the same pages for a content and seed, at a cost that a live source can bear."""

from itertools import islice

import numpy as np
import pytest
from camera import CONDITIONS, FRAME_HEIGHT, FRAME_WIDTH, LINES, Camera
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


def test_a_page_is_a_grey_frame_and_its_truth_is_text():
    (page,) = pages("hard", 1, 1)
    image = page.payload["image"]
    assert image.shape == (FRAME_HEIGHT, FRAME_WIDTH)
    assert image.dtype == np.uint8
    assert len(page.truth["text"].splitlines()) == LINES


def test_hard_pages_are_darker_than_clean_ones():
    brightness = {
        content: np.mean([page.payload["image"].mean() for page in pages(content, 3, 4)]) for content in CONDITIONS
    }
    assert brightness["hard"] < 0.7 * brightness["clean"]


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
    assert [content.name for content in pipeline.contents] == ["clean", "hard"]
    for content in pipeline.contents:
        assert pages(content.name, content.seed, 1)
