"""The road camera: a street seen from its side, with traffic whose boxes and classes are known.

Four lanes, two each way, the far ones smaller and partly hidden by what drives on the near ones. What a content is:

day     bright, cast shadows, moderate traffic.
rain    grey air, streaks of rain, vehicles mirrored in the wet road.
night   lamps, headlights and their beams on the road, much noise, moderate traffic.
crowd   dull light, dense and slow traffic that hides itself, people on the pavements.

The same content and seed give the same frames, for ever; the same content gives the same street.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import cv2
import numpy as np
from calibration import COUNT_LINE_X, FRAME_HEIGHT, FRAME_WIDTH, FRAMES_PER_S, LANES, ROAD_BOTTOM, Lane
from scenery import Scenery, Weather, content_rng, open_scenery
from vehicles import CLASSES, Sprite, Vehicle, make_person, make_vehicle

from circinus.operator import Payload, Sample, Source

#: Of a vehicle's own area: what shows less than this may be found or not.
_VISIBLE_RATIO = 0.4
_SMALLEST_PX = 40

_JPEG_QUALITY = 75


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What drives and walks.

    Gaps between vehicles are ``least_gap_m`` and, on top, by chance ``more_gap_m`` in the mean; ``mix`` is the share of
    each class; ``stop_ratio`` how far a lane's speed swings; ``people`` how many walk on each pavement.
    """

    least_gap_m: float
    more_gap_m: float
    speed_m_per_s: tuple[float, float]
    mix: tuple[float, float, float, float]
    stop_ratio: float = 0.15
    people: int = 1


CONTENTS: dict[str, tuple[Weather, Traffic]] = {
    "day": (
        Weather(shadow_ratio=0.42, sway_px=1.2, flicker_ratio=0.008),
        Traffic(least_gap_m=9, more_gap_m=22, speed_m_per_s=(8, 12), mix=(0.5, 0.2, 0.12, 0.18), people=2),
    ),
    "rain": (
        Weather(shine_ratio=0.3, haze_ratio=0.22, rain=300, noise=3.5, sway_px=2.2, flicker_ratio=0.012),
        Traffic(least_gap_m=10, more_gap_m=24, speed_m_per_s=(7, 10), mix=(0.52, 0.24, 0.14, 0.1), people=1),
    ),
    "night": (
        Weather(noise=4.0, sway_px=0.8, flicker_ratio=0.015, lamps=True),
        Traffic(least_gap_m=10, more_gap_m=26, speed_m_per_s=(8, 13), mix=(0.52, 0.18, 0.14, 0.16), people=1),
    ),
    "crowd": (
        Weather(shadow_ratio=0.12, noise=2.5, sway_px=1.0, flicker_ratio=0.01),
        Traffic(
            least_gap_m=2.2,
            more_gap_m=6,
            speed_m_per_s=(4, 6.5),
            mix=(0.48, 0.2, 0.14, 0.18),
            stop_ratio=0.6,
            people=5,
        ),
    ),
}


@dataclass(slots=True, kw_only=True)
class _Driver:
    """A vehicle in its lane: ``offset_m`` behind the lane's mark."""

    id: int
    vehicle: Vehicle
    sprite: Sprite
    offset_m: float
    row: int
    wobble: tuple[float, float, float]
    counted: bool = False


@dataclass(slots=True, kw_only=True)
class _Flow:
    """One lane's traffic: all of it moves by the mark's speed, so that nobody runs into anybody."""

    lane: Lane
    mark_m: float
    speed_m_per_s: float
    phase: float
    end_m: float = 0.0
    drivers: list[_Driver] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """A vehicle in one frame: where its sprite's corner lies, and its middle's column before the frame cuts it."""

    driver: _Driver
    lane: Lane
    left: int
    top: int

    @property
    def middle(self) -> float:
        return self.left + self.driver.sprite.alpha.shape[1] / 2


class RoadCamera(Source):
    """Frames: ``image`` (JPEG of 640 x 360), ``frame`` (their number).

    Truth: ``boxes`` (N, 4) of what shows of each vehicle, left, top, right, bottom in pixels; ``labels`` (N,);
    ``ids`` (N,); ``hidden`` (N,), 1 where so little shows that it need not be found; ``crossed``, how many
    vehicles of each class have passed the line so far.
    """

    def samples(self) -> Iterator[Sample]:
        """Frames without end.

        Raises:
            ValueError: there is no such content, or the seed is negative.
        """
        if self.content not in CONTENTS:
            raise ValueError(f"the road has no content {self.content!r}; it has {', '.join(sorted(CONTENTS))}")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it must not be negative")
        yield from _Film(self.content, self.seed).samples()


