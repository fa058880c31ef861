"""queries.yaml <-> queries. The format is described in docs/pipeline-format.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

from circinus.model.device import DeviceId
from circinus.model.pipeline import PipelineId
from circinus.model.query import (
    DEFAULT_PERCENTILE_RATIO,
    INPUT_PATTERN,
    INPUT_RULE,
    SINK_PATTERN,
    SINK_RULE,
    Budget,
    Guarantee,
    Query,
    QueryId,
    Slo,
)
from circinus.model.selector import MAX_SELECTOR_CHARS, selector_fault
from circinus.spec.document import Document
from circinus.spec.pipeline import DEVICE_PATTERN, DEVICE_RULE, ID_PATTERN, ID_RULE

if TYPE_CHECKING:
    import yaml

#: What the planner takes in at a time; a fleet may have more, by several files.
MAX_QUERIES = 1_000
MAX_QUERIES_CHARACTERS = 4_194_304
MAX_RATE_PER_S = 1_000_000
MAX_WEIGHT = 1_000_000
MAX_LATENCY_MS = 3_600_000
MAX_COST_PER_H = 1_000_000_000
#: Of each part of a budget.
MAX_BUDGET = 1_000_000_000

_OPTIONAL = ("id", "weight", "slo", "guarantee", "budget", "input", "stand_by", "sink", "selector")
_RATIO_HINT = "; it is a ratio: write 0.95 for 95%"
_NO_BOUND_HINT = "; leave it out if there is no bound"
_NO_LIMIT_HINT = "; leave it out if there is no limit"


def parse_queries(text: str, filename: str = "queries.yaml") -> tuple[Query, ...]:
    """The queries in a YAML text: a list. A query without ``id`` has an empty one; the planner gives it one.

    Raises:
        SpecErrors: all that is wrong with the text, each with its line.
    """
    document = Document(text, filename, max_characters=MAX_QUERIES_CHARACTERS)
    queries = located_queries(document, document.root, "queries file")
    document.finish()
    return tuple(query for query, _ in queries)


def located_queries(
    document: Document, root: yaml.Node | None, what: str, *, at_most: int = MAX_QUERIES
) -> list[tuple[Query, int]]:
    """The queries of a list in a document, each with its line."""
    queries: list[tuple[Query, int]] = []
    seen: dict[str, int] = {}
    for node in document.sequence(root, what, at_least=1, at_most=at_most):
        query = _query(document, node)
        if query is None:
            continue
        line = node.start_mark.line + 1
        if query.id and query.id in seen:
            document.error(node, f"query {query.id!r} is defined twice (first on line {seen[query.id]})")
        seen.setdefault(query.id, line)
        queries.append((query, line))
    return queries


def _query(document: Document, node: yaml.Node) -> Query | None:
    required = ("pipeline", "content", "source", "rate_per_s")
    what = document.named(node, "query")
    entries = document.mapping(node, what, required=required, optional=_OPTIONAL)
    values = {key: entry.value for key, entry in entries.items()}
    if not values:
        return None
    identifier = document.text(values.get("id"), f"{what}: id", pattern=ID_PATTERN, rule=ID_RULE) or ""
    pipeline = document.text(values.get("pipeline"), f"{what}: pipeline", pattern=ID_PATTERN, rule=ID_RULE)
    content = document.text(values.get("content"), f"{what}: content", pattern=ID_PATTERN, rule=ID_RULE)
    source = document.text(values.get("source"), f"{what}: source", pattern=DEVICE_PATTERN, rule=DEVICE_RULE)
    rate_per_s = document.number(values.get("rate_per_s"), f"{what}: rate_per_s", above=0, at_most=MAX_RATE_PER_S)
    weight = document.number(values.get("weight"), f"{what}: weight", above=0, at_most=MAX_WEIGHT)
    guarantee = document.choice(values.get("guarantee"), what, "guarantee", [each.value for each in Guarantee])
    return Query(
        id=QueryId(identifier),
        pipeline_id=PipelineId(pipeline or ""),
        content=content or "",
        source_device_id=DeviceId(source or ""),
        rate_per_s=rate_per_s or 0.0,
        weight=1.0 if weight is None else weight,
        slo=_slo(document, values.get("slo"), what),
        guarantee=Guarantee.POOL if guarantee is None else Guarantee(guarantee),
        budget=_budget(document, values.get("budget"), what),
        input=document.text(values.get("input"), f"{what}: input", pattern=INPUT_PATTERN, rule=INPUT_RULE) or "",
        sink=document.text(values.get("sink"), f"{what}: sink", pattern=SINK_PATTERN, rule=SINK_RULE) or "",
        stand_by=document.flag(values.get("stand_by"), f"{what}: stand_by") or False,
        selector=_selector(document, values.get("selector"), what),
    )


def _selector(document: Document, node: yaml.Node | None, what: str) -> str:
    text = document.text(node, f"{what}: selector", at_most=MAX_SELECTOR_CHARS) or ""
    if node is not None and (fault := selector_fault(text)):
        document.error(node, f"{what}: {fault}")
        return ""
    return text


def _budget(document: Document, node: yaml.Node | None, what: str) -> Budget:
    entries = document.mapping(node, f"{what}: budget", optional=("samples", "seconds", "cost"))
    values = {key: entry.value for key, entry in entries.items()}

    def limit(key: str) -> float | None:
        name = f"{what}: budget {key}"
        return document.number(values.get(key), name, above=0, at_most=MAX_BUDGET, hint=_NO_LIMIT_HINT)

    return Budget(
        samples=document.integer(values.get("samples"), f"{what}: budget samples", at_least=1, at_most=MAX_BUDGET),
        seconds=limit("seconds"),
        cost=limit("cost"),
    )


def _slo(document: Document, node: yaml.Node | None, what: str) -> Slo:
    keys = ("latency_ms", "percentile", "accuracy", "accuracy_margin", "cost_per_h")
    entries = document.mapping(node, f"{what}: slo", optional=keys)
    values = {key: entry.value for key, entry in entries.items()}

    def bound(key: str, at_most: float, hint: str = _NO_BOUND_HINT) -> float | None:
        return document.number(values.get(key), f"{what}: slo {key}", above=0, at_most=at_most, hint=hint)

    percentile_ratio = bound("percentile", 1, _RATIO_HINT)
    if percentile_ratio == 1:
        document.error(
            values["percentile"], f"{what}: slo percentile is 1; no bound holds for every item, write 0.999 or less"
        )
    if "percentile" in values and "latency_ms" not in values:
        document.error(values["percentile"], f"{what}: slo percentile is for latency_ms, which is missing")
    accuracy_ratio = bound("accuracy", 1, _RATIO_HINT)
    margin_ratio = document.number(
        values.get("accuracy_margin"), f"{what}: slo accuracy_margin", above=0, at_most=1, hint=_RATIO_HINT, closed=True
    )
    if "accuracy_margin" in values and "accuracy" not in values:
        document.error(values["accuracy_margin"], f"{what}: slo accuracy_margin is for accuracy, which is missing")
    elif accuracy_ratio is not None and margin_ratio is not None and margin_ratio >= accuracy_ratio:
        document.error(
            values["accuracy_margin"],
            f"{what}: slo accuracy_margin is {margin_ratio:g}; it must be below the accuracy, {accuracy_ratio:g}",
        )
    return Slo(
        latency_ms=bound("latency_ms", MAX_LATENCY_MS),
        percentile_ratio=DEFAULT_PERCENTILE_RATIO if percentile_ratio is None else percentile_ratio,
        accuracy_ratio=accuracy_ratio,
        accuracy_margin_ratio=margin_ratio or 0.0,
        cost_per_h=bound("cost_per_h", MAX_COST_PER_H),
    )
