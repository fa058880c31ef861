"""Which rows of a table no other row beats in every figure. PURE."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Fewer pairs than this are compared one by one, more by bits.
_FEW_PAIRS = 40_000
#: Rows of a front that are held against others at a time: first a few strong ones, which put most out.
_CHUNKS = (64, 512, 2048)


def beaten(rows: NDArray[np.float64], front: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each of ``rows``, whether a row of ``front`` is nowhere larger. Shapes (n, d) and (m, d) -> (n,).

    A front goes in order, so let the strongest stand first. Complexity: n x m x d / 64 operations on words.
    """
    found = np.zeros(len(rows), dtype=bool)
    start, number = 0, 0
    while start < len(front):
        chunk = front[start : start + _CHUNKS[min(number, len(_CHUNKS) - 1)]]
        left = np.flatnonzero(~found)
        if not len(left):
            break
        found[left] = _beaten(rows if len(left) == len(rows) else rows[left], chunk)
        start, number = start + len(chunk), number + 1
    return found


def _beaten(rows: NDArray[np.float64], front: NDArray[np.float64]) -> NDArray[np.bool_]:
    if len(rows) * len(front) <= _FEW_PAIRS:
        below = front[None, :, 0] <= rows[:, None, 0]
        for dimension in range(1, rows.shape[1]):
            below &= front[None, :, dimension] <= rows[:, None, dimension]
        return np.asarray(below.any(axis=1))
    return _bits_left(rows, front, None)


