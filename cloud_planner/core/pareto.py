"""Which rows of a table no other row beats in every figure. PURE."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK_ROWS = 256


def _beaten_block(rows: NDArray[np.float64], front: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each of ``rows``, whether a row of ``front`` is nowhere larger. Shapes (n, d) and (m, d) -> (n,)."""
    below = front[None, :, 0] <= rows[:, None, 0]
    for dimension in range(1, rows.shape[1]):
        below &= front[None, :, dimension] <= rows[:, None, dimension]
    return np.asarray(below.any(axis=1))


def beaten(rows: NDArray[np.float64], front: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each of ``rows``, whether a row of ``front`` is nowhere larger. Shapes (n, d) and (m, d) -> (n,)."""
    parts = [_beaten_block(rows[i : i + _BLOCK_ROWS], front) for i in range(0, len(rows), _BLOCK_ROWS)]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=bool)


def non_dominated(figures: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices, rising, of rows that no other row beats; smaller is better in every column.

    A row is beaten by one that is nowhere larger and somewhere smaller, and by an equal row that stands before it:
    of equals the first stays. Complexity: rows x front x columns.

    Args:
        figures: (rows, columns), without NaN.
    """
    rows, columns = figures.shape
    if rows <= 1:
        return np.arange(rows)
    if columns == 0:
        return np.zeros(1, dtype=np.intp)
    scale = np.max(np.where(np.isfinite(figures), np.abs(figures), 0.0), axis=0)
    varying = figures.min(axis=0) != figures.max(axis=0)
    if not varying.any():
        return np.zeros(1, dtype=np.intp)
    table = np.ascontiguousarray(figures[:, varying] / np.where(scale[varying] > 0.0, scale[varying], 1.0))
    # Whoever beats a row has no larger sum, so it stands before it in this order (the sort is stable).
    order = np.lexsort((np.arange(rows), table.sum(axis=1)))
    table = table[order]
    front = np.empty_like(table)
    kept: list[NDArray[np.intp]] = []
    size = 0
    for start in range(0, rows, _BLOCK_ROWS):
        block = table[start : start + _BLOCK_ROWS]
        places = np.arange(start, start + len(block))
        if size:
            stays = ~_beaten_block(block, front[:size])
            block, places = block[stays], places[stays]
        if len(block) > 1:
            stays = _first_of_block(block)
            block, places = block[stays], places[stays]
        front[size : size + len(block)] = block
        size += len(block)
        kept.append(places)
    return np.sort(order[np.concatenate(kept)])


def _first_of_block(block: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows of a block, sorted by sum, that no earlier row of it beats."""
    below = block[None, :, 0] <= block[:, None, 0]
    for dimension in range(1, block.shape[1]):
        below &= block[None, :, dimension] <= block[:, None, dimension]
    earlier = np.tril(below, k=-1)
    return ~np.asarray(earlier.any(axis=1))
