"""Writes the lists of metrics in docs/metrics.md from those in the code.

Usage: .venv/bin/python scripts/metrics_docs.py [--check]. With --check: fails if what is there differs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from reference_page import DOCS, table, write

from circinus.exposition import Metric
from cloud_planner.metrics import metric_list as planner
from edge_agent.metrics import metric_list as agent

PAGE = "metrics.md"


def filled(text: str, name: str, script: str, section: str) -> str:
    """A page with a section, which a script writes, in its place.

    Raises:
        LookupError: the page has no place for it.
    """
    begin, end = f"<!-- {name}: written by scripts/{script} -->", f"<!-- end of {name} -->"
    if begin not in text or end not in text:
        raise LookupError(f"the page lacks {begin} and {end}")
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n{section}\n{end}{rest.partition(end)[2]}"


def _list(metrics: Sequence[Metric]) -> str:
    rows: list[tuple[str, ...]] = [
        (f"`{metric.name}`", metric.kind.value, ", ".join(metric.labels), metric.text) for metric in metrics
    ]
    return table("metric", "kind", "labels", "", rows=rows)


def page() -> str:
    """The whole page."""
    text = (DOCS / PAGE).read_text()
    for name, metrics in (("planner", planner.METRICS), ("agent", agent.METRICS)):
        text = filled(text, name, "metrics_docs.py", _list(metrics))
    return text


if __name__ == "__main__":
    sys.exit(write(PAGE, page()))
