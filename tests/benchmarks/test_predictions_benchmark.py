"""What benchmarks/predictions.py draws and tells."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from circinus.sketch import Sketch
from circinus.v1 import planner_pb2, types_pb2
from cloud_planner.core.calibration import Account, calibration
from edge_agent.config import parse_config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def bench():
    """The benchmark's modules by their short names."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield SimpleNamespace(**{name: __import__(f"predictions_{name}") for name in ("report", "rounds")})
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def accounts(count: int, seen_ms: float) -> planner_pb2.GetAccountsResponse:
    promise = planner_pb2.Promise(
        pipeline_id="documents", rate_per_s=4.0, latency_ms=100.0, spread_ratio=0.1, freedom=1e6
    )
    promise.plan.query_id = "q"
    promise.plan.latency_ms.value = 100.0
    promise.plan.certainty = types_pb2.CERTAINTY_CERTIFIED
    seen = planner_pb2.Seen(duration_s=20.0, emitted=80, answered=80)
    seen.latency_ms.CopyFrom(Sketch([seen_ms] * 80).message())
    found = planner_pb2.GetAccountsResponse(
        calibration=calibration([Account(promise=promise, seen=seen)] * count),
    )
    for _ in range(count):
        found.accounts.add(
            query_id="q",
            promise=promise,
            seen=seen,
            latency_ms=types_pb2.Interval(value=100.0, low=85.0, high=118.0),
            latency_seen_ms=seen_ms,
        )
    return found


def test_rounds_are_the_same_for_the_same_seed_and_cover_all_pipelines(bench) -> None:
    drawn = bench.rounds.rounds(1, 6)
    assert drawn == bench.rounds.rounds(1, 6) != bench.rounds.rounds(2, 6)
    assert {query.pipeline_id for one in drawn for query in one.queries} == set(bench.rounds.PIPELINES)
    bounds = {(query.slo.latency_ms, query.slo.accuracy_ratio) for one in drawn for query in one.queries}
    assert len(bounds) > 9


def test_the_fleet_is_one_that_agents_accept(bench) -> None:
    for device_id, text in bench.rounds.AGENTS.items():
        whole = f'planner = "127.0.0.1:1"\nstate_dir = "/nowhere"\n{text}'
        assert parse_config(whole).device_id == device_id


def test_bars_are_told_as_kept_or_missed(bench) -> None:
    kept = bench.report.document(accounts(31, 104.0))["kept"]
    assert kept["p95_median_error_at_most_15_percent"]
    assert not kept["intervals_hold_84_to_96_percent"]  # all of them hold: too wide
    assert "MISSED" in bench.report.told(accounts(31, 140.0))
    assert not any(bench.report.document(planner_pb2.GetAccountsResponse())["kept"].values())


def test_only_what_served_alone_is_judged(bench) -> None:
    found = accounts(2, 104.0)
    found.accounts[0].generation, found.accounts[1].generation = 3, 4
    found.accounts[1].seen.latency_ms.CopyFrom(Sketch([400.0] * 80).message())
    alone = bench.report.measured(found, {(3, "q")})
    assert [account.generation for account in alone.accounts] == [3]
    assert alone.calibration.latency_error_median_ratio < 0.1
    assert bench.report.measured(found, {(4, "q")}).calibration.latency_error_median_ratio > 0.5
