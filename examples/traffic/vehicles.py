"""What moves on the road: side views of vehicles of four classes, and of people, drawn in metres.

Each is drawn once for its lane, several times too large, and shrunk: a sprite of colour and opacity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

#: What a label counts to. A classifier has one class more, after these: what is no vehicle.
CLASSES = ("car", "van", "bus", "motorcycle")

Colour = tuple[int, int, int]

_PAINTS: tuple[Colour, ...] = (
    (232, 232, 230),
    (190, 190, 192),
    (120, 122, 124),
    (42, 42, 44),
    (60, 42, 36),
    (150, 74, 32),
    (48, 40, 168),
    (66, 96, 44),
    (92, 150, 190),
    (40, 130, 206),
)
_VAN_PAINTS: tuple[Colour, ...] = ((236, 236, 236), (214, 214, 216), (70, 180, 230), (128, 66, 30), (70, 70, 74))
_BUS_PAINTS: tuple[Colour, ...] = ((52, 46, 178), (206, 196, 190), (60, 176, 220), (88, 128, 54), (172, 96, 40))
_GLASS: Colour = (150, 124, 96)
_RUBBER: Colour = (26, 26, 28)
_RIM: Colour = (140, 140, 142)

#: Sprites are drawn so many times too large.
_OVERSAMPLING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sprite:
    """A thing's side view: ``colour`` (H, W, 3) and ``alpha`` (H, W), 0..255; its lower edge is the ground."""

    colour: np.ndarray
    alpha: np.ndarray

    def flipped(self) -> Sprite:
        """The same thing facing the other way."""
        return Sprite(colour=cv2.flip(self.colour, 1), alpha=cv2.flip(self.alpha, 1))


class _Canvas:
    """A drawing in metres: x from the rear end on, y up from the ground."""

    def __init__(self, length_m: float, height_m: float, px_per_m: float) -> None:
        self._scale = px_per_m * _OVERSAMPLING
        self._size = (max(2, round(length_m * px_per_m)), max(2, round(height_m * px_per_m)))
        width, self._height = self._size[0] * _OVERSAMPLING, self._size[1] * _OVERSAMPLING
        self._colour = np.zeros((self._height, width, 3), np.uint8)
        self._alpha = np.zeros((self._height, width), np.uint8)

    def _pixels(self, points: Sequence[tuple[float, float]]) -> np.ndarray:
        return np.array([[round(x * self._scale), round(self._height - y * self._scale)] for x, y in points], np.int32)

    def polygon(self, colour: Colour, *points: tuple[float, float]) -> None:
        """A filled polygon."""
        corners = self._pixels(points)
        cv2.fillPoly(self._colour, [corners], colour)
        cv2.fillPoly(self._alpha, [corners], 255)

    def box(self, colour: Colour, left: float, low: float, right: float, high: float) -> None:
        """A filled rectangle."""
        self.polygon(colour, (left, low), (right, low), (right, high), (left, high))

    def disc(self, colour: Colour, x: float, y: float, radius: float) -> None:
        """A filled circle."""
        ((column, row),) = self._pixels([(x, y)])
        for layer, value in ((self._colour, colour), (self._alpha, 255)):
            cv2.circle(layer, (int(column), int(row)), max(1, round(radius * self._scale)), value, cv2.FILLED)

    def wheel(self, x: float, radius: float) -> None:
        """A wheel that stands on the ground."""
        self.disc(_RUBBER, x, radius, radius)
        self.disc(_RIM, x, radius, radius * 0.55)

    def sprite(self) -> Sprite:
        """What was drawn, a little darker towards the ground, as bodies in daylight are."""
        alpha = cv2.resize(self._alpha, self._size, interpolation=cv2.INTER_AREA)
        weight = np.maximum(alpha, 1)[..., None].astype(np.float32) / 255
        colour = cv2.resize(self._colour, self._size, interpolation=cv2.INTER_AREA) / weight
        shade = np.linspace(1.06, 0.86, self._size[1], dtype=np.float32)[:, None, None]
        return Sprite(colour=np.clip(colour * shade, 0, 255).astype(np.uint8), alpha=alpha)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vehicle:
    """A vehicle before it is drawn: its class, an index into ``CLASSES``, its size, and the seed of its looks."""

    label: int
    length_m: float
    height_m: float
    looks: int

    def sprite(self, px_per_m: float) -> Sprite:
        """Its side view, facing right."""
        rng = np.random.default_rng(self.looks)
        canvas = _Canvas(self.length_m, self.height_m, px_per_m)
        _DRAW[self.label](canvas, rng, self.length_m, self.height_m)
        return canvas.sprite()


