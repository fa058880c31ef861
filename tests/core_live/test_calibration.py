from math import erf, exp, log, sqrt
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from circinus.sketch import Sketch
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.core.calibration import (
    LEAST_ITEMS,
    PRIOR_ITEMS,
    PRIOR_SPREAD_RATIO,
    Account,
    belief,
    brier,
    calibration,
    corrections,
    interval,
    judge,
    reliability,
    residuals,
    slo_probability_ratio,
)
from cloud_planner.core.promises import sampling_ratio


def promise(
    latency_ms: float = 100.0, *, bound_ms: float | None = 150.0, rate_per_s: float = 5.0, spread: float = 0.1
) -> planner_pb2.Promise:
    made = planner_pb2.Promise(
        pipeline_id="toy", rate_per_s=rate_per_s, latency_ms=latency_ms, spread_ratio=spread, freedom=1e6
    )
    made.plan.latency_ms.value = latency_ms
    made.plan.certainty = types_pb2.CERTAINTY_CERTIFIED
    if bound_ms is not None:
        made.slo.latency_ms = bound_ms
    made.operators.add(
        operator_id="read", device_id="box", service_ms=types_pb2.Interval(value=50.0, low=40.0, high=60.0)
    )
    return made


def seen(p95_ms: float, *, items: int = 100, rate_per_s: float = 5.0, service_ms: float = 50.0) -> planner_pb2.Seen:
    made = planner_pb2.Seen(duration_s=items / rate_per_s, emitted=items, answered=items)
    made.latency_ms.CopyFrom(Sketch([p95_ms] * items).message())
    made.operators.add(
        operator_id="read", device_id="box", items=items, service_ms=Sketch([service_ms] * items).message()
    )
    return made


def account(promised_ms: float, seen_ms: float, **changes: float) -> Account:
    return Account(promise=promise(promised_ms), seen=seen(seen_ms, **changes))  # type: ignore[arg-type]


def test_an_account_is_judged_by_what_was_seen() -> None:
    judged = judge(account(100.0, 110.0, rate_per_s=4.0))
    assert judged.latency_error_ratio == pytest.approx(1 / 11, abs=0.01)
    assert judged.throughput_error_ratio == pytest.approx(0.25)
    assert judged.within
    assert judged.slo_met
    assert not judge(account(100.0, 140.0)).within
    assert not judge(account(100.0, 160.0)).slo_met


def test_what_is_lost_is_slower_than_all_that_comes_back() -> None:
    some = account(100.0, 110.0)
    some.seen.latency_ms.CopyFrom(Sketch([100.0] * 97 + [140.0] * 3).message())
    assert judge(some).latency_seen_ms == pytest.approx(100.0, rel=0.01)
    some.seen.dropped = 4
    assert judge(some).latency_seen_ms == pytest.approx(140.0, rel=0.01)
    assert judge(some).slo_met
    some.seen.failed = 4
    assert judge(some).latency_seen_ms > 150.0
    assert not judge(some).slo_met


def test_too_few_items_and_provisional_plans_are_not_judged() -> None:
    assert account(100.0, 110.0, items=LEAST_ITEMS - 1).open
    believed = account(100.0, 110.0)
    believed.promise.plan.certainty = types_pb2.CERTAINTY_PROVISIONAL
    assert believed.open
    assert not corrections([believed]).service_ratio
    assert calibration([believed]).accounts == 0


def test_intervals_that_are_right_hold_ninety_percent() -> None:
    rng = Random(1)
    drawn = [account(100.0, 100.0 * exp(rng.gauss(0.0, 0.1))) for _ in range(1500)]
    found = calibration(drawn)
    assert found.coverage_ratio == pytest.approx(0.9, abs=0.025)
    assert found.half_width_median_ratio == pytest.approx(0.165, abs=0.01)


