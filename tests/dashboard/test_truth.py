"""Predicted against observed as pages show it."""

from datetime import UTC, datetime

import pytest

from circinus.accounts import Account, AccountsReport, Calibration, OperatorAccount, ReliabilityBin, ServiceCorrection
from circinus.model.plan import Certainty, Interval, Plan
from cloud_planner.dashboard.truth import Figure, bins, reliability_chart, scatter_chart, truth_of, wilson

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
CALIBRATION = Calibration(
    accounts=2,
    latency_error_ratio=0.1,
    throughput_error_ratio=0.01,
    coverage_ratio=0.5,
    half_width_ratio=0.2,
    brier=0.04,
    reliability=(ReliabilityBin(low_ratio=0.95, high_ratio=0.99, accounts=20, promised_ratio=0.97, met_ratio=0.7),),
    operator_accounts=1,
    service_error_ratio=0.05,
    service_coverage_ratio=1.0,
    corrections=(ServiceCorrection(pipeline_id="words", operator_id="read", device_id="box", ratio=1.2, items=300),),
)


def operator(**changes):
    values = {
        "operator_id": "read",
        "device_id": "box",
        "items": 200,
        "service_ms": Interval(value=20.0, low=18.0, high=22.0),
        "service_seen_ms": 21.0,
        "service_seen_p95_ms": 30.0,
        "queue_ms": 1.0,
        "queue_seen_ms": 2.0,
        "output_bytes": 100.0,
        "output_seen_bytes": 110.0,
        "cpu_seen_ms": 19.0,
        "memory_seen_bytes": 2**20,
        "dropped": {"deadline": 2},
    }
    return OperatorAccount(**(values | changes))


def account(generation=1, *, seen_ms=100.0, certainty=Certainty.CERTIFIED, **changes):
    plan = Plan(
        query_id="q",
        configuration={},
        operators=(),
        latency_ms=Interval(value=100.0, low=90.0, high=110.0),
        latency_p50_ms=60.0,
        accuracy_ratio=Interval(value=0.9, low=0.86, high=0.94),
        cost_per_h=0.1,
        slo_probability_ratio=0.97,
        item_goodput_per_s=4.0,
        certainty=certainty,
    )
    values = {
        "query_id": "q",
        "generation": generation,
        "created_at": NOW,
        "pipeline_id": "words",
        "content": "plain",
        "rate_per_s": 5.0,
        "plan": plan,
        "items": 200,
        "duration_s": 40.0,
        "dropped": 0,
        "failed": 0,
        "accuracy_seen_ratio": 0.88,
        "agreement_seen_ratio": None,
        "agreement_items": 0,
        "operators": (operator(),),
        "open": False,
        "latency_ms": Interval(value=100.0, low=90.0, high=110.0),
        "latency_seen_ms": seen_ms,
        "latency_seen_p50_ms": 60.0,
        "latency_seen_p99_ms": 150.0,
        "throughput_seen_per_s": 4.8,
        "slo_probability_ratio": 0.97,
        "slo_met": True,
        "scored": 100,
    }
    return Account(**(values | changes))


def truth(*accounts):
    return truth_of(AccountsReport(accounts=accounts, calibration=CALIBRATION))


def test_an_account_is_a_row_with_what_was_promised_and_seen():
    (row,) = truth(account(seen_ms=105.0)).plans
    assert (row.latency_ms.promised, row.latency_ms.seen, row.latency_ms.within) == (100.0, 105.0, True)
    assert row.rate_error_ratio == pytest.approx(0.2 / 4.8)
    assert row.verdict == "kept"


def test_accounts_that_can_not_be_judged_are_rows_without_figures_and_are_counted_apart():
    found = truth(account(1, open=True), account(2, open=True, certainty=Certainty.PROVISIONAL), account(3))
    assert [row.open for row in found.plans] == ["too few items", "provisional", ""]
    assert found.plans[0].latency_ms is None
    assert found.open_accounts == 2
    assert found.measures[0].accounts == 1


def test_accuracy_is_held_against_an_interval_that_knows_how_many_scores_there_were():
    few = truth(account(scored=10)).plans[0].accuracy_ratio
    many = truth(account(scored=10_000)).plans[0].accuracy_ratio
    assert few.high - few.low > many.high - many.low > 0.05
    assert truth(account(accuracy_seen_ratio=None, scored=0)).plans[0].accuracy_ratio is None


def test_operators_are_rows_of_their_own_and_count_from_forty_items_on():
    found = truth(account(operators=(operator(), operator(device_id="cloud", items=39))))
    assert [(row.device_id, row.judged) for row in found.operators] == [("box", True), ("cloud", False)]
    assert found.operators[0].dropped == "deadline 2"
    assert found.measures[3].accounts == 1


def test_an_operator_that_saw_nothing_has_no_figure_and_keeps_its_promise():
    nothing = operator(items=0, service_seen_ms=None, service_seen_p95_ms=None, queue_seen_ms=None)
    (row,) = truth(account(operators=(nothing,))).operators
    assert row.service_ms is None
    assert row.promised_ms == 20.0


def test_bins_go_by_what_was_promised_and_hold_about_as_many_each():
    figures = [Figure(promised=float(at), low=at - 1.0, high=at + 1.0, seen=float(at)) for at in range(10)]
    found = bins(figures)
    assert [one.accounts for one in found] == [4, 4, 2]
    assert found[0].low == 0.0
    assert found[-1].high == 9.0
    assert all(one.held_ratio == 1.0 for one in found)
    assert bins([]) == ()


def test_few_accounts_are_one_bin():
    figures = [Figure(promised=10.0, low=9.0, high=11.0, seen=20.0)] * 2
    (only,) = bins(figures)
    assert (only.accounts, only.held_ratio, only.error_ratio) == (2, 0.0, 0.5)


def test_a_promise_that_is_met_too_seldom_is_marked_off():
    (row,) = truth(account()).reliability
    assert row.off
    assert row.low_met_ratio < 0.7 < row.high_met_ratio


def test_the_interval_of_a_share_is_within_bounds_and_narrows():
    assert wilson(1.0, 5)[1] == 1.0
    assert wilson(0.0, 0) == (0.0, 1.0)
    assert wilson(0.5, 1000)[1] - wilson(0.5, 1000)[0] < wilson(0.5, 10)[1] - wilson(0.5, 10)[0]


def test_the_reliability_diagram_has_its_points_in_order_with_their_counts():
    chart = reliability_chart(truth(account()).reliability)
    assert chart["x"] == [0.97]
    assert chart["accounts"] == [20]


def test_the_scatter_keeps_apart_what_was_within_its_interval_and_what_was_not():
    found = truth(account(1, seen_ms=100.0), account(2, seen_ms=500.0))
    chart = scatter_chart(found.plans, lambda row: row.latency_ms, log=True)
    assert chart["held"] == [100.0, None]
    assert chart["out"] == [None, 500.0]
    assert chart["names"] == ["q, generation 1", "q, generation 2"]