class _Film:
    """One stream of frames: the traffic's state from frame to frame."""

    def __init__(self, content: str, seed: int) -> None:
        weather, self._traffic = CONTENTS[content]
        self._scenery = open_scenery(content, weather)
        self._rng = content_rng(content, seed)
        self._next_id = 0
        self._crossed = np.zeros(len(CLASSES), np.int64)
        self._flows = [
            _Flow(
                lane=lane,
                mark_m=lane.length_m,
                speed_m_per_s=float(self._rng.uniform(*self._traffic.speed_m_per_s)),
                phase=float(self._rng.uniform(0, 2 * np.pi)),
            )
            for lane in LANES
        ]
        self._people = [self._person(index) for index in range(2 * self._traffic.people)]

    def samples(self) -> Iterator[Sample]:
        frame = 0
        while True:
            self._drive(frame)
            shown = [self._show(driver, flow, frame) for flow in self._flows for driver in flow.drivers]
            image = self._scenery.empty(frame)
            self._walk(image, frame, far=True)
            for vehicle in shown:
                _paste(image, self._scenery, vehicle)
            self._walk(image, frame, far=False)
            image = self._scenery.weathered(image, frame, self._rng)
            _, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
            yield Sample(payload={"image": jpeg.tobytes(), "frame": frame}, truth=self._truth(shown))
            frame += 1

    def _drive(self, frame: int) -> None:
        """Moves each lane by one frame, lets new vehicles in and those that left out."""
        for flow in self._flows:
            swing = 1 + self._traffic.stop_ratio * np.sin(2 * np.pi * frame / 70 + flow.phase)
            flow.mark_m += flow.speed_m_per_s * float(swing) / FRAMES_PER_S
            while flow.mark_m - flow.end_m > -2:
                self._enter(flow)
            flow.drivers = [one for one in flow.drivers if flow.mark_m - one.offset_m < flow.lane.length_m + 2]

    def _enter(self, flow: _Flow) -> None:
        rng, traffic = self._rng, self._traffic
        label = int(rng.choice(len(CLASSES), p=traffic.mix))
        vehicle = make_vehicle(rng, label)
        sprite = vehicle.sprite(flow.lane.px_per_m)
        gap_m = traffic.least_gap_m + float(rng.exponential(traffic.more_gap_m))
        stray = (-1.2, 0.6) if label == 3 else (-0.25, 0.25)
        driver = _Driver(
            id=self._next_id,
            vehicle=vehicle,
            sprite=sprite if flow.lane.rightwards else sprite.flipped(),
            offset_m=flow.end_m + vehicle.length_m,
            row=flow.lane.row + round(float(rng.uniform(*stray)) * flow.lane.px_per_m * 0.4),
            wobble=(0.3 * min(traffic.least_gap_m, 5.0), float(rng.uniform(0.02, 0.12)), float(rng.uniform(0, 6.28))),
        )
        self._next_id += 1
        flow.end_m = driver.offset_m + gap_m
        flow.drivers.append(driver)

    def _show(self, driver: _Driver, flow: _Flow, frame: int) -> _Shown:
        reach_m, pace, phase = driver.wobble
        rear_m = flow.mark_m - driver.offset_m + reach_m * float(np.sin(pace * frame + phase))
        height, width = driver.sprite.alpha.shape
        left = round(rear_m * flow.lane.px_per_m)
        if not flow.lane.rightwards:
            left = FRAME_WIDTH - left - width
        return _Shown(driver=driver, lane=flow.lane, left=left, top=driver.row - height)

    def _person(self, index: int) -> tuple[Sprite, int, float, float]:
        """A walker: looks, row of the feet, where the walk begins and pixels a frame."""
        far = index % 2 == 0
        scale = 5.4 if far else 20.0
        row = 165 + index % 3 if far else ROAD_BOTTOM + 20 + index % 5
        pace = float(self._rng.uniform(0.9, 1.6)) * scale / FRAMES_PER_S * (1 if self._rng.random() < 0.5 else -1)
        return make_person(self._rng, scale), row, float(self._rng.uniform(0, FRAME_WIDTH)), pace

    def _walk(self, image: np.ndarray, frame: int, far: bool) -> None:
        for index, (sprite, row, start, pace) in enumerate(self._people):
            if (index % 2 == 0) == far:
                left = round((start + pace * frame) % (FRAME_WIDTH + 80)) - 40
                _blend(image, self._scenery, sprite, left, row - sprite.alpha.shape[0])

    def _truth(self, shown: list[_Shown]) -> Payload:
        covered = np.zeros((FRAME_HEIGHT, FRAME_WIDTH), bool)
        rows: list[tuple[list[int], int, int, int]] = []
        for vehicle in sorted(shown, key=lambda one: -one.driver.row):
            driver = vehicle.driver
            self._cross(vehicle)
            part = _clip(driver.sprite, vehicle.left, vehicle.top)
            if part is None:
                continue
            window, cut = part
            body = driver.sprite.alpha[cut] > 127
            seen = body & ~covered[window]
            covered[window] |= body
            count = int(seen.sum())
            if count == 0:
                continue
            ys, xs = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            top, left = window[0].start, window[1].start
            box = [left + int(xs[0]), top + int(ys[0]), left + int(xs[-1]) + 1, top + int(ys[-1]) + 1]
            whole = int((driver.sprite.alpha > 127).sum())
            hidden = count < max(_SMALLEST_PX, _VISIBLE_RATIO * whole)
            rows.append((box, driver.vehicle.label, driver.id, int(hidden)))
        rows.sort(key=lambda row: row[2])
        return {
            "boxes": np.array([row[0] for row in rows], np.float32).reshape(-1, 4),
            "labels": np.array([row[1] for row in rows], np.int64),
            "ids": np.array([row[2] for row in rows], np.int64),
            "hidden": np.array([row[3] for row in rows], np.uint8),
            "crossed": self._crossed.copy(),
        }

    def _cross(self, vehicle: _Shown) -> None:
        past = vehicle.middle >= COUNT_LINE_X if vehicle.lane.rightwards else vehicle.middle < COUNT_LINE_X
        if past and not vehicle.driver.counted:
            vehicle.driver.counted = True
            self._crossed[vehicle.driver.vehicle.label] += 1


