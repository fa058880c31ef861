"""Which other contents are heard."""

from __future__ import annotations

import numpy as np

from cloud_planner.core.similarity import MOST, neighbours_of

BASE = np.linspace(0.3, 0.9, 30)


def test_alike_contents_are_heard_at_most_so_many_and_never_the_content_itself():
    rng = np.random.default_rng(0)
    known = {str(number): BASE + rng.normal(0.0, 0.02, 30) for number in range(12)}
    found = neighbours_of("11", known)
    assert len(found) == MOST
    assert all(one.mean is not known["11"] for one in found)


def test_contents_that_mislead_are_not_heard():
    rng = np.random.default_rng(0)
    assert neighbours_of("x", {str(number): rng.permutation(BASE) for number in range(6)}) == ()
