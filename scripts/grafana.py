"""Writes docs/grafana/dashboard.json, to be imported into Grafana, from the lists of metrics.

Usage: .venv/bin/python scripts/grafana.py [--check]. With --check: fails if what is there differs. Each panel's
question is put together from the metrics themselves, so that none can be of one that does not exist.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import Any

from reference_page import write

from circinus.exposition import Metric
from cloud_planner.metrics import metric_list as p
from edge_agent.metrics import metric_list as a

PAGE = "grafana/dashboard.json"
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WIDTH, _HEIGHT = 24, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """``asks``: what each line is called, and its question. ``unit`` is Grafana's."""

    title: str
    asks: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8


def _rate(metric: Metric, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({metric.name}{where}[$__rate_interval]))"


def _share(part: Metric, whole: Metric, by: str, where: str = "") -> str:
    return f"{_rate(part, by, where)} / {_rate(whole, by, where)}"


def _quantile(metric: Metric, by: str, where: str = "") -> str:
    inner = f"sum by (le, {by}) (rate({metric.name}_bucket{where}[$__rate_interval]))"
    return f"histogram_quantile(0.95, {inner})"


_QUERY = '{query=~"$query"}'

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "The fleet",
        (
            Panel(title="Planned goodput", kind="stat", width=4, asks=(("", p.GOODPUT.name),)),
            Panel(title="Goodput seen", kind="stat", width=4, asks=(("", p.SEEN_GOODPUT.name),)),
            Panel(title="Gap", kind="stat", width=4, unit="percentunit", asks=(("", p.GAP.name),)),
            Panel(title="Cost per hour", kind="stat", width=4, asks=(("", p.COST.name),)),
            Panel(title="Devices away", kind="stat", width=4, asks=(("", f'{p.DEVICES.name}{{state="away"}}'),)),
            Panel(title="Unplaced", kind="stat", width=4, asks=(("", f'{p.QUERIES.name}{{state="unplaced"}}'),)),
            Panel(
                title="Goodput",
                asks=(("planned", p.GOODPUT.name), ("seen", p.SEEN_GOODPUT.name), ("bound", p.BOUND.name)),
            ),
            Panel(title="Queries", asks=(("{{state}}", p.QUERIES.name),)),
            Panel(title="Error budgets", asks=(("{{state}}", p.BURNING.name),)),
            Panel(title="Devices", asks=(("{{state}}", p.DEVICES.name), ("{{mark}}", p.DEVICES_MARKED.name))),
            Panel(title="Generation", asks=(("newest", p.GENERATION.name), ("settled", p.SETTLED.name))),
            Panel(title="Directives", asks=(("{{result}}", _rate(p.DIRECTIVES, "result")),), unit="ops"),
        ),
    ),
    (
        "Queries",
        (
            Panel(
                title="Burn rate, 1 h",
                asks=(("{{query}}", f'topk(20, {p.QUERY_BURN.name}{{window="1h",query=~"$query"}})'),),
            ),
            Panel(
                title="Attainment, 1 h",
                unit="percentunit",
                asks=(("{{query}}", f'bottomk(20, {p.QUERY_ATTAINED.name}{{window="1h",query=~"$query"}})'),),
            ),
            Panel(
                title="Error budget left of a day",
                unit="percentunit",
                asks=(("{{query}}", f"bottomk(20, {p.QUERY_BUDGET.name}{_QUERY})"),),
            ),
            Panel(
                title="Latency at the SLO's percentile",
                unit="s",
                asks=(("{{query}}", f"topk(20, {p.QUERY_LATENCY.name}{_QUERY})"),),
            ),
            Panel(
                title="Items by outcome", unit="ops", asks=(("{{outcome}}", _rate(p.QUERY_ENDED, "outcome", _QUERY)),)
            ),
            Panel(
                title="Goodput of queries",
                unit="ops",
                asks=(("{{query}}", f"topk(20, {p.QUERY_GOODPUT.name}{_QUERY})"),),
            ),
        ),
    ),
    (
        "Operators over all devices",
        (
            Panel(
                title="Items",
                unit="ops",
                asks=(("{{pipeline}}/{{operator}}", _rate(p.OPERATOR_ITEMS, "pipeline, operator")),),
            ),
            Panel(
                title="Mean service time",
                unit="s",
                asks=(
                    ("{{pipeline}}/{{operator}}", _share(p.OPERATOR_SERVICE, p.OPERATOR_ITEMS, "pipeline, operator")),
                ),
            ),
            Panel(
                title="Mean wait",
                unit="s",
                asks=(("{{pipeline}}/{{operator}}", _share(p.OPERATOR_WAIT, p.OPERATOR_ITEMS, "pipeline, operator")),),
            ),
        ),
    ),
    (
        "The planner",
        (
            Panel(
                title="Time of plannings",
                unit="s",
                asks=(
                    ("mean", f"rate({p.PLANNING.name}[$__rate_interval]) / rate({p.PLANNED.name}[$__rate_interval])"),
                    ("solver", p.SOLVER.name),
                ),
            ),
            Panel(
                title="Ledger: intervals that held",
                unit="percentunit",
                asks=(("latency", p.COVERAGE.name), ("service", p.SERVICE_COVERAGE.name)),
            ),
            Panel(
                title="Ledger: median errors",
                unit="percentunit",
                asks=(
                    ("latency", p.LATENCY_ERROR.name),
                    ("throughput", p.THROUGHPUT_ERROR.name),
                    ("service", p.SERVICE_ERROR.name),
                ),
            ),
            Panel(title="Profile runs", asks=(("{{state}}", p.PROFILES.name),)),
            Panel(title="Memory", unit="bytes", asks=(("planner", p.MEMORY.name),)),
            Panel(title="CPU", unit="percentunit", asks=(("planner", f"rate({p.CPU.name}[$__rate_interval])"),)),
        ),
    ),
    (
        "Boxes that can be scraped",
        (
            Panel(
                title="Service time, 95%",
                unit="s",
                asks=(("{{query}}/{{operator}}", _quantile(a.OPERATOR_SERVICE, "query, operator", _QUERY)),),
            ),
            Panel(
                title="Wait, 95%",
                unit="s",
                asks=(("{{query}}/{{operator}}", _quantile(a.OPERATOR_WAIT, "query, operator", _QUERY)),),
            ),
            Panel(title="Latency, 95%", unit="s", asks=(("{{query}}", _quantile(a.LATENCY, "query", _QUERY)),)),
            Panel(
                title="Items lost",
                unit="ops",
                asks=(("{{outcome}} {{cause}}", _rate(a.ENDED, "outcome, cause", '{cause!=""}')),),
            ),
            Panel(title="Items that wait", asks=(("{{query}}/{{operator}}", f"{a.OPERATOR_WAITING.name}{_QUERY}"),)),
            Panel(title="Round trips", unit="s", asks=(("{{instance}} to {{peer}}", a.LINK_RTT.name),)),
            Panel(title="Links down", asks=(("{{instance}} to {{peer}}", f"{a.LINK_UP.name} == 0"),)),
            Panel(title="Outbox", unit="bytes", asks=(("{{instance}}", a.OUTBOX_BYTES.name),)),
            Panel(
                title="Until certificates end",
                unit="s",
                asks=(("{{instance}}", f"{a.CERTIFICATE_END.name} - time()"),),
            ),
            Panel(title="Memory of agents", unit="bytes", asks=(("{{instance}}", a.MEMORY.name),)),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """The whole document."""
    panels: list[dict[str, Any]] = []
    top = 0
    for title, row in ROWS:
        panels.append(_row(title, top, len(panels)))
        top += 1
        left = 0
        for panel in row:
            if left + panel.width > _WIDTH:
                left, top = 0, top + _HEIGHT
            panels.append(_panel(panel, left, top, len(panels)))
            left += panel.width
        top += _HEIGHT
    return {
        "title": "Circinus",
        "uid": "circinus",
        "tags": ["circinus"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [_source(), _choice("query", p.QUERY_INFO)]},
        "panels": panels,
    }


def _row(title: str, top: int, number: int) -> dict[str, Any]:
    place = {"h": 1, "w": _WIDTH, "x": 0, "y": top}
    return {"id": number + 1, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}


def _panel(panel: Panel, left: int, top: int, number: int) -> dict[str, Any]:
    targets = [
        {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": question, "legendFormat": name or "__auto"}
        for index, (name, question) in enumerate(panel.asks)
    ]
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "datasource": _SOURCE,
        "gridPos": {"h": _HEIGHT, "w": panel.width, "x": left, "y": top},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": targets,
    }


def _source() -> dict[str, Any]:
    return {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _choice(label: str, metric: Metric) -> dict[str, Any]:
    return {
        "name": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": f"label_values({metric.name}, {label})",
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "refresh": 2,
    }


def page() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    sys.exit(write(PAGE, page()))
