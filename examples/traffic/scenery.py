"""What does not drive: the street as it is painted, its light and its weather, fixed for each content.

A camera that serves is the one that was profiled, so what it looks at must not depend on the seed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from calibration import FRAME_HEIGHT, FRAME_WIDTH, HOUSES_BOTTOM, ROAD_BOTTOM, ROAD_MIDDLE, ROAD_TOP

_BANK = 4
_MARGIN = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How a content looks.

    ``shadow_ratio`` is how much light a shadow takes, ``shine_ratio`` how much of a vehicle a wet road mirrors,
    ``haze_ratio`` how much of everything grey air hides; ``rain`` the streaks in a frame; ``noise`` the standard
    deviation of the sensor's noise in grey levels; ``sway_px`` how far crowns of trees swing; ``flicker_ratio`` how far
    the exposure strays; ``lamps`` whether it is night.
    """

    shadow_ratio: float = 0.0
    shine_ratio: float = 0.0
    haze_ratio: float = 0.0
    rain: int = 0
    noise: float = 2.5
    sway_px: float = 1.0
    flicker_ratio: float = 0.01
    lamps: bool = False


def content_rng(content: str, *more: int) -> np.random.Generator:
    """Chance that is the content's own, whatever the seed."""
    name = int.from_bytes(hashlib.sha256(content.encode()).digest()[:8], "big")
    return np.random.default_rng([name, *more])