_SIZES = (
    ((3.7, 4.9), (1.40, 1.75)),
    ((4.9, 7.0), (1.95, 2.85)),
    ((7.5, 11.5), (2.75, 3.20)),
    ((1.9, 2.4), (1.50, 1.75)),
)


def make_vehicle(rng: np.random.Generator, label: int) -> Vehicle:
    """One of a class, by chance."""
    (shortest, longest), (lowest, highest) = _SIZES[label]
    return Vehicle(
        label=label,
        length_m=float(rng.uniform(shortest, longest)),
        height_m=float(rng.uniform(lowest, highest)),
        looks=int(rng.integers(2**31)),
    )


def make_person(rng: np.random.Generator, px_per_m: float) -> Sprite:
    """Someone who walks: moves as vehicles do, and is none."""
    height = float(rng.uniform(1.5, 1.85))
    canvas = _Canvas(0.7, height, px_per_m)
    coat, trousers = _paint(rng, _PAINTS), _paint(rng, _PAINTS[2:6])
    stride = float(rng.uniform(0.05, 0.2))
    canvas.polygon(trousers, (0.35 - stride, 0), (0.45 - stride, 0), (0.45, 0.85), (0.25, 0.85))
    canvas.polygon(trousers, (0.3 + stride, 0), (0.4 + stride, 0), (0.45, 0.85), (0.25, 0.85))
    canvas.polygon(coat, (0.2, 0.75), (0.52, 0.75), (0.48, height - 0.28), (0.24, height - 0.28))
    canvas.disc((96, 124, 170), 0.36, height - 0.14, 0.13)
    return canvas.sprite()