Window = tuple[slice, slice]


def _clip(sprite: Sprite, left: int, top: int) -> tuple[Window, Window] | None:
    """Where a sprite lies in the frame, and which part of it does; None if none does."""
    height, width = sprite.alpha.shape
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(FRAME_WIDTH, left + width), min(FRAME_HEIGHT, top + height)
    if x0 >= x1 or y0 >= y1:
        return None
    return (slice(y0, y1), slice(x0, x1)), (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))


def _blend(image: np.ndarray, scenery: Scenery, sprite: Sprite, left: int, top: int, opacity: float = 1.0) -> None:
    part = _clip(sprite, left, top)
    if part is None:
        return
    window, cut = part
    alpha = sprite.alpha[cut][..., None] * np.float32(opacity / 255)
    below = image[window].astype(np.float32)
    colour = scenery.lit(sprite.colour[cut], window[1].start, window[0].start)
    image[window] = (below + (colour - below) * alpha).astype(np.uint8)


def _paste(image: np.ndarray, scenery: Scenery, vehicle: _Shown) -> None:
    """Draws a vehicle with what it does to the road: shadow, mirror image, beams."""
    weather, sprite = scenery.weather, vehicle.driver.sprite
    height, width = sprite.alpha.shape
    ground = vehicle.top + height
    if weather.shadow_ratio:
        scale = vehicle.lane.px_per_m
        shape = cv2.resize(sprite.alpha, (width, max(2, round(height * 0.38))), interpolation=cv2.INTER_AREA)
        shadow = Sprite(colour=np.zeros((*shape.shape, 3), np.uint8), alpha=cv2.flip(shape, 0))
        _blend(image, scenery, shadow, vehicle.left - round(0.5 * scale), ground - 2, weather.shadow_ratio)
    if weather.shine_ratio:
        size = (width, max(2, round(height * 0.7)))
        colour = cv2.resize(sprite.colour, size, interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(sprite.alpha, size, interpolation=cv2.INTER_AREA)
        mirror = Sprite(colour=cv2.flip(colour, 0), alpha=cv2.flip(alpha, 0))
        _blend(image, scenery, mirror, vehicle.left, ground, weather.shine_ratio)
    _blend(image, scenery, sprite, vehicle.left, vehicle.top)
    if weather.lamps:
        _shine(image, vehicle)


def _shine(image: np.ndarray, vehicle: _Shown) -> None:
    """A vehicle's lamps at night: a beam on the road ahead, a white lamp, a red one."""
    scale = vehicle.lane.px_per_m
    height, width = vehicle.driver.sprite.alpha.shape
    ground = vehicle.top + height
    way = 1 if vehicle.lane.rightwards else -1
    front = vehicle.left + width if vehicle.lane.rightwards else vehicle.left
    rear = vehicle.left if vehicle.lane.rightwards else vehicle.left + width
    lamp_row = ground - round(min(0.65, 0.4 * vehicle.driver.vehicle.height_m) * scale)
    _glow(
        image, front + way * round(2.9 * scale), ground - round(0.1 * scale), (1.9 * scale, 0.26 * scale), (14, 18, 19)
    )
    _glow(image, front - way * 1, lamp_row, (0.35 * scale, 0.3 * scale), (200, 220, 226))
    _glow(image, rear + way * 1, lamp_row, (0.3 * scale, 0.25 * scale), (30, 30, 190))


def _glow(image: np.ndarray, x: int, y: int, radii: tuple[float, float], colour: tuple[int, int, int]) -> None:
    across, down = max(2, round(radii[0])), max(2, round(radii[1]))
    shape = _glow_shape(across, down)
    part = _clip(Sprite(colour=shape, alpha=shape), x - across, y - down)
    if part is None:
        return
    window, cut = part
    light = shape[cut][..., None] * (np.array(colour, np.float32) / 255)
    image[window] = np.minimum(image[window] + light, 255).astype(np.uint8)


def _glow_shape(across: int, down: int) -> np.ndarray:
    y, x = np.mgrid[-down : down + 1, -across : across + 1].astype(np.float32)
    fall = np.maximum(0.0, 1.0 - (x / (across + 1)) ** 2 - (y / (down + 1)) ** 2)
    return np.asarray((fall * 255).astype(np.uint8))
