"""Which other contents say where to begin: those whose accuracies told each other's best. PURE.

How far a content's accuracies lie from another's is what the others' told of it: each one's nearest of the rest
(leave one out). Where the nearest are no nearer than chance, as when contents mislead, nothing is shared.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np

from cloud_planner.core.precision import Array
from cloud_planner.core.search_terms import (
    Neighbour,
)

#: So many neighbours at most.
MOST: Final = 8
#: Neighbours are heard if they explain at least so much of how accuracies vary over configurations ...
_LEAST_EXPLAINED_RATIO: Final = 0.8
#: ... of so many contents at least: whether contents are alike is known only of contents that were compared.
_LEAST_CONTENTS: Final = 3


def explained_ratio(means: Array) -> float:
    """How much of a content's variation over configurations the nearest other one explains, in the median.

    Args:
        means: (contents, configurations) posterior mean accuracies; of fewer than three contents nothing is known: 0.
    """
    if len(means) < _LEAST_CONTENTS:
        return 0.0
    around = means - means.mean(axis=1, keepdims=True)
    apart = np.mean((around[:, None, :] - around[None, :, :]) ** 2, axis=2)
    np.fill_diagonal(apart, np.inf)
    return float(np.median(1.0 - apart.min(axis=1) / np.maximum(around.var(axis=1), 1e-9)))


def neighbours_of(content: str, known: Mapping[str, Array]) -> tuple[Neighbour, ...]:
    """At most ``MOST`` other contents, the latest that were kept; none where contents tell nothing of each other."""
    others = [mean for name, mean in known.items() if name != content]
    if not others or explained_ratio(np.array(others)) < _LEAST_EXPLAINED_RATIO:
        return ()
    return tuple(Neighbour(mean=mean) for mean in others[-MOST:])