def _beaten_before(block: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each row, whether one that stands before it is nowhere larger."""
    places = np.arange(len(block))
    before = np.zeros((len(block) + 1, -(-len(block) // 64)), dtype=np.uint64)
    before[places + 1, places // 64] = np.left_shift(np.uint64(1), (places % 64).astype(np.uint64))
    np.bitwise_or.accumulate(before, axis=0, out=before)
    return _bits_left(block, block, before[places])


def _bits_left(
    rows: NDArray[np.float64], front: NDArray[np.float64], bits: NDArray[np.uint64] | None
) -> NDArray[np.bool_]:
    """For each row, whether a bit (a row of the front) stays that is nowhere larger.

    For each column and each place in its order, a word per 64 rows of the front says which come up to there.
    """
    size = len(front)
    flag = np.left_shift(np.uint64(1), (np.arange(size) % 64).astype(np.uint64))
    alive = np.arange(len(rows))
    for dimension in range(rows.shape[1]):
        order = np.argsort(front[:, dimension], kind="stable")
        table = np.zeros((size + 1, -(-size // 64)), dtype=np.uint64)
        table[np.arange(1, size + 1), order // 64] = flag[order]
        np.bitwise_or.accumulate(table, axis=0, out=table)
        place = np.searchsorted(front[order, dimension], rows[alive, dimension], side="right")
        bits = table[place] if bits is None else bits & table[place]
        stays = bits.any(axis=1)
        if np.count_nonzero(stays) < 0.7 * len(alive):
            alive, bits = alive[stays], bits[stays]
    found = np.zeros(len(rows), dtype=bool)
    found[alive] = True if bits is None else bits.any(axis=1)
    return found


#: Groups are compared in blocks of so many rows, then of so many, and what is larger still by its front.
_SMALL_ROWS, _MIDDLE_ROWS = 16, 128


def unbeaten_in_groups(figures: NDArray[np.float64], group: NDArray[np.int64]) -> NDArray[np.intp]:
    """Indices, rising, of rows that no other row of their group beats; of equals the first stays.

    Complexity: rows x columns x 128, and for groups whose front is larger, rows x front x columns.

    Args:
        figures: (rows, columns), without NaN; smaller is better.
        group: The group of each row.
    """
    if not len(figures):
        return np.zeros(0, dtype=np.intp)
    table = _scaled(figures)
    order = np.lexsort((table.sum(axis=1), group))
    for most in (_SMALL_ROWS, _MIDDLE_ROWS):
        if not table.shape[1]:
            break
        order = order[_unbeaten_in_blocks(table, order, group[order], most)]
    sorted_group = group[order]
    starts = np.flatnonzero(np.append(True, sorted_group[1:] != sorted_group[:-1]))
    sizes = np.diff(np.append(starts, len(order)))
    if not table.shape[1]:
        return np.sort(order[starts])
    large = np.flatnonzero(sizes > _MIDDLE_ROWS)
    if not len(large):
        return np.sort(order)
    keep = np.ones(len(order), dtype=bool)
    for index in large:
        members = slice(starts[index], starts[index] + sizes[index])
        keep[members] = _unbeaten_sorted(table[order[members]])
    return np.sort(order[keep])


def _unbeaten_in_blocks(
    table: NDArray[np.float64], order: NDArray[np.intp], group: NDArray[np.int64], most: int
) -> NDArray[np.intp]:
    """Places in ``order`` of rows that none of their block beats; blocks are parts of groups, sorted by sum."""
    rows = len(order)
    starts = np.flatnonzero(np.append(True, group[1:] != group[:-1]))
    sizes = np.diff(np.append(starts, rows))
    within = np.arange(rows) - np.repeat(starts, sizes)
    first = within % most == 0
    block = np.cumsum(first) - 1
    blocks = int(block[-1]) + 1
    length = np.bincount(block, minlength=blocks)
    place = within % most
    keep = np.ones(rows, dtype=bool)
    # Blocks of about one length together: padding is wasted work.
    bounds = [1, *(size for size in (2, 4, 8, 16, 32, 64, 128, 256) if size < most), most]
    for low, high in pairwise(bounds):
        chosen = (length > low) & (length <= high)
        if not chosen.any():
            continue
        number = np.cumsum(chosen) - 1
        here = np.flatnonzero(chosen[block])
        at = number[block[here]]
        step = max(1, 4_000_000 // (high * high))
        for begin in range(0, int(number[-1]) + 1, step):
            part = here[(at >= begin) & (at < begin + step)] if number[-1] + 1 > step else here
            where, column = number[block[part]] - begin, place[part]
            below = np.ones((int(where[-1]) + 1, high, high), dtype=bool)
            padded = np.full((len(below), high), np.inf)
            for dimension in range(table.shape[1]):
                padded[where, column] = table[order[part], dimension]
                below &= padded[:, None, :] <= padded[:, :, None]
            below &= np.tri(high, k=-1, dtype=bool)
            out: NDArray[np.bool_] = np.asarray(below.any(axis=2))
            keep[part] = ~out[where, column]
    return np.flatnonzero(keep)


def _scaled(figures: NDArray[np.float64]) -> NDArray[np.float64]:
    """Columns that vary, by their largest figure: so that a sum says who could beat whom.

    Rounded, so that figures which differ by the order of their sums are equals.
    """
    scale = np.max(np.where(np.isfinite(figures), np.abs(figures), 0.0), axis=0, initial=0.0)
    varying = figures.min(axis=0) != figures.max(axis=0)
    table = figures[:, varying] / np.where(scale[varying] > 0.0, scale[varying], 1.0)
    return np.ascontiguousarray(np.round(table, 13))


def non_dominated(figures: NDArray[np.float64]) -> NDArray[np.intp]:
    """Indices, rising, of rows that no other row beats; smaller is better in every column.

    A row is beaten by one that is nowhere larger and somewhere smaller, and by an equal row that stands before it:
    of equals the first stays. Complexity: rows x front x columns.

    Args:
        figures: (rows, columns), without NaN.
    """
    return unbeaten_in_groups(figures, np.zeros(len(figures), dtype=np.int64))


def _unbeaten_sorted(table: NDArray[np.float64]) -> NDArray[np.bool_]:
    """For each row of a table sorted by sum, whether no earlier row beats it.

    Whoever beats a row has no larger sum, so it stands before it.
    """
    keep = np.zeros(len(table), dtype=bool)
    front = table[:0]
    for start in range(0, len(table), _CHUNKS[-1]):
        places = np.arange(start, min(start + _CHUNKS[-1], len(table)))
        places = places[~beaten(table[places], front)]
        places = places[~_beaten_before(table[places])]
        front = np.concatenate([front, table[places]])
        keep[places] = True
    return keep


class Grid:
    """Rows in the cells of a grid on which figures differ by a ratio."""

    def __init__(self, figures: NDArray[np.float64], group: NDArray[np.int64]) -> None:
        """Cells never hold rows of two groups."""
        table = _scaled(figures)
        self._group = group
        self._order = np.lexsort((table.sum(axis=1), group))
        self._logs = np.log(np.maximum(np.abs(table), 1e-6))

    def one_of_each_cell(self, ratio: float) -> NDArray[np.intp]:
        """Indices, rising, of the row with the least sum of each cell of a grid with steps of ``1 + ratio``.

        Every row has a kept one of its group that is nowhere larger by more than that ratio (epsilon-dominance: M.
        Laumanns et al., 2002), but for figures below a millionth of the largest.
        """
        cells = np.floor(self._logs / np.log1p(ratio)).astype(np.int64)
        # A hash of the cell: two cells that share one lose a row, which a thinned table may.
        key = self._group.astype(np.uint64)
        for column in cells.T:
            key = (key ^ column.astype(np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
            key ^= key >> np.uint64(29)
        return np.sort(self._order[np.unique(key[self._order], return_index=True)[1]])
