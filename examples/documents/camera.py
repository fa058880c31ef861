"""The document camera: pages of text whose truth is known, photographed on a desk.

A page is set in type (with the typeface that Pillow ships, so that no font need be installed), laid askew on a
darker desk, lit, blurred and given the noise of a sensor. How much of each is what a content is:

clean   an office scanner's work: straight light, little noise.
hard    a hand-held photograph at dusk: a strong fall of light, a shadow across the page, blur, noise, faint ink.

The same content and seed give the same pages, for ever.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont
from words import page_lines

from circinus.operator import Sample, Source

#: What the camera's sensor gives.
FRAME_WIDTH, FRAME_HEIGHT = 720, 440

#: The page as printed, in the frame's pixels when it is laid straight.
PAGE_WIDTH, PAGE_HEIGHT = 560, 310

LINES = 4
CHARACTERS = 36
_MARGIN = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a page is photographed. Ranges are drawn from for each page.

    ``light_ratio`` is how bright the dimmest corner is; ``shadow_ratio`` how bright what lies in shadow is (1: no
    shadow); ``blur`` the Gaussian's sigma in pixels; ``noise`` the standard deviation in grey levels;
    ``ink`` the grey level of the print; ``skew_ratio`` how far corners stray, of the frame's height.
    """

    font_px: tuple[int, int]
    light_ratio: tuple[float, float]
    shadow_ratio: tuple[float, float]
    blur: tuple[float, float]
    noise: tuple[float, float]
    ink: tuple[int, int]
    skew_ratio: float


CONDITIONS = {
    "clean": Conditions(
        font_px=(25, 28),
        light_ratio=(0.9, 1.0),
        shadow_ratio=(1.0, 1.0),
        blur=(0.3, 0.7),
        noise=(2.0, 5.0),
        ink=(10, 50),
        skew_ratio=0.02,
    ),
    "hard": Conditions(
        font_px=(22, 26),
        light_ratio=(0.4, 0.65),
        shadow_ratio=(0.5, 0.8),
        blur=(1.0, 1.6),
        noise=(8.0, 12.0),
        ink=(50, 110),
        skew_ratio=0.06,
    ),
}


@lru_cache(maxsize=32)
def _font(size_px: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size_px)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise RuntimeError("this Pillow was built without FreeType, so it can't set type")
    # The other layout engine depends on what else the system has; this one gives the same page everywhere.
    return font.font_variant(layout_engine=ImageFont.Layout.BASIC)


def _print(lines: list[str], font_px: int, ink: int) -> np.ndarray:
    """A page as it left the printer, (PAGE_HEIGHT, PAGE_WIDTH)."""
    sheet = Image.new("L", (PAGE_WIDTH, PAGE_HEIGHT), 245)
    draw = ImageDraw.Draw(sheet)
    font = _font(font_px)
    pitch = (PAGE_HEIGHT - 2 * _MARGIN) / LINES
    for index, line in enumerate(lines):
        draw.text((_MARGIN, _MARGIN + pitch * index), line, font=font, fill=ink)
    return np.asarray(sheet)


def _corners(rng: np.random.Generator, skew_ratio: float) -> np.ndarray:
    """Where the page's corners lie in the frame, (4, 2), clockwise from the top left."""
    left, top = (FRAME_WIDTH - PAGE_WIDTH) / 2, (FRAME_HEIGHT - PAGE_HEIGHT) / 2
    right, bottom = left + PAGE_WIDTH, top + PAGE_HEIGHT
    straight = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    stray = rng.uniform(-1, 1, (4, 2)) * skew_ratio * FRAME_HEIGHT
    return (straight + stray).astype(np.float32)


def _light(rng: np.random.Generator, conditions: Conditions) -> np.ndarray:
    """How bright each pixel is lit, (FRAME_HEIGHT, FRAME_WIDTH), 0..1: a fall of light and a soft shadow's edge."""
    # At an eighth of the size: light changes slowly, and this is the dearest part of a frame otherwise.
    height, width = FRAME_HEIGHT // 8, FRAME_WIDTH // 8
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x, y = x / width - 0.5, y / height - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    along = (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(0.5) + 0.5
    dimmest = rng.uniform(*conditions.light_ratio)
    light = dimmest + (1 - dimmest) * along
    edge_angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2)
    shade = rng.uniform(*conditions.shadow_ratio)
    distance = x * np.cos(edge_angle) + y * np.sin(edge_angle) - offset
    light *= shade + (1 - shade) / (1 + np.exp(-distance * 40))
    return np.asarray(cv2.resize(light.astype(np.float32), (FRAME_WIDTH, FRAME_HEIGHT)))


def _photograph(rng: np.random.Generator, lines: list[str], conditions: Conditions) -> np.ndarray:
    font_px = int(rng.integers(conditions.font_px[0], conditions.font_px[1] + 1))
    ink = int(rng.integers(conditions.ink[0], conditions.ink[1] + 1))
    sheet = _print(lines, font_px, ink)
    straight = np.array([[0, 0], [PAGE_WIDTH, 0], [PAGE_WIDTH, PAGE_HEIGHT], [0, PAGE_HEIGHT]], dtype=np.float32)
    lay = cv2.getPerspectiveTransform(straight, _corners(rng, conditions.skew_ratio))
    desk = int(rng.integers(40, 90))
    frame = cv2.warpPerspective(
        sheet,
        lay,
        (FRAME_WIDTH, FRAME_HEIGHT),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=desk,
    )
    frame = cv2.GaussianBlur(frame, (0, 0), rng.uniform(*conditions.blur))
    lit = frame.astype(np.float32) * _light(rng, conditions)
    noise = rng.standard_normal(lit.shape, dtype=np.float32) * np.float32(rng.uniform(*conditions.noise))
    return np.asarray(np.clip(lit + noise, 0, 255), dtype=np.uint8)


class Camera(Source):
    """Frames of pages: ``image`` (FRAME_HEIGHT, FRAME_WIDTH), grey; truth: ``text``, lines parted by newlines."""

    def samples(self) -> Iterator[Sample]:
        """Pages without end.

        Raises:
            ValueError: there is no such content, or the seed is negative.
        """
        conditions = CONDITIONS.get(self.content)
        if conditions is None:
            raise ValueError(f"the camera knows no content {self.content!r}; it knows {', '.join(sorted(CONDITIONS))}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must not be negative")
        name = int.from_bytes(hashlib.sha256(self.content.encode()).digest()[:8], "big")
        rng = np.random.default_rng([name, self.seed])
        while True:
            lines = page_lines(rng, LINES, CHARACTERS)
            yield Sample(payload={"image": _photograph(rng, lines, conditions)}, truth={"text": "\n".join(lines)})