class Scenery:
    """A street without traffic, (FRAME_HEIGHT, FRAME_WIDTH, 3), and what the weather does to each frame."""

    def __init__(self, content: str, weather: Weather) -> None:
        self.weather = weather
        rng = content_rng(content)
        street, self._crowns = _paint_street(rng)
        self.light = _night_light(rng) if weather.lamps else None
        street = self.lit(street, 0, 0)
        self._street = np.clip(street, 0, 255).astype(np.uint8)
        self._noise = _noise_bank(content_rng("noise"), weather.noise)
        self._streaks = _streak_bank(content_rng("streaks"), weather.rain) if weather.rain else []

    def lit(self, colour: np.ndarray, left: int, top: int) -> np.ndarray:
        """Colours as the weather lets them through to the camera; the patch's corner lies at (left, top)."""
        seen = colour.astype(np.float32)
        if self.light is not None:
            height, width = colour.shape[:2]
            seen *= self.light[top : top + height, left : left + width]
        if self.weather.haze_ratio:
            seen += (np.float32(168.0) - seen) * np.float32(self.weather.haze_ratio)
        return seen

    def empty(self, frame: int) -> np.ndarray:
        """The street at a moment, its trees in the wind."""
        image = self._street.copy()
        for index, (left, top, right, bottom) in enumerate(self._crowns):
            sway = self.weather.sway_px * np.sin(frame * (0.9 + 0.23 * index) + index)
            shift = np.array([[1, 0, sway], [0, 1, 0.4 * sway]], dtype=np.float32)
            patch = self._street[top:bottom, left:right]
            size = (right - left, bottom - top)
            moved = cv2.warpAffine(patch, shift, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            inner = image[top + 4 : bottom - 4, left + 4 : right - 4]
            inner[:] = moved[4:-4, 4:-4]
        return image

    def weathered(self, image: np.ndarray, frame: int, rng: np.random.Generator) -> np.ndarray:
        """The image with rain, the camera's exposure and its noise on it."""
        if self._streaks:
            for _ in range(2):
                image = cv2.add(image, self._window(self._streaks, rng))
        gain = 1 + self.weather.flicker_ratio * (np.sin(frame * 0.7) + 0.6 * rng.standard_normal())
        image = cv2.convertScaleAbs(image, alpha=float(gain), beta=0)
        return np.asarray(cv2.add(image, self._window(self._noise, rng), dtype=cv2.CV_8U))

    @staticmethod
    def _window(bank: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
        layer = bank[int(rng.integers(len(bank)))]
        left, top = (int(value) for value in rng.integers(0, _MARGIN, 2))
        return layer[top : top + FRAME_HEIGHT, left : left + FRAME_WIDTH]


@lru_cache(maxsize=8)
def open_scenery(content: str, weather: Weather) -> Scenery:
    """A content's scenery; painted once."""
    return Scenery(content, weather)


def _texture(rng: np.random.Generator, height: int, width: int, grain: int, depth: float) -> np.ndarray:
    """Soft noise of zero mean: ``grain`` is its size in pixels, ``depth`` its standard deviation."""
    small = rng.standard_normal((height // grain + 2, width // grain + 2)).astype(np.float32)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return (large * np.float32(depth))[..., None]


def _paint_street(rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    image = np.zeros((FRAME_HEIGHT, FRAME_WIDTH, 3), np.float32)
    image[:] = (168, 168, 166)
    image[:60] = np.linspace((226, 206, 186), (220, 214, 206), 60, dtype=np.float32)[:, None, :]
    _paint_houses(image, rng)
    image[HOUSES_BOTTOM:ROAD_TOP] = (150, 154, 156)  # pavement
    image[ROAD_TOP - 3 : ROAD_TOP] = (120, 122, 122)
    image[ROAD_TOP:ROAD_BOTTOM] = (104, 102, 100)
    image[ROAD_BOTTOM : ROAD_BOTTOM + 5] = (136, 138, 138)
    image[ROAD_BOTTOM + 5 :] = (146, 150, 152)
    rows = slice(ROAD_TOP, ROAD_BOTTOM)
    image[rows] += _texture(rng, ROAD_BOTTOM - ROAD_TOP, FRAME_WIDTH, 2, 5.0)
    image[rows] += _texture(rng, ROAD_BOTTOM - ROAD_TOP, FRAME_WIDTH, 23, 6.0)
    image[HOUSES_BOTTOM:ROAD_TOP] += _texture(rng, ROAD_TOP - HOUSES_BOTTOM, FRAME_WIDTH, 3, 6.0)
    image[ROAD_BOTTOM:] += _texture(rng, FRAME_HEIGHT - ROAD_BOTTOM, FRAME_WIDTH, 3, 6.0)
    for left in range(-20, FRAME_WIDTH, 52):
        cv2.rectangle(image, (left, 194), (left + 22, 194), (196, 200, 200), cv2.FILLED)
        cv2.rectangle(image, (left - 10, 267), (left + 24, 268), (196, 200, 200), cv2.FILLED)
    cv2.rectangle(image, (0, ROAD_MIDDLE), (FRAME_WIDTH, ROAD_MIDDLE + 1), (120, 186, 206), cv2.FILLED)
    cv2.rectangle(image, (0, ROAD_MIDDLE + 4), (FRAME_WIDTH, ROAD_MIDDLE + 5), (120, 186, 206), cv2.FILLED)
    crowns = [_paint_tree(image, rng, x) for x in sorted(rng.integers(20, FRAME_WIDTH - 20, 4).tolist())]
    return np.clip(image, 0, 255), crowns


def _paint_houses(image: np.ndarray, rng: np.random.Generator) -> None:
    left = 0
    while left < FRAME_WIDTH:
        width, top = int(rng.integers(70, 140)), int(rng.integers(8, 48))
        wall = rng.integers(100, 180) + rng.integers(-24, 25, 3).astype(float)
        cv2.rectangle(image, (left, top), (left + width, HOUSES_BOTTOM), wall.tolist(), cv2.FILLED)
        for y in range(top + 8, HOUSES_BOTTOM - 14, 18):
            for x in range(left + 8, left + width - 12, 20):
                cv2.rectangle(image, (x, y), (x + 9, y + 10), (wall * 0.45 + 14).tolist(), cv2.FILLED)
        left += width
    image[:HOUSES_BOTTOM] += _texture(rng, HOUSES_BOTTOM, FRAME_WIDTH, 2, 4.0)


def _paint_tree(image: np.ndarray, rng: np.random.Generator, x: int) -> tuple[int, int, int, int]:
    y = int(rng.integers(108, 124))
    cv2.rectangle(image, (x - 3, y), (x + 3, 152), (50, 66, 80), cv2.FILLED)
    for _ in range(140):
        dx, dy = rng.normal(0, 13), rng.normal(0, 11)
        shade = float(rng.uniform(0.6, 1.2))
        centre = (round(x + float(np.clip(dx, -30, 30))), round(y - 6 + float(np.clip(dy, -26, 26))))
        cv2.circle(image, centre, int(rng.integers(3, 6)), (46 * shade, 104 * shade, 64 * shade), cv2.FILLED)
    return (max(0, x - 44), y - 42, min(FRAME_WIDTH, x + 44), y + 32)


def _night_light(rng: np.random.Generator) -> np.ndarray:
    """How much of the day's light is left, (FRAME_HEIGHT, FRAME_WIDTH, 3): pools of light below lamps, dark between."""
    y, x = np.mgrid[0:FRAME_HEIGHT, 0:FRAME_WIDTH].astype(np.float32)
    light = np.full((FRAME_HEIGHT, FRAME_WIDTH), 0.24, np.float32)
    for centre in (60, 300, 540):
        across = (x - centre - float(rng.uniform(-20, 20))) / 105
        down = (y - 225) / 90
        light += 0.3 * np.exp(-(across**2) - down**2)
    light *= np.where(y < 136, 0.55, 1.0).astype(np.float32)
    return light[..., None] * np.array([0.86, 1.0, 1.1], np.float32)


def _noise_bank(rng: np.random.Generator, deviation: float) -> list[np.ndarray]:
    shape = (FRAME_HEIGHT + _MARGIN, FRAME_WIDTH + _MARGIN, 3)
    return [np.round(rng.standard_normal(shape) * deviation).astype(np.int16) for _ in range(_BANK)]


def _streak_bank(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    bank = []
    for _ in range(_BANK):
        layer = np.zeros((FRAME_HEIGHT + _MARGIN, FRAME_WIDTH + _MARGIN), np.uint8)
        slant = float(rng.uniform(0.1, 0.25))
        for _ in range(count // 2):
            x, y = int(rng.integers(0, layer.shape[1])), int(rng.integers(0, layer.shape[0]))
            length = float(rng.uniform(10, 34))
            end = (round(x - slant * length), round(y + length))
            thickness = 2 if rng.random() < 0.25 else 1
            cv2.line(layer, (x, y), end, int(rng.integers(15, 55)), thickness, cv2.LINE_AA)
        bank.append(cv2.merge([layer, layer, layer]))
    return bank
