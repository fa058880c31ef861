"""From boxes of single frames to vehicles: track and count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from boxes import best_pairs, no_boxes
from calibration import COUNT_LINE_X, FRAME_HEIGHT, FRAME_WIDTH, FRAMES_PER_S, LANES, ROAD_MIDDLE, TYPICAL_M_PER_S
from vehicles import CLASSES

from circinus.operator import Operator, Payload

#: A track that was seen so often goes on unseen for so many looked-at frames, since something may hide it.
_COAST_HITS, _COAST_MISSES = 3, 2

#: Rows of the frame that share what is known of the traffic's speed.
_ROWS_PER_BIN = 12

#: How far from where it is expected a track is looked for, in widths of the wider box: seen before, and new.
_REACH_SEEN, _REACH_NEW = 0.8, 1.0

#: How much of a track's speed goes into what is known of its rows.
_FLOW_RATE = 0.2

#: Frames after which a track's votes are forgotten; who falls back by more has begun a new stream.
_FORGET_FRAMES = 25

#: So many vehicles in view are a crowd.
_ALERT_VEHICLES = 9


@dataclass(slots=True, kw_only=True)
class _Track:
    """Something that is followed: its box when it was last seen, and pixels a frame."""

    id: int
    box: np.ndarray
    velocity: np.ndarray
    frame: int
    hits: int = 1
    misses: int = 0

    def at(self, frame: int) -> np.ndarray:
        """Its box, carried on to a frame."""
        return np.asarray(self.box + np.tile(self.velocity, 2) * (frame - self.frame))


class Track(Operator):
    """Follows boxes from frame to frame at constant velocity. In: ``boxes``, ``frame``, ``skipped``.

    Out: ``boxes`` (M, 4), of frames that were skipped too; ``ids`` (M,); ``rows`` (M,), the row of the box that was
    given, -1 where it is carried on; ``frame``.
    """

    def setup(self) -> None:
        """Has no knobs."""
        self.reset()

    def reset(self) -> None:
        """Forgets tracks and speeds."""
        self._tracks: list[_Track] = []
        self._next_id = 0
        self._last_frame = -1
        self._flow = _typical_flow()

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """The boxes of one frame, with what is known from those before. A late frame changes nothing."""
        (payload,) = inputs.values()
        if int(payload["frame"]) < self._last_frame - _FORGET_FRAMES:
            self.reset()
        frame, given = int(payload["frame"]), payload["boxes"].astype(np.float64)
        matched: dict[int, int] = {}
        if frame > self._last_frame:
            if not payload["skipped"]:
                matched = self._look(frame, given)
            self._last_frame = frame
        return self._answer(frame, matched)

    def _look(self, frame: int, given: np.ndarray) -> dict[int, int]:
        """Takes a frame's boxes in; tracks' ids with the rows that were given for them."""
        worth = self._worth(frame, given)
        pairs = best_pairs(worth, 0.0) if worth.size else []
        matched = {}
        seen, rows = set(), set()
        for index, row in pairs:
            track = self._tracks[index]
            self._see(track, frame, given[row])
            matched[track.id] = row
            seen.add(track.id)
            rows.add(row)
        for track in self._tracks:
            if track.id not in seen:
                track.misses += 1
        self._tracks = [one for one in self._tracks if one.misses <= (_COAST_MISSES if one.hits >= _COAST_HITS else 0)]
        for row in range(len(given)):
            if row not in rows:
                speed = np.array([self._flow[_bin(given[row][3])], 0.0])
                self._tracks.append(_Track(id=self._next_id, box=given[row], velocity=speed, frame=frame))
                matched[self._next_id] = row
                self._next_id += 1
        return matched

    def _worth(self, frame: int, given: np.ndarray) -> np.ndarray:
        """How well each given box goes on each track: 1 at best, below 0 where it can't be."""
        worth = np.full((len(self._tracks), len(given)), -1.0)
        for index, track in enumerate(self._tracks):
            expected = track.at(frame)
            reach = _REACH_SEEN if track.hits > 1 else _REACH_NEW
            size = expected[2:] - expected[:2]
            sizes = given[:, 2:] - given[:, :2]
            away = np.abs((given[:, :2] + given[:, 2:] - expected[:2] - expected[2:]) / 2)
            across = away[:, 0] / (reach * np.maximum(sizes[:, 0], size[0]))
            down = away[:, 1] / (0.6 * np.maximum(sizes[:, 1], size[1]))
            likeness = np.abs(np.log(sizes / size)).sum(axis=1) * 0.2
            fits = (across < 1) & (down < 1)
            worth[index] = np.where(fits, 1 - 0.5 * across - 0.25 * down - np.minimum(likeness, 0.25), -1.0)
        return worth

    def _see(self, track: _Track, frame: int, box: np.ndarray) -> None:
        step = (box[:2] + box[2:] - track.box[:2] - track.box[2:]) / 2 / (frame - track.frame)
        track.velocity = step if track.hits == 1 else 0.5 * (track.velocity + step)
        track.box, track.frame = box, frame
        track.hits, track.misses = track.hits + 1, 0
        if track.hits >= 3:
            place = _bin(box[3])
            self._flow[place] += _FLOW_RATE * (track.velocity[0] - self._flow[place])

    def _answer(self, frame: int, matched: dict[int, int]) -> Payload:
        boxes, ids, rows = [], [], []
        for track in self._tracks:
            box = np.clip(track.at(frame), 0, [FRAME_WIDTH, FRAME_HEIGHT] * 2)
            if (box[2:] - box[:2]).min() >= 2:
                boxes.append(box)
                ids.append(track.id)
                rows.append(matched.get(track.id, -1))
        return {
            "boxes": np.array(boxes, np.float32) if boxes else no_boxes(),
            "ids": np.array(ids, np.int64),
            "rows": np.array(rows, np.int64),
            "frame": frame,
        }


