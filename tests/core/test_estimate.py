"""The latency model: what it says of simple cases, and that pruning by it is valid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from small_problems import machine, option

from cloud_planner.core.estimate import (
    dominant_share_ratio,
    in_time_ratio,
    median_ms,
    percentile_at_most_ms,
    percentile_ms,
    percentile_spread,
    stay_of,
)
from cloud_planner.core.moment import START, Moment, later_of
from cloud_planner.core.packing import machines_needed, maximal_patterns
from cloud_planner.core.pareto import non_dominated
from cloud_planner.core.problem import Waiting

times = st.floats(0.1, 1e4)
spreads = st.one_of(st.just(0.0), st.floats(0.0, 1e8))


@settings(deadline=None)
@given(
    mean=times,
    variance=spreads,
    more=st.floats(0.0, 1e4),
    wider=st.floats(0.0, 1e8),
    ratio=st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_percentile_never_falls_in_mean_or_variance(mean, variance, more, wider, ratio):
    here = float(percentile_ms(mean, variance, ratio))
    assert float(percentile_ms(mean + more, variance, ratio)) >= here * (1 - 1e-6)
    assert float(percentile_ms(mean, variance + wider, ratio)) >= here * (1 - 1e-6)
    assert here >= mean


@settings(deadline=None)
@given(
    mean=times,
    variance=spreads,
    ratio=st.sampled_from([0.5, 0.9, 0.95, 0.99]),
)
def test_quick_bounds_on_a_percentile_hold(mean, variance, ratio):
    variance = min(variance, 1e5 * mean**2)
    here = float(percentile_ms(mean, variance, ratio))
    most = float(percentile_at_most_ms(np.asarray(mean), np.asarray(variance), ratio))
    assert here * (1 - 1e-6) <= most <= here * 1.02
    assert mean + percentile_spread(ratio) * min(mean, variance**0.5) <= here * (1 + 1e-9)


correlations = st.sampled_from([0.0, 0.3, 1.0])


@given(
    a=times,
    va=spreads,
    da=st.floats(0.0, 1e3),
    b=times,
    vb=spreads,
    db=st.floats(0.0, 1e3),
    common=st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)),
    more=st.tuples(st.floats(0.0, 1e4), st.floats(0.0, 1e8), st.floats(0.0, 1e3)),
    behind=st.tuples(st.floats(0.0, 1e8), st.floats(0.0, 1e3)),
)
def test_the_later_of_two_never_falls(a, va, da, b, vb, db, common, more, behind):
    """Neither in what is apart nor in what is common."""
    shared = Moment(mean_ms=0.0, variance_ms2=common[0] * min(va, vb), deviation_ms=common[1] * min(da, db))
    first = Moment(mean_ms=a, variance_ms2=va, deviation_ms=da)
    second = Moment(mean_ms=b, variance_ms2=vb, deviation_ms=db)
    here = later_of(first, second, shared)
    grown = first.then(Moment(mean_ms=more[0], variance_ms2=more[1], deviation_ms=more[2]))
    rise = Moment(mean_ms=0.0, variance_ms2=behind[0], deviation_ms=behind[1])
    later = later_of(grown, second, shared)
    after = later_of(first.then(rise), second.then(rise), shared.then(rise))
    for before, now in ((here, later), (here, after)):
        assert now.mean_ms >= before.mean_ms * (1 - 1e-6)
        assert now.variance_ms2 >= before.variance_ms2
        assert now.deviation_ms >= before.deviation_ms


def test_ways_that_have_their_variance_in_common_end_together():
    behind = Moment(mean_ms=50.0, variance_ms2=400.0, deviation_ms=20.0)
    both = later_of(behind.later(10.0), behind.later(10.0), behind)
    assert float(both.mean_ms) == 60.0
    apart = later_of(behind.later(10.0), behind.later(10.0), START)
    assert float(apart.mean_ms) > 70.0


@given(
    low=st.floats(0.0, 4.0),
    more=st.floats(0.0, 4.0),
    load=st.floats(1.0, 95.0),
    variance=st.floats(0.0, 200.0),
    batch=st.sampled_from([1, 4]),
    replicas=st.integers(1, 3),
    ratio=st.sampled_from([0.3, 1.0, 5.0]),
    rho=correlations,
)
@example(low=3.0, more=1.0, load=14.0, variance=87.0, batch=1, replicas=2, ratio=0.3, rho=0.0)
@example(low=0.5, more=0.5, load=14.0, variance=300.0, batch=1, replicas=1, ratio=1.0, rho=0.0)
@example(low=0.9, more=0.35, load=20.0, variance=500.0, batch=1, replicas=1, ratio=1.0, rho=0.0)
def test_stay_and_departures_never_fall_in_variability_of_arrivals(
    low, more, load, variance, batch, replicas, ratio, rho
):
    each = option("m1", ms=10.0, variance=variance, batch=batch, capacity=100.0)
    stay = stay_of(each, load, Waiting.QUEUE, replicas=replicas, items_ratio=ratio)
    before, now = stay.moment(low, rho), stay.moment(low + more, rho)
    assert now[0].mean_ms >= before[0].mean_ms * (1 - 1e-9)
    assert now[0].variance_ms2 >= before[0].variance_ms2 * (1 - 1e-9)
    assert now[1] >= before[1] - 1e-9


def test_without_variance_the_percentile_is_the_mean():
    assert float(percentile_ms(42.0, 0.0, 0.95)) == 42.0
    assert median_ms(42.0, 0.0) == 42.0
    assert in_time_ratio(42.0, 0.0, 42.0) == 1.0
    assert in_time_ratio(42.0, 0.0, 41.0) == 0.0


def test_percentile_of_an_exponential_time():
    assert float(percentile_ms(10.0, 100.0, 0.95)) == pytest.approx(-10.0 * np.log(0.05), rel=1e-6)
    assert median_ms(10.0, 100.0) == pytest.approx(10.0 * np.log(2.0), rel=1e-6)
    assert in_time_ratio(10.0, 100.0, 10.0) == pytest.approx(1.0 - np.exp(-1.0))


def test_waiting_of_poisson_arrivals_at_exponential_service():
    stay = stay_of(option("m1", ms=10.0, variance=100.0), 50.0, Waiting.QUEUE)
    at, departure = stay.moment(1.0)
    assert at.mean_ms == pytest.approx(20.0)  # M/M/1 at half load
    assert departure == pytest.approx(1.0)


def test_even_arrivals_at_even_service_do_not_wait():
    at, _ = stay_of(option("m1", ms=10.0), 90.0, Waiting.QUEUE).moment(0.0)
    assert at.mean_ms == 10.0
    assert at.variance_ms2 == 0.0


def test_a_batch_waits_until_it_is_full():
    stay = stay_of(option("m1", ms=40.0, batch=5, capacity=125.0), 100.0, Waiting.BATCH)
    assert stay.moment(0.0)[0].mean_ms == pytest.approx(40.0 + 40.0)


def test_dominant_share_leaves_out_what_is_not_used():
    assert dominant_share_ratio(machine("m1", cores=2.0), option("m1", cores=0.5, memory=900)) == pytest.approx(0.9)


@given(rows=st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=60))
def test_non_dominated_rows_are_those_of_a_double_loop(rows):
    table = np.array(rows, dtype=float)

    def beats(i, j):
        below = all(a <= b for a, b in zip(rows[i], rows[j], strict=True))
        return below and (rows[i] != rows[j] or i < j)

    kept = [j for j in range(len(rows)) if not any(beats(i, j) for i in range(len(rows)))]
    assert non_dominated(table).tolist() == kept


def test_packing_finds_what_first_fit_misses():
    # first-fit decreasing puts 4 + 4 + 2 together; 4 + 3 + 3 leaves nothing over on either machine
    shapes = {(4.0, 0, 0, 0): 2, (3.0, 0, 0, 0): 2, (2.0, 0, 0, 0): 3}
    assert machines_needed(shapes, (10.0, 0, 0, 0)) == 2


def test_totals_that_fit_may_still_need_another_machine():
    assert machines_needed({(0.6, 0, 0, 0): 3}, (1.0, 0, 0, 0)) == 3


def test_patterns_are_maximal():
    patterns, complete = maximal_patterns({(2.0, 0, 0, 0): 2, (1.0, 0, 0, 0): 9}, (3.0, 0, 0, 0))
    assert complete
    assert sorted(patterns) == [(0, 3), (1, 1)]
