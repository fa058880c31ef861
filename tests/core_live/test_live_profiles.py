from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_values import pipeline, profile

from circinus.model.profile import ProfileTable
from cloud_planner.core.precision import Guarantee, accuracy_interval
from cloud_planner.core.profiles import accuracy_prediction, prefix_key, stage_correlation_ratio, times_of


def table(**times):
    return ProfileTable(bundle_digest="b", content_digest="c", scores={}, times=times)


def test_samples_of_equal_prefixes_are_one_measurement():
    spec = pipeline()
    slow, fast = {"cut.length": 1, "read.fast": False}, {"cut.length": 1, "read.fast": True}
    profiles = (
        profile(slow, {0: (None, {"cut": 10.0, "read": 50.0}), 1: (None, {"cut": 20.0, "read": 70.0})}),
        profile(fast, {0: (None, {"cut": 14.0, "read": 5.0}), 1: (None, {"cut": 20.0, "read": 5.0})}),
    )
    known = times_of(table(box=profiles), spec)["box"]
    cut = known.service(spec, "cut", slow)
    assert cut == known.service(spec, "cut", fast)
    assert (cut.mean_ms, cut.variance_ms2, cut.samples) == (16.0, 32.0, 2)
    assert known.service(spec, "read", slow).mean_ms == 60.0
    assert known.service(spec, "read", fast).mean_ms == 5.0
    assert known.service(spec, "cut", {"cut.length": 2, "read.fast": True}) is None
    assert known.source_bytes == 1000.0
    assert cut.memory_bytes == 10 * 2**20


def test_a_class_with_few_samples_is_held_against_the_one_with_many():
    spec = pipeline()
    setting = {"cut.length": 1, "read.fast": False}
    times_ms = {0: 10.0, 1: 10.0, 2: 10.0, 3: 50.0, 4: 50.0, 5: 50.0}
    many = profile(setting, {index: (None, {"read": time_ms}) for index, time_ms in times_ms.items()})
    few = profile(setting, {index: (None, {"read": 4.0 * times_ms[index]}) for index in (0, 1, 2)})
    known = times_of(table(fast=(many,), slow=(few,)), spec)
    fast, slow = (known[name].service(spec, "read", setting) for name in ("fast", "slow"))
    assert fast.mean_ms == 30.0
    assert slow.mean_ms == 120.0
    assert slow.variance_ms2 == pytest.approx(16.0 * fast.variance_ms2)


def test_two_shared_samples_are_too_few_to_compare_classes_by():
    spec = pipeline()
    setting = {"cut.length": 1, "read.fast": False}
    many = profile(setting, {index: (None, {"read": 10.0 + index}) for index in range(6)})
    few = profile(setting, {index: (None, {"read": 100.0}) for index in (0, 1)})
    assert times_of(table(fast=(many,), slow=(few,)), spec)["slow"].service(spec, "read", setting).mean_ms == 100.0


def test_equal_scores_do_not_make_certain():
    assert accuracy_prediction(dict.fromkeys(range(24), 1.0), items=50).low < 1.0


def test_a_prefix_leaves_out_what_comes_later():
    spec = pipeline()
    assert prefix_key(spec, "cut", {"cut.length": 1, "read.fast": True}) == '{"cut.length":1}'
    assert prefix_key(spec, "read", {"cut.length": 1, "read.fast": True}) == '{"cut.length":1,"read.fast":true}'


def test_a_prediction_narrows_with_items_down_to_what_the_samples_allow():
    scores = {index: 0.8 + 0.02 * (index % 5) for index in range(24)}
    few, many = accuracy_prediction(scores, items=5), accuracy_prediction(scores, items=10_000)
    assert few.low < many.low < many.value < many.high < few.high
    known = accuracy_interval(np.array(list(scores.values())), 24, 0.05, Guarantee.POPULATION)
    endless = accuracy_prediction(scores, items=10**9)
    assert (endless.low, endless.high) == pytest.approx((known.low, known.high), abs=1e-4)


def test_no_scores_are_refused():
    with pytest.raises(ValueError, match="there are 0 scores"):
        accuracy_prediction({}, items=5)
    with pytest.raises(ValueError, match="0 items"):
        accuracy_prediction({0: 0.5}, items=0)


@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), st.integers(1, 2000), st.integers(1, 1000))
def test_bounds_hold_their_mean_and_stay_ratios(values, configurations, items):
    scores = dict(enumerate(values))
    found = accuracy_prediction(scores, items=items)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0 + 1e-9


def test_stages_that_are_slow_together_are_correlated():
    setting = {"cut.length": 1, "read.fast": False}
    hard = profile(setting, {index: (None, {"cut": 1.0 + index, "read": 10.0 + 10.0 * index}) for index in range(12)})
    apart = profile(
        setting, {index: (None, {"cut": 1.0 + index % 2, "read": 10.0 + index // 2 % 2}) for index in range(12)}
    )
    assert stage_correlation_ratio([hard], setting) == pytest.approx(1.0)
    assert stage_correlation_ratio([apart], setting) == pytest.approx(0.0, abs=0.2)
    assert stage_correlation_ratio([replace(hard, samples=hard.samples[:11])], setting) == 0.0
    assert stage_correlation_ratio([hard], {"cut.length": 2, "read.fast": False}) == 0.0
