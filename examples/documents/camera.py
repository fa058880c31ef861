"""The document camera: pages of text whose truth is known, photographed on a desk.

A page is set in type (with the typeface that Pillow ships, so that no font need be installed), laid askew on a
darker desk, lit, blurred and given the noise of a sensor. How much of each is what a content is:

clean     an office scanner's work: straight light, little noise.
blurred   out of focus and moved while it was exposed, in good light.
dark      a hand-held photograph at dusk: a strong fall of light, a shadow across the page, noise, faint ink.
small     small print in good light: letters half as large, and nearly twice as many.

The same content and seed give the same pages, for ever. Light and blur are counted in whole numbers: what is added
up in fractions differs in the last bit from one processor to the next, and then so do pages.
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

_MARGIN = 30

#: Light is counted in so many steps from black to full.
_LIGHT_BITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What is on a page and how it is photographed. Ranges are drawn from for each page.

    ``lines`` of at most ``characters`` each, set in ``font_px``. ``light_ratio`` is how bright the dimmest corner
    is; ``shadow_ratio`` how bright what lies in shadow is (1: no shadow); ``blur`` the Gaussian's sigma in pixels;
    ``motion_px`` how far the page moved meanwhile (1: not at all); ``noise`` the standard deviation in grey levels;
    ``ink`` the grey level of the print; ``skew_ratio`` how far corners stray, of the frame's height.
    """

    lines: int
    characters: int
    font_px: tuple[int, int]
    light_ratio: tuple[float, float]
    shadow_ratio: tuple[float, float]
    blur: tuple[float, float]
    motion_px: tuple[int, int]
    noise: tuple[float, float]
    ink: tuple[int, int]
    skew_ratio: float


CONDITIONS = {
    "clean": Conditions(
        lines=3,
        characters=28,
        font_px=(25, 28),
        light_ratio=(0.9, 1.0),
        shadow_ratio=(1.0, 1.0),
        blur=(0.3, 0.7),
        motion_px=(1, 1),
        noise=(2.0, 5.0),
        ink=(10, 50),
        skew_ratio=0.02,
    ),
    "blurred": Conditions(
        lines=3,
        characters=28,
        font_px=(24, 28),
        light_ratio=(0.8, 1.0),
        shadow_ratio=(1.0, 1.0),
        blur=(1.6, 2.6),
        motion_px=(3, 7),
        noise=(2.0, 4.0),
        ink=(10, 50),
        skew_ratio=0.04,
    ),
    "dark": Conditions(
        lines=3,
        characters=28,
        font_px=(22, 26),
        light_ratio=(0.4, 0.65),
        shadow_ratio=(0.5, 0.8),
        blur=(1.0, 1.6),
        motion_px=(1, 1),
        noise=(8.0, 12.0),
        ink=(50, 110),
        skew_ratio=0.06,
    ),
    "small": Conditions(
        lines=4,
        characters=38,
        font_px=(13, 15),
        light_ratio=(0.9, 1.0),
        shadow_ratio=(1.0, 1.0),
        blur=(0.5, 0.9),
        motion_px=(1, 1),
        noise=(3.0, 5.0),
        ink=(30, 80),
        skew_ratio=0.02,
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
    pitch = (PAGE_HEIGHT - 2 * _MARGIN) / len(lines)
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
    """How bright each pixel is lit, (FRAME_HEIGHT, FRAME_WIDTH), in steps: a fall of light and a soft shadow's edge."""
    # At an eighth of the size: light changes slowly, and this is the dearest part of a frame otherwise.
    height, width = FRAME_HEIGHT // 8, FRAME_WIDTH // 8
    y, x = np.mgrid[0:height, 0:width]
    x, y = x / width - 0.5, y / height - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    along = (x * np.cos(angle) + y * np.sin(angle)) / np.sqrt(0.5) + 0.5
    dimmest = rng.uniform(*conditions.light_ratio)
    light = dimmest + (1 - dimmest) * along
    edge_angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2)
    shade = rng.uniform(*conditions.shadow_ratio)
    distance = x * np.cos(edge_angle) + y * np.sin(edge_angle) - offset
    light *= shade + (1 - shade) / (1 + np.exp(-distance * 40))
    steps = np.rint(light * (1 << _LIGHT_BITS)).astype(np.uint16)
    return np.asarray(cv2.resize(steps, (FRAME_WIDTH, FRAME_HEIGHT), interpolation=cv2.INTER_LINEAR_EXACT))


def _moved(rng: np.random.Generator, frame: np.ndarray, length_px: int) -> np.ndarray:
    """The frame as it is when the page moves by this many pixels, some way, while it is exposed."""
    angle = rng.uniform(0, np.pi)
    if length_px <= 1:
        return frame
    reach = (length_px - 1) / 2
    path = np.linspace(-reach, reach, 4 * length_px)
    kernel = np.zeros((length_px, length_px), dtype=np.float32)
    kernel[np.rint(reach + path * np.sin(angle)).astype(int), np.rint(reach + path * np.cos(angle)).astype(int)] = 1
    total = cv2.filter2D(frame, cv2.CV_32F, kernel, borderType=cv2.BORDER_REPLICATE)
    return (total.astype(np.int32) // int(kernel.sum())).astype(np.uint8)


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
    frame = _moved(rng, frame, int(rng.integers(conditions.motion_px[0], conditions.motion_px[1] + 1)))
    lit = frame.astype(np.int32) * _light(rng, conditions) >> _LIGHT_BITS
    noise = rng.standard_normal(lit.shape, dtype=np.float32) * np.float32(rng.uniform(*conditions.noise))
    return np.asarray(np.clip(lit + np.rint(noise).astype(np.int32), 0, 255), dtype=np.uint8)


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
            lines = page_lines(rng, conditions.lines, conditions.characters)
            yield Sample(payload={"image": _photograph(rng, lines, conditions)}, truth={"text": "\n".join(lines)})
