"""`circinus plan`: each operator's p95 and money, what was measured, what was not chosen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from fake_planner import a_plan

from circinus.cli.detail_table import measured_text
from circinus.cli.output import console
from circinus.cli.plan_table import Measures, selection_view
from circinus.model.plan import per_1000_items
from circinus.plan_details import PlannedOperator
from circinus.reports import selection_report_from_message
from circinus.v1 import planner_pb2, types_pb2

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def planned(**changes) -> PlannedOperator:
    values = {
        "operator_id": "read",
        "device_id": "cloud-1",
        "service_p95_ms": None,
        "wait_ms": 1.0,
        "cost_per_h": 0.02,
        "samples": 24,
        "measured_at": NOW - timedelta(minutes=3),
        "why": "",
    }
    return PlannedOperator(**(values | changes))


def a_report():
    response = planner_pb2.PlanSelectionResponse()
    response.selection.plans.append(a_plan())
    response.selection.cost_per_h, response.selection.solver_status = 0.0312, "optimal"
    detail = response.details.add(query_id="gate", rate_per_s=2.0, why="the cheapest that meets its bounds")
    for name, device, samples in (("rectify", "camera-1", 24), ("read", "cloud-1", 24)):
        part = detail.operators.add(operator_id=name, device_id=device, samples=samples, cost_per_h=0.0144, wait_ms=2.0)
        part.service_p95_ms.CopyFrom(types_pb2.Interval(value=180.0, low=170.0, high=190.0))
        part.measured_at.FromDatetime(NOW - timedelta(minutes=3))
    detail.operators[1].why = "not on camera-1: misses latency by 80 ms"
    rival = detail.rivals.add(reason="misses latency by 80 ms", wins_if="latency 580 ms")
    rival.plan.latency_ms, rival.plan.accuracy, rival.plan.cost_per_h = 580.0, 0.91, 0.02
    rival.plan.operators.add(operator="read", machine="camera-1", replicas=1, cores=2.0, share_ratio=1.0)
    return selection_report_from_message(response)


def shown(report) -> str:
    import io

    made = console(io.StringIO())
    with made.capture() as captured:
        made.print(selection_view(report, Measures(), NOW))
    return captured.get()


def test_the_table_says_what_each_figure_rests_on():
    said = shown(a_report())
    head = " ".join(said.splitlines()[0].split())
    assert head == ("QUERY / OPERATOR WHERE KNOBS SHARE p95 ms (90%) ACCURACY COST/h PER 1,000 P(SLO) MEASURED WHY")
    rows: dict[str, str] = {}
    for line in filter(str.strip, said.splitlines()):
        rows.setdefault(line.split()[0], " ".join(line.split()))
    assert "180 (170–190)" in rows["read"]
    assert "0.0144 0.002 24 items, 3 min ago not on camera-1: misses latency by 80 ms" in rows["read"]
    # A 95% interval is told with 90%.
    assert "p95 412 (394–444)" in rows["gate"]
    assert "0.0312 0.00433 0.981 24 items, 3 min ago the cheapest that meets its bounds" in rows["gate"]


def test_what_was_not_chosen_stands_below_with_its_reason():
    said = shown(a_report())
    line = next(line for line in said.splitlines() if "latency 580 ms" in line)
    assert "read 1 × 2 on camera-1" in line
    assert "misses latency by 80 ms" in line


def test_money_is_told_per_thousand_items_too():
    assert "0.00433 per 1,000 items" in shown(a_report())
    assert per_1000_items(3.6, 1.0) == pytest.approx(1.0)
    assert per_1000_items(3.6, 0.0) is None


@pytest.mark.parametrize(
    ("operators", "said"),
    [
        ([planned(), planned(samples=60, measured_at=NOW - timedelta(hours=2))], "24 items, 2 h ago"),
        ([planned(measured_at=None)], "24 items"),
        ([planned(), planned(samples=0)], "in part"),
        ([planned(samples=0)], "predicted"),
        ([], "predicted"),
    ],
)
def test_times_are_measured_or_predicted(operators, said):
    assert measured_text(operators, NOW) == said