def test_an_interval_is_wider_for_fewer_items() -> None:
    one = promise()
    one.sampling_ratio = 1.0
    few, many = interval(one, 50), interval(one, 5_000)
    assert few.low < many.low < one.latency_ms < many.high < few.high


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.0, 1.0), st.booleans()), min_size=1, max_size=50))
def test_brier_score_and_bins_are_what_counting_gives(forecasts: list[tuple[float, bool]]) -> None:
    assert brier(forecasts) == pytest.approx(
        sum((p - (1.0 if met else 0.0)) ** 2 for p, met in forecasts) / len(forecasts)
    )
    bins = reliability(forecasts)
    assert sum(one.count for one in bins) == len(forecasts)
    for one in bins:
        last = one.high_ratio == 1.0
        inside = [(p, met) for p, met in forecasts if one.low_ratio <= p < one.high_ratio or (last and p == 1.0)]
        assert one.count == len(inside)
        assert one.met_ratio == pytest.approx(sum(met for _, met in inside) / len(inside))
        assert one.low_ratio - 1e-9 <= one.probability_mean_ratio <= one.high_ratio + 1e-9


def test_the_probability_of_a_latency_bound_is_that_of_the_interval() -> None:
    one = promise(100.0, bound_ms=110.0, spread=0.1)
    z = log(1.1) / 0.1
    assert slo_probability_ratio(one, 100, 0) == pytest.approx((1.0 + erf(z / sqrt(2.0))) / 2.0, rel=1e-6)
    one.slo.cost_per_h = 1.0
    one.plan.cost_per_h = 2.0
    assert slo_probability_ratio(one, 100, 0) == 0.0


def test_a_service_time_is_corrected_by_what_its_profile_is_off_by_drawn_to_none() -> None:
    ratio = corrections([account(100.0, 100.0, service_ms=75.0)]).service_ratio["toy", "read", "box"]
    assert ratio == pytest.approx(exp(100.0 * log(1.5) / (100.0 + PRIOR_ITEMS)), rel=1e-6)


def test_one_bad_minute_is_no_correction() -> None:
    fine, bad = account(100.0, 100.0), account(100.0, 400.0, service_ms=200.0)
    assert corrections([fine, bad, *[fine] * 5]).service_ratio["toy", "read", "box"] == pytest.approx(1.0, abs=0.03)
    usual = belief(residuals([fine] * 7), "toy")
    once = belief(residuals([fine, bad, *[fine] * 5]), "toy")
    assert once.bias_ratio == pytest.approx(usual.bias_ratio, abs=0.03)
    assert once.spread_ratio < 1.4 * usual.spread_ratio


def test_a_correction_that_is_in_force_stays_when_it_is_right() -> None:
    corrected = account(100.0, 100.0, service_ms=50.0, items=10_000)
    corrected.promise.operators[0].corrected_ratio = 1.5
    many = [corrected] * 30
    assert corrections(many).service_ratio["toy", "read", "box"] == pytest.approx(1.5, rel=0.05)


def test_nothing_known_is_the_prior_and_residuals_move_it() -> None:
    assert belief([], "toy").bias_ratio == 1.0
    assert belief([], "toy").spread_ratio == pytest.approx(PRIOR_SPREAD_RATIO)
    late = belief(residuals([account(100.0, 130.0)] * 12), "toy")
    assert 1.15 < late.bias_ratio < 1.3
    assert late.spread_ratio < belief(residuals([account(100.0, 70.0), account(100.0, 140.0)] * 6), "toy").spread_ratio


def test_what_a_correction_of_service_times_mends_is_no_bias() -> None:
    late = account(50.0, 75.0, service_ms=75.0)
    late.promise.operators[0].share_ratio = 1.0
    place = ("toy", "read", "box")
    assert belief(residuals([late] * 12), "toy").bias_ratio > 1.25
    assert belief(residuals([late] * 12), "toy", {place: 1.5}).bias_ratio == pytest.approx(1.0, abs=0.02)


def test_the_deviation_of_an_observed_percentile_is_that_of_draws() -> None:
    rng, shape, items = Random(2), 20.0, 200
    draws = [sorted(rng.gammavariate(shape, 5.0) for _ in range(items))[int(0.95 * items)] for _ in range(600)]
    mean = sum(draws) / len(draws)
    deviation = sqrt(sum((one - mean) ** 2 for one in draws) / len(draws)) / mean
    whole = sorted(rng.gammavariate(shape, 5.0) for _ in range(20_000))
    told = sampling_ratio(whole[10_000], whole[19_000], 0.95) / sqrt(items)
    assert told == pytest.approx(deviation, rel=0.2)
