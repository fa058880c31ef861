"""The Gaussian process over knobs."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from cloud_planner.core.knob_model import KnobModel, KnobScales

MODEL = KnobModel([{"a": a, "b": b} for a, b in product((1, 2, 3), ("x", "y"))], {"a": True})
SCALES = KnobScales(constant=0.25, main=0.2, pair=0.1, own=0.05)
MEASURED, VALUES = np.array([0, 5]), np.array([0.3, 0.9])


def test_without_noise_it_goes_through_what_was_measured():
    found = MODEL.belief(np.full(6, 0.5), SCALES, MEASURED, VALUES, np.full(2, 1e-10))
    assert found.mean[MEASURED] == pytest.approx(VALUES, abs=1e-6)


def test_it_is_what_the_book_says():
    noise, prior = np.array([0.01, 0.02]), np.linspace(0.4, 0.6, 6)
    gram = MODEL.covariance(SCALES)
    gain = gram[:, MEASURED] @ np.linalg.inv(gram[np.ix_(MEASURED, MEASURED)] + np.diag(noise))
    found = MODEL.belief(prior, SCALES, MEASURED, VALUES, noise)
    assert found.mean == pytest.approx(prior + gain @ (VALUES - prior[MEASURED]))
    assert found.deviation**2 == pytest.approx(np.diag(gram - gain @ gram[MEASURED]))


def test_not_above_is_lower_in_monotone_knobs_and_equal_in_others():
    assert np.flatnonzero(MODEL.not_above(4)).tolist() == [0, 2]
    assert not MODEL.not_above(4, frozenset({"a"})).any()