def _paint(rng: np.random.Generator, paints: Sequence[Colour]) -> Colour:
    blue, green, red = paints[int(rng.integers(len(paints)))]
    stray = rng.integers(-14, 15, 3)
    shift = int(rng.integers(-10, 11))
    values = [
        min(250, max(8, value + int(step) // 2 + shift)) for value, step in zip((blue, green, red), stray, strict=True)
    ]
    return (values[0], values[1], values[2])


def _darker(colour: Colour, ratio: float = 0.72) -> Colour:
    return (int(colour[0] * ratio), int(colour[1] * ratio), int(colour[2] * ratio))


def _car(canvas: _Canvas, rng: np.random.Generator, length: float, height: float) -> None:
    paint = _paint(rng, _PAINTS)
    belt = 0.55 * height
    kind = int(rng.integers(3))  # saloon, hatchback, estate or off-roader
    rear_low, rear_high = ((0.16, 0.3), (0.02, 0.13), (0.0, 0.05))[kind]
    front_high, front_low = ((0.62, 0.76), (0.58, 0.74), (0.62, 0.75))[kind]
    canvas.polygon(
        paint,
        (0.02, 0.25),
        (length, 0.25),
        (length, 0.42 * height),
        (0.93 * length, 0.5 * height),
        (0.74 * length, belt),
        (0.02, belt),
    )
    canvas.polygon(
        paint,
        (rear_low * length, belt),
        (front_low * length, belt),
        (front_high * length, height),
        (rear_high * length, height),
    )
    inset = 0.1
    glass = (
        ((rear_low + 0.02) * length, belt),
        ((front_low - 0.02) * length, belt),
        (front_high * length - 0.02, height - inset),
        (rear_high * length + inset, height - inset),
    )
    canvas.polygon(_GLASS, *glass)
    middle = (rear_high + front_high) / 2 * length
    canvas.box(paint, middle - 0.05, belt - 0.02, middle + 0.05, height - 0.02)
    canvas.box(_darker(paint), middle - 0.02, 0.3, middle + 0.02, belt)
    canvas.box(_darker(paint, 0.5), 0.02, 0.22, length, 0.34)
    canvas.box((60, 60, 210), 0.0, 0.62, 0.14, 0.78)
    canvas.box((220, 235, 240), length - 0.18, 0.5, length, 0.66)
    for x in (0.19 * length, 0.81 * length):
        canvas.wheel(x, 0.32)


def _van(canvas: _Canvas, rng: np.random.Generator, length: float, height: float) -> None:
    paint = _paint(rng, _VAN_PAINTS)
    bonnet = 0.86 * length
    canvas.polygon(
        paint,
        (0, 0.3),
        (length, 0.3),
        (length, 0.42 * height),
        (bonnet, 0.5 * height),
        (bonnet - 0.5, height),
        (0, height),
    )
    canvas.polygon(
        _GLASS,
        (bonnet - 1.15, 0.52 * height),
        (bonnet - 0.08, 0.52 * height),
        (bonnet - 0.48, 0.9 * height),
        (bonnet - 1.15, 0.9 * height),
    )
    style = int(rng.integers(3))  # plain, with a sign, with windows
    if style == 1:
        sign = _paint(rng, _BUS_PAINTS)
        canvas.box(sign, 0.12 * length, 0.45 * height, 0.55 * length, 0.72 * height)
    elif style == 2:
        canvas.box(_GLASS, 0.06 * length, 0.58 * height, 0.32 * length, 0.88 * height)
        canvas.box(_GLASS, 0.36 * length, 0.58 * height, 0.6 * length, 0.88 * height)
    canvas.box(_darker(paint), bonnet - 1.25, 0.35, bonnet - 1.2, 0.92 * height)
    canvas.box(_darker(paint, 0.5), 0, 0.27, length, 0.42)
    canvas.box((60, 60, 210), 0, 0.7, 0.12, 1.15)
    canvas.box((220, 235, 240), length - 0.2, 0.62, length, 0.85)
    for x in (0.2 * length, 0.82 * length):
        canvas.wheel(x, 0.36)


def _bus(canvas: _Canvas, rng: np.random.Generator, length: float, height: float) -> None:
    paint = _paint(rng, _BUS_PAINTS)
    canvas.polygon(paint, (0, 0.32), (length, 0.32), (length, height - 0.3), (length - 0.15, height), (0, height))
    canvas.box(_darker(paint, 0.6), 0, 0.3, length, 0.6)
    count = max(4, round(length / 1.45))
    pitch = (length - 0.5) / count
    for index in range(count):
        left = 0.25 + index * pitch
        canvas.box(_GLASS, left + 0.06, 0.5 * height, left + pitch - 0.06, 0.86 * height)
    for x in (0.45 * length, 0.9 * length):
        canvas.box(_darker(_GLASS, 0.7), x - 0.5, 0.4, x + 0.5, 0.86 * height)
    if rng.random() < 0.6:
        canvas.box(_paint(rng, _VAN_PAINTS), 0.1, 0.36 * height, 0.42 * length, 0.45 * height)
    canvas.box((60, 60, 210), 0, 0.8, 0.12, 1.1)
    canvas.box((220, 235, 240), length - 0.15, 0.7, length, 0.95)
    for x in (0.24 * length, 0.76 * length):
        canvas.wheel(x, 0.48)


def _motorcycle(canvas: _Canvas, rng: np.random.Generator, length: float, height: float) -> None:
    paint, jacket = _paint(rng, _PAINTS), _paint(rng, _PAINTS)
    for x in (0.31, length - 0.31):
        canvas.disc(_RUBBER, x, 0.31, 0.31)
        canvas.disc((100, 100, 102), x, 0.31, 0.16)
    canvas.polygon(
        paint, (0.1, 0.75), (0.5, 0.45), (length - 0.5, 0.4), (length - 0.35, 0.95), (length - 0.75, 0.95), (0.9, 0.72)
    )
    canvas.polygon((60, 60, 64), (length - 0.36, 0.3), (length - 0.26, 0.3), (length - 0.5, 1.05), (length - 0.6, 1.05))
    canvas.polygon((52, 46, 44), (0.6, 0.75), (0.95, 0.75), (1.25, 0.4), (1.05, 0.32))
    canvas.polygon(jacket, (0.55, 0.74), (0.98, 0.74), (1.2, height - 0.28), (0.85, height - 0.22))
    canvas.polygon(jacket, (1.0, height - 0.45), (1.15, height - 0.35), (length - 0.5, 1.02), (length - 0.6, 0.94))
    canvas.disc(_paint(rng, _PAINTS), 1.1, height - 0.16, 0.16)


_DRAW = (_car, _van, _bus, _motorcycle)
