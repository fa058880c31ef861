"""Results in the format of ``circinus plan --offline``: tables, and a fleet and queries to begin with.

The tables are written anew each time; the fleet and the queries only if they are not there, since they are for people
to change.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from circinus.model.pipeline import Configuration, KnobValue, Pipeline
from circinus.spec.folder import PIPELINE_FILE
from edge_agent.local.results import Results
from edge_agent.local.summary import ContentSummary, OperatorSummary

#: What the tables call the machine that was measured on.
MACHINE = "this-machine"
#: Parts of a core that a replica may have; on a part of one everything takes so much longer.
CORE_SHARES = (0.25, 0.5, 1.0)
#: A query's accuracy bound to begin with is so far below the best that there is.
_LOSS_RATIO = 0.05

FLEET = """\
# One machine as it was measured on. Make it yours: more machines, links, prices; see docs/offline.md.
settings:
  objective: goodput
  waiting: queue
  replica_utilization_cap: 0.7
machines:
  - {{id: {machine}, tier: edge, cores: {cores}, price_per_h: 1.0}}
"""


def write_offline(
    into: Path, folder: Path, pipeline: Pipeline, results: Results, summaries: Sequence[ContentSummary]
) -> None:
    """Writes pipelines/, accuracy.csv, outputs.csv, service.csv, fleet.yaml and queries.yaml into a folder."""
    (into / "pipelines").mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / PIPELINE_FILE, into / "pipelines" / f"{pipeline.id}.yaml")
    knobs = [f"{operator.id}.{knob.name}" for operator in pipeline.operators for knob in operator.knobs]
    _write(into / "accuracy.csv", _accuracy(pipeline, knobs, summaries))
    _write(into / "outputs.csv", _outputs(pipeline, knobs, summaries))
    _write(into / "service.csv", _service(pipeline, knobs, results, summaries))
    if not (into / "fleet.yaml").exists():
        cores = results.header.machine.get("cores", "1")
        (into / "fleet.yaml").write_text(FLEET.format(machine=MACHINE, cores=cores), encoding="utf-8")
    if not (into / "queries.yaml").exists():
        (into / "queries.yaml").write_text(_queries(pipeline, summaries), encoding="utf-8")


def _write(path: Path, rows: Iterator[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    path.write_text(text.getvalue(), encoding="utf-8")


def _cell(value: KnobValue) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _figure(value: float) -> str:
    return f"{value:.6g}"


def _cells(knobs: Sequence[str], values: Configuration) -> list[str]:
    return [_cell(values[name]) if name in values else "" for name in knobs]


def _accuracy(pipeline: Pipeline, knobs: Sequence[str], summaries: Sequence[ContentSummary]) -> Iterator[list[str]]:
    yield ["pipeline", "content", *knobs, "accuracy", "accuracy_low", "accuracy_high"]
    for summary in summaries:
        for row in summary.rows:
            figures = (row.accuracy.value, row.accuracy.low, row.accuracy.high)
            yield [
                pipeline.id,
                summary.content,
                *_cells(knobs, row.configuration),
                *(_figure(value) for value in figures),
            ]


def _by_prefix(
    pipeline: Pipeline, summary: ContentSummary
) -> Iterator[tuple[int, Mapping[str, KnobValue], OperatorSummary, int]]:
    """Each operator behind each prefix: its place, its prefix, its figures, and the prefix's number."""
    for place, operator in enumerate(pipeline.operators):
        names = pipeline.upstream_knobs(operator.id)
        seen: set[tuple[KnobValue, ...]] = set()
        for row in summary.rows:
            prefix = tuple(row.configuration[name] for name in names)
            if prefix not in seen:
                seen.add(prefix)
                yield place, dict(zip(names, prefix, strict=True)), row.operators[place], len(seen) - 1


def _outputs(pipeline: Pipeline, knobs: Sequence[str], summaries: Sequence[ContentSummary]) -> Iterator[list[str]]:
    yield ["pipeline", "content", "operator", *knobs, "output_bytes"]
    for summary in summaries:
        source_bytes = summary.rows[0].source_bytes
        yield [pipeline.id, summary.content, "source", *_cells(knobs, {}), _figure(source_bytes)]
        for _, prefix, operator, _ in _by_prefix(pipeline, summary):
            yield [
                pipeline.id,
                summary.content,
                operator.operator_id,
                *_cells(knobs, prefix),
                _figure(operator.output_bytes),
            ]


def _service(
    pipeline: Pipeline, knobs: Sequence[str], results: Results, summaries: Sequence[ContentSummary]
) -> Iterator[list[str]]:
    yield [
        *("pipeline", "content", "operator"),
        *knobs,
        *("machine", "cores", "latency_ms", "latency_std_ms", "memory_mb"),
    ]
    for summary in summaries:
        for _, prefix, operator, number in _by_prefix(pipeline, summary):
            memory = results.memory_bytes.get(operator.operator_id, ())
            memory_bytes = memory[number] if number < len(memory) else 0
            for cores in CORE_SHARES:
                yield [
                    *(pipeline.id, summary.content, operator.operator_id),
                    *_cells(knobs, prefix),
                    MACHINE,
                    _figure(cores),
                    # A time of nothing would be an endless throughput.
                    _figure(max(operator.cpu_ms, 1e-3) / cores),
                    _figure(operator.deviation_ms / cores),
                    _figure(memory_bytes / 1e6),
                ]


def _queries(pipeline: Pipeline, summaries: Sequence[ContentSummary]) -> str:
    lines = ["# One query a content, nearly as accurate as can be. Make them yours; see docs/offline.md.", "queries:"]
    for summary in summaries:
        row = summary.rows[summary.cheapest_within(_LOSS_RATIO)]
        least = max(0.0, row.accuracy.low - 0.001)
        query = {
            "id": summary.content,
            "pipeline": pipeline.id,
            "content": summary.content,
            "source": MACHINE,
            "rate_per_s": round(0.25 * 1000.0 / max(row.cpu_ms, 1.0), 2),
            "slo": {"accuracy": round(least, 3)},
        }
        lines.append(f"  - {json.dumps(query)}")
    return "\n".join(lines) + "\n"
