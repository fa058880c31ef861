"""A query -> the YAML that `circinus query submit -f` reads: the way back of spec/queries.py. PURE."""

from __future__ import annotations

from typing import Any

import yaml

from circinus.model.query import DEFAULT_PERCENTILE_RATIO, Guarantee, Query

#: What the form for new queries begins with.
EXAMPLE = """\
- id: gate                 # left out: the planner gives it a name
  pipeline: {pipeline}
  content: {content}
  source: {source}
  rate_per_s: 2
  slo:
    latency_ms: 500        # at the 95th percentile; percentile: 0.99 for another
    accuracy: 0.9
"""


def query_yaml(query: Query) -> str:
    """The text from which ``parse_queries`` reads an equal query; what has its default is left out."""
    slo, budget = query.slo, query.budget
    bounds: dict[str, Any] = {
        "latency_ms": _plain(slo.latency_ms),
        "percentile": slo.percentile_ratio if slo.percentile_ratio != DEFAULT_PERCENTILE_RATIO else None,
        "accuracy": slo.accuracy_ratio,
        "accuracy_margin": slo.accuracy_margin_ratio or None,
        "cost_per_h": _plain(slo.cost_per_h),
    }
    limits: dict[str, Any] = {
        "samples": budget.samples,
        "seconds": _plain(budget.seconds),
        "cost": _plain(budget.cost),
    }
    entries: dict[str, Any] = {
        "id": query.id or None,
        "pipeline": query.pipeline_id,
        "content": query.content,
        "source": query.source_device_id,
        "rate_per_s": _plain(query.rate_per_s),
        "weight": _plain(query.weight) if query.weight != 1.0 else None,
        "slo": _given(bounds) or None,
        "guarantee": query.guarantee.value if query.guarantee is not Guarantee.POOL else None,
        "budget": _given(limits) or None,
        "input": query.input or None,
        "stand_by": True if query.stand_by else None,
        "sink": query.sink or None,
        "selector": query.selector or None,
    }
    return yaml.safe_dump([_given(entries)], sort_keys=False, allow_unicode=True, width=120)


def _given(entries: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entries.items() if value is not None}


def _plain(figure: float | None) -> float | int | None:
    """A figure as people write it: 2, not 2.0."""
    return int(figure) if figure is not None and figure == int(figure) and abs(figure) < 1e15 else figure


__all__ = ["EXAMPLE", "query_yaml"]