def _bin(row: float) -> int:
    return min(max(int(row), 0), FRAME_HEIGHT) // _ROWS_PER_BIN


def _typical_flow() -> np.ndarray:
    """Pixels a frame that a vehicle makes to the right whose wheels stand in each bin's rows, by the calibration."""
    rows = (np.arange(FRAME_HEIGHT // _ROWS_PER_BIN + 1) + 0.5) * _ROWS_PER_BIN
    scale = np.interp(rows, [lane.row for lane in LANES], [lane.px_per_m for lane in LANES])
    way = np.where((rows > ROAD_MIDDLE) == LANES[-1].rightwards, 1.0, -1.0)
    return np.asarray(way * scale * TYPICAL_M_PER_S / FRAMES_PER_S)


@dataclass(slots=True, kw_only=True)
class _Votes:
    """What is known of one track's class, and on which side of the line it was."""

    scores: np.ndarray = field(default_factory=lambda: np.zeros(len(CLASSES) + 1))
    middle: float | None = None
    counted: bool = False
    frame: int = 0


class Count(Operator):
    """Says what each track is, by all that was seen of it, and counts what passes the line.

    In: classify's ``scores``; track's ``boxes``, ``ids``, ``rows``, ``frame``. Out: ``boxes`` (N, 4), ``labels`` and
    ``ids`` (N,), ``counts`` of each class so far, ``alert`` (a crowd is in view), ``frame``.
    """

    def setup(self) -> None:
        """Has no knobs."""
        self.reset()

    def reset(self) -> None:
        """Forgets votes and counts."""
        self._votes: dict[int, _Votes] = {}
        self._last_frame = -1
        self._counts = np.zeros(len(CLASSES), np.int64)

    def process(self, inputs: Mapping[str, Payload]) -> Payload:
        """The vehicles of one frame; what is more likely none is left out."""
        scores, tracks = inputs["classify"]["scores"], inputs["track"]
        frame = int(tracks["frame"])
        if frame < self._last_frame - _FORGET_FRAMES:
            self.reset()
        self._last_frame = max(frame, self._last_frame)
        kept, labels = [], []
        for index, (box, track, row) in enumerate(zip(tracks["boxes"], tracks["ids"], tracks["rows"], strict=True)):
            votes = self._votes.setdefault(int(track), _Votes())
            if 0 <= row < len(scores):
                votes.scores += scores[row]
            label = int(votes.scores.argmax()) if votes.scores.any() else len(CLASSES)
            self._cross(votes, frame, float(box[0] + box[2]) / 2, label)
            if label < len(CLASSES):
                kept.append(index)
                labels.append(label)
        self._votes = {key: votes for key, votes in self._votes.items() if frame - votes.frame <= _FORGET_FRAMES}
        return {
            "boxes": tracks["boxes"][kept],
            "labels": np.array(labels, np.int64),
            "ids": tracks["ids"][kept],
            "counts": self._counts.copy(),
            "alert": len(kept) >= _ALERT_VEHICLES,
            "frame": frame,
        }

    def _cross(self, votes: _Votes, frame: int, middle: float, label: int) -> None:
        if frame < votes.frame:
            return
        crossed = votes.middle is not None and (votes.middle < COUNT_LINE_X) != (middle < COUNT_LINE_X)
        if crossed and not votes.counted and label < len(CLASSES):
            votes.counted = True
            self._counts[label] += 1
        votes.middle, votes.frame = middle, frame
