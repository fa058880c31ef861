"""Tests that may be looked at after every sample."""

from __future__ import annotations

from itertools import pairwise
from math import inf, log

import numpy as np
import pytest

from cloud_planner.core.precision import (
    Guarantee,
    accuracy_interval,
    attempt_level,
    log_counter_evidence,
    log_evidence,
)


@pytest.mark.parametrize("guarantee", list(Guarantee))
def test_evidence_for_what_is_not_so_reaches_the_threshold_no_more_often_than_the_level(guarantee):
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        scores = (rng.random(60) < 0.7).astype(float)
        bound = scores.mean() + 0.5 / 60 if guarantee is Guarantee.POOL else 0.7
        wrong += log_evidence(scores, bound, 60, guarantee) >= log(10.0)
    # At 10%, 55 or more of 400 have a probability of 1%.
    assert wrong < 55


def test_at_the_end_of_the_pool_it_is_exact():
    scores = np.array([1.0, 0.0, 1.0, 1.0])
    assert log_evidence(scores, 0.75, 4, Guarantee.POOL) == inf
    assert log_evidence(scores, 0.76, 4, Guarantee.POOL) < inf
    assert log_counter_evidence(scores, 0.76, 4, Guarantee.POOL) == inf
    assert log_evidence(scores, 0.75, 4, Guarantee.POPULATION) < inf


def test_evidence_falls_as_the_bound_rises():
    scores = np.random.default_rng(1).random(30)
    found = [log_evidence(scores, bound, 60, Guarantee.POOL) for bound in np.linspace(0.05, 0.95, 19)]
    assert all(a >= b - 1e-9 for a, b in pairwise(found))


@pytest.mark.parametrize("guarantee", list(Guarantee))
def test_an_interval_holds_the_mean_of_what_was_seen(guarantee):
    for seed in range(10):
        scores = np.random.default_rng(seed).random(20)
        found = accuracy_interval(scores, 50, 0.05, guarantee)
        assert 0.0 <= found.low <= scores.mean() <= found.high <= 1.0


def test_attempts_share_a_level():
    assert sum(attempt_level(0.05, attempt) for attempt in range(1, 1000)) < 0.05
