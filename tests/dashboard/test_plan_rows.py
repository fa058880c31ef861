"""A plan as rows: figures, what they rest on, why there, what was not chosen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_values import PIPELINE, QUERY, figures, part, plan

from circinus.model.plan import Certainty, Interval
from circinus.model.profile import ConfigurationProfile, OperatorSample, ProfileTable, SampleResult
from circinus.spec.queries import parse_queries
from cloud_planner.core.plan_rows import Measured, measured_of, operator_rows, rival_rows, whole_row
from cloud_planner.dashboard.query_text import query_yaml


def _told(*parts: tuple[str, str], **knobs: object) -> dict[str, object]:
    return {
        "configuration": knobs or {"detect.fast": True},
        "operators": [
            {"operator": operator, "machine": machine, "replicas": 1, "cores": 0.5, "batch": 1, "share_ratio": 1.0}
            for operator, machine in parts
        ],
        "latency_ms": 210.0,
        "accuracy": 0.9,
        "cost_per_h": 0.5,
    }


_CHOSEN = _told(("detect", "shop-box"), ("read", "cloud-1"))
_RIVAL = {
    "plan": _told(("detect", "cloud-1"), ("read", "cloud-1")),
    "adds_per_h": 0.5,
    "reason": "dearer by 0.1 per hour",
    "wins_if": "it costs 0.1 per hour less",
}


def test_rows_have_the_figures_of_each_operator() -> None:
    found = plan()
    rows = operator_rows(found, figures(found), {}, {("detect", "shop-box"): 41.0}, PIPELINE)
    assert [row.operator for row in rows] == ["decode", "detect", "track", "read"]
    detect = rows[1]
    assert (detect.device, detect.knobs, detect.share) == ("shop-box", "fast=true", "1 × 0.5 core")
    assert detect.p95_ms == Interval(value=30.0, low=27.0, high=33.0)
    assert (detect.seen_p95_ms, detect.cost_per_h) == (41.0, 0.05)


def test_without_the_problem_rows_have_no_figures() -> None:
    row = operator_rows(plan(), None, {}, {}, PIPELINE)[0]
    assert (row.p95_ms, row.cost_per_h, row.measured) == (None, None, None)


def test_why_is_the_pin_or_the_plan_that_has_it_elsewhere() -> None:
    rows = operator_rows(plan(), None, {}, {}, PIPELINE, [_RIVAL])
    whys = {row.operator: row.why for row in rows}
    assert whys["decode"] == "pinned to the source"
    assert whys["detect"] == "not on cloud-1: dearer by 0.1 per hour"
    assert whys["read"] == ""


def test_the_whole_is_told_with_intervals_of_90_percent() -> None:
    row = whole_row(plan(certainty=Certainty.PROVISIONAL), QUERY, None)
    assert row.latency_ms.value == 200.0
    assert row.latency_ms.low == pytest.approx(200.0 - 20.0 * 1.6449 / 1.96, abs=0.01)
    assert row.latency_ms.high == pytest.approx(200.0 + 20.0 * 1.6449 / 1.96, abs=0.01)
    assert row.cost_per_1000 == pytest.approx(0.02)
    assert not row.certified


def test_rivals_say_only_what_is_other_in_them() -> None:
    document = {
        "plan": _CHOSEN,
        "rivals": [_RIVAL, {**_RIVAL, "plan": _told(("detect", "shop-box"), **{"detect.fast": False})}],
    }
    first, second = rival_rows(document)
    assert (first.where, first.knobs) == ("detect on cloud-1 (1 × 0.5)", "the same")
    assert (second.where, second.knobs) == ("the same places", "detect.fast=false")


def _profile(items: int, *, size: int = 640, hurried: bool = False) -> ConfigurationProfile:
    return ConfigurationProfile(
        configuration={"decode.size": size, "detect.fast": True},
        samples=tuple(
            SampleResult(
                sample_index=index,
                score_ratio=None,
                operators=tuple(
                    OperatorSample(
                        operator_id=name, cpu_ms=1.0, wall_ms=1.0, output_bytes=1, cached=False, hurried=hurried
                    )
                    for name in ("decode", "detect", "track", "read")
                ),
            )
            for index in range(items)
        ),
        memory_bytes={},
        source_bytes=1,
    )


def test_measured_are_items_with_the_same_knobs_on_the_same_class() -> None:
    table = ProfileTable(
        bundle_digest="b",
        content_digest="c",
        scores={},
        times={"arm": (_profile(7), _profile(9, size=320), _profile(20, hurried=True)), "vm": (_profile(3, size=320),)},
    )
    found = measured_of(plan(), PIPELINE, table, {"camera-7": "arm", "shop-box": "box", "cloud-1": "vm"})
    assert found["decode", "camera-7"] == Measured(samples=7, device_class="arm")
    assert found["detect", "shop-box"] == Measured(samples=0, device_class="box")
    assert found["read", "cloud-1"] == Measured(samples=0, device_class="vm")


def test_an_operator_that_its_pipeline_no_longer_has_is_told_without_a_word_why() -> None:
    found = plan(part("gone", "shop-box"))
    assert operator_rows(found, None, {}, {}, PIPELINE)[0].why == ""
    assert (
        measured_of(found, PIPELINE, ProfileTable(bundle_digest="", content_digest="", scores={}, times={}), {}) == {}
    )


def test_a_query_is_written_as_it_is_read() -> None:
    full = replace(
        QUERY,
        weight=2.5,
        slo=replace(QUERY.slo, percentile_ratio=0.99, accuracy_margin_ratio=0.01, cost_per_h=1.5),
        input="camera:/dev/video0",
        sink="file:/tmp/out",
        selector="site=shop-1",
        stand_by=True,
    )
    for query in (QUERY, full, replace(QUERY, slo=replace(QUERY.slo, latency_ms=None, accuracy_ratio=None))):
        assert parse_queries(query_yaml(query)) == (query,)
