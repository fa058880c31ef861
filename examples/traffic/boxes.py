"""Boxes are arrays (N, 4) of left, top, right, bottom in pixels of the whole frame."""

from __future__ import annotations

import numpy as np


def no_boxes() -> np.ndarray:
    """An array of no boxes."""
    return np.zeros((0, 4), np.float32)


def areas(boxes: np.ndarray) -> np.ndarray:
    """Each box's area."""
    return np.asarray((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))


def overlaps(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The area that each of ``one`` shares with each of ``other``, (N, M)."""
    low = np.maximum(one[:, None, :2], other[None, :, :2])
    high = np.minimum(one[:, None, 2:], other[None, :, 2:])
    return np.asarray(np.prod(np.maximum(high - low, 0), axis=2))


def iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Intersection over union of each of ``one`` with each of ``other``, (N, M), 0..1."""
    shared = overlaps(one, other)
    union = areas(one)[:, None] + areas(other)[None, :] - shared
    return np.asarray(shared / np.maximum(union, 1e-9))


def best_pairs(worth: np.ndarray, least: float) -> list[tuple[int, int]]:
    """Pairs of a row and a column, each in one pair at most, taken greedily from the worthiest down to ``least``."""
    pairs, rows, columns = [], set(), set()
    for index in np.argsort(-worth, axis=None, kind="stable"):
        row, column = divmod(int(index), worth.shape[1])
        if worth[row, column] < least:
            break
        if row not in rows and column not in columns:
            rows.add(row)
            columns.add(column)
            pairs.append((row, column))
    return pairs
