"""Configurations as points of a grid, with one axis for each knob: who stands next to whom. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from circinus.model.pipeline import Configuration

if TYPE_CHECKING:
    from numpy.typing import NDArray


class KnobGrid:
    """``levels``: (configurations, knobs) place of each knob's value among its values; ``sizes``: how many it has.

    Numbers are ordinal: their neighbours are the values next to them. Any two texts are neighbours.
    """

    def __init__(self, configurations: Sequence[Configuration]) -> None:
        columns, sizes, ordinal = [], [], []
        for name in configurations[0]:
            values = list(dict.fromkeys(one[name] for one in configurations))
            if len(values) > 1:
                columns.append([values.index(one[name]) for one in configurations])
                sizes.append(len(values))
                ordinal.append(all(isinstance(one, int | float) and not isinstance(one, bool) for one in values))
        self.levels: NDArray[np.intp] = np.array(columns, dtype=np.intp).T.reshape(len(configurations), len(sizes))
        self.sizes: NDArray[np.intp] = np.array(sizes, dtype=np.intp)
        self.ordinal: NDArray[np.bool_] = np.array(ordinal, dtype=bool)
        apart = np.abs(self.levels[:, None, :] - self.levels[None, :, :])
        steps = np.where(self.ordinal, apart, np.minimum(apart, 1))
        #: (n, n): steps from one configuration to another, over all knobs.
        self.distance: NDArray[np.intp] = steps.sum(axis=2)
        self._differ: NDArray[np.intp] = (apart > 0).sum(axis=2)

    def neighbours(self, configuration: int) -> NDArray[np.intp]:
        """Configurations that are one step of one knob away, by id."""
        return np.flatnonzero(self.distance[configuration] == 1)

    def others(self, configuration: int) -> NDArray[np.intp]:
        """Configurations that differ in one knob, by however much, by id."""
        return np.flatnonzero(self._differ[configuration] == 1)

    def knob_between(self, one: int, other: int) -> int:
        """The first knob in which two configurations differ."""
        return int(np.argmax(self.levels[one] != self.levels[other]))

    def hypercube(self, count: int, rng: np.random.Generator) -> list[int]:
        """A Latin hypercube: strata of each knob, each used once (M. D. McKay et al., Technometrics 1979).

        A point that is no configuration gives way to the nearest that is; each configuration comes once.
        """
        strata = np.column_stack([rng.permutation(count) for _ in self.sizes]) if len(self.sizes) else np.zeros((1, 0))
        within = rng.random(strata.shape)
        wanted = np.minimum(((strata + within) / count * self.sizes).astype(np.intp), self.sizes - 1)
        apart = np.abs(wanted[:, None, :] - self.levels[None, :, :])
        steps = np.where(self.ordinal, apart, np.minimum(apart, 1)).sum(axis=2)
        return list(dict.fromkeys(int(index) for index in np.argmin(steps, axis=1)))
