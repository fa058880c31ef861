"""Accuracies of whole pipelines from profiles of their operators' variants. PURE.

A variant of an operator is what its own knobs are set to. End scores are all that a table has, so an operator's
profile is measured in place: its variants, together with those of up to ``depth`` operators before it, while all others
stay at the reference (the last configuration, where every knob has its last, dearest value). With w_i the variants of
operator i and of the ``depth`` before it, and u_i those without its own, the estimate is

    accuracy(x) = accuracy(reference) x product over i of accuracy(w_i) / accuracy(u_i)

At depth 0 this is the product of normalised accuracies of IPA; with the operators upstream it is the accuracy of an
operator given its inputs, of JellyBean; with all of them it is what was measured of x itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from circinus.model.pipeline import Configuration
from cloud_planner.core.estimate import Array

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Variants:
    """``of``: (configurations, operators) number of each operator's variant, for operators that have several."""

    def __init__(self, operators: tuple[str, ...], configurations: tuple[Configuration, ...]) -> None:
        columns, places = [], []
        for place, operator in enumerate(operators):
            own = [
                tuple(value for name, value in one.items() if name.startswith(f"{operator}.")) for one in configurations
            ]
            values = list(dict.fromkeys(own))
            if len(values) > 1:
                columns.append([values.index(one) for one in own])
                places.append(place)
        self.of: NDArray[np.intp] = np.array(columns, dtype=np.intp).T.reshape(len(configurations), len(columns))
        #: Which of the pipeline's operators each column is.
        self.operators = tuple(places)
        self.reference = len(configurations) - 1
        self._index = {tuple(row): index for index, row in reversed(list(enumerate(self.of.tolist())))}

    def diagonal(self) -> list[int]:
        """A few configurations in which every variant of every operator comes once, as far as there are such."""
        sizes = self.of.max(axis=0, initial=0) + 1
        rounds = int(sizes.max(initial=1))
        return list(dict.fromkeys(self.nearest(at % sizes) for at in range(rounds)))

    def nearest(self, wanted: NDArray[np.intp]) -> int:
        """The configuration with these variants, or else one that has most of them; ties by id."""
        index = self._index.get(tuple(wanted.tolist()))
        return index if index is not None else int(np.argmax((self.of == wanted).sum(axis=1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePlan:
    """Which configurations a profile of some depth needs, and how estimates follow from their accuracies.

    ``above`` and ``below``: (configurations, operators) the configuration whose accuracy is w_i's, and u_i's.
    """

    reference: int
    above: NDArray[np.intp]
    below: NDArray[np.intp]

    @property
    def needed(self) -> list[int]:
        """The configurations to measure, the reference first."""
        found = dict.fromkeys([self.reference])
        found.update(dict.fromkeys(np.concatenate([self.above.ravel(), self.below.ravel()]).tolist()))
        return list(found)

    def estimate(self, accuracies: Array) -> Array:
        """(configurations,) from (configurations,) accuracies, of which only those that are needed are looked at."""
        tiny = 1e-6
        ratio = np.maximum(accuracies[self.above], tiny) / np.maximum(accuracies[self.below], tiny)
        return np.asarray(np.clip(accuracies[self.reference] * ratio.prod(axis=1), 0.0, 1.0))


def plan_profile(variants: Variants, depth: int) -> ProfilePlan:
    """What to measure for a profile that takes so many operators before each into account."""
    reference = variants.of[variants.reference]
    above, below = np.full((2, *variants.of.shape), variants.reference, dtype=np.intp)
    for column in range(variants.of.shape[1]):
        first = max(0, column - depth)
        known: dict[tuple[int, ...], tuple[int, int]] = {}
        for index, row in enumerate(variants.of):
            window = row[first : column + 1]
            key = tuple(window.tolist())
            if key not in known:
                wanted = reference.copy()
                wanted[first : column + 1] = window
                with_own = variants.nearest(wanted)
                wanted[column] = reference[column]
                known[key] = with_own, variants.nearest(wanted)
            above[index, column], below[index, column] = known[key]
    return ProfilePlan(reference=variants.reference, above=above, below=below)
