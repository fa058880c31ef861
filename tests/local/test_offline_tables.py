"""What profiling writes is what `circinus plan --offline` reads: the same figures."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from toy_folder import FILES, write_toy

from circinus.cli.main import main
from circinus.model.plan import Interval
from circinus.spec.folder import load_pipeline
from cloud_planner.offline.assemble import assemble
from cloud_planner.offline.folder import read_folder
from edge_agent.local.offline import CORE_SHARES, MACHINE, write_offline
from edge_agent.local.results import ContentHeader, Header, OperatorFigure, Results, SampleLine, prefixes_of
from edge_agent.local.summary import summarise

PIPELINE = next(iter(FILES))
#: Knob values of each kind, and texts that YAML and CSV could take for something else.
KINDS = (PIPELINE, "by: [1, 2]", "by: [0.5, 1.0]\n      name: [none, '007', 'a,b', \"it's\"]")


@pytest.fixture
def profiled(tmp_path):
    """A folder, and results of it in which no two figures are equal."""
    folder = write_toy(tmp_path / "toy", KINDS)
    pipeline = load_pipeline(folder)
    configurations = tuple(pipeline.configurations())
    prefixes = prefixes_of(pipeline, configurations)

    def figure(at, content, sample, place):
        cpu_ms = 1.0 + at + 10.0 * place + 0.125 * sample + (content == "many") * 1000.0
        return OperatorFigure(cpu_ms=cpu_ms, wall_ms=cpu_ms, output_bytes=100 * (1 + place) + at, fingerprint=0)

    lines = [
        SampleLine(
            content=content,
            sample=sample,
            source_bytes=5000 + (content == "many"),
            scores=tuple((at + sample) / (len(configurations) + 1) for at in range(len(configurations))),
            tallies=({},) * len(configurations),
            figures={
                name: tuple(figure(at, content, sample, place) for place in range(1 + max(numbers)))
                for at, (name, numbers) in enumerate(prefixes.items())
            },
        )
        for content in ("few", "many")
        for sample in range(2)
    ]
    header = Header(
        pipeline_id=pipeline.id,
        bundle_digest="",
        machine={"cores": "3"},
        measured_on="2030-01-01",
        configurations=configurations,
        operators=tuple(operator.id for operator in pipeline.operators),
        prefixes=prefixes,
        contents={name: ContentHeader(digest="", samples=2, clip=2, seed=1, warmup=1) for name in ("few", "many")},
    )
    memory = {
        name: tuple(10**6 * (1 + place) for place in range(1 + max(numbers))) for name, numbers in prefixes.items()
    }
    results = Results(header=header, lines=lines, memory_bytes=memory)
    return folder, pipeline, results, summarise(results)


def test_the_planner_reads_the_figures_that_were_measured(profiled, tmp_path):
    folder, pipeline, results, summaries = profiled
    write_offline(tmp_path / "out", folder, pipeline, results, summaries)
    fleet = tmp_path / "out" / "fleet.yaml"
    # Memory is counted where a machine has a figure for it.
    fleet.write_text(fleet.read_text().replace("price_per_h: 1.0", "price_per_h: 1.0, memory_gb: 8"))
    assembly = assemble(read_folder(tmp_path / "out"))
    assert assembly.unused_rows == ()
    (machine,) = assembly.problem.machines
    assert (machine.id, machine.cores) == (MACHINE, 3.0)
    for query, summary in zip(assembly.problem.queries, summaries, strict=True):
        assert query.id == summary.content
        rows = {json.dumps(row.configuration, sort_keys=True): row for row in summary.rows}
        assert len(query.candidates) == len(rows) == 16
        for candidate in query.candidates:
            row = rows[json.dumps(candidate.configuration, sort_keys=True)]
            read = candidate.accuracy
            assert [read.value, read.low, read.high] == pytest.approx(
                [row.accuracy.value, row.accuracy.low, row.accuracy.high], rel=1e-5
            )
            assert candidate.source_bytes == row.source_bytes
            for step, operator, place in zip(candidate.steps, row.operators, places_of(results, row), strict=True):
                assert (step.operator_id, step.output_bytes) == (operator.operator_id, operator.output_bytes)
                assert step.single is (operator.operator_id == "total")
                by_cores = {option.cores: option for option in step.options}
                assert tuple(sorted(by_cores)) == CORE_SHARES
                for cores, option in by_cores.items():
                    assert option.service.mean_ms == pytest.approx(operator.cpu_ms / cores, rel=1e-5)
                    assert option.service.variance_ms2 == pytest.approx((operator.deviation_ms / cores) ** 2, rel=1e-4)
                    assert option.memory_bytes == results.memory_bytes[operator.operator_id][place]


def places_of(results, row):
    at = results.header.configurations.index(row.configuration)
    return [results.header.prefixes[name][at] for name in results.header.operators]


@pytest.mark.slow
def test_the_queries_to_begin_with_can_be_served(profiled, tmp_path, capsys):
    folder, pipeline, results, summaries = profiled
    # Of few samples the intervals are wide; a bound of nothing would say nothing.
    narrow = [replace(summary, rows=tuple(map(narrowed, summary.rows))) for summary in summaries]
    write_offline(tmp_path / "out", folder, pipeline, results, narrow)
    report = tmp_path / "report.json"
    assert main(["plan", "--offline", str(tmp_path / "out"), "-o", "json", "--report", str(report)]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [plan["query"] for plan in answer["plans"]] == ["few", "many"]
    for plan, summary in zip(answer["plans"], narrow, strict=True):
        best = summary.rows[summary.best].accuracy.value
        assert plan["accuracy"]["value"] >= best - 0.06
    assert json.loads(report.read_text())["unused_service_rows"] == 0


def narrowed(row):
    value = row.accuracy.value
    return replace(row, accuracy=Interval(value=value, low=max(0.0, value - 0.001), high=min(1.0, value + 0.001)))


def test_what_takes_no_time_that_can_be_measured_is_no_endless_throughput(profiled, tmp_path):
    folder, pipeline, results, _ = profiled
    for line in results.lines:
        for name, figures in line.figures.items():
            line.figures[name] = tuple(replace(figure, cpu_ms=0.0, output_bytes=0) for figure in figures)
    write_offline(tmp_path / "out", folder, pipeline, results, summarise(results))
    problem = assemble(read_folder(tmp_path / "out")).problem
    options = [o for query in problem.queries for c in query.candidates for step in c.steps for o in step.options]
    assert {option.service.mean_ms for option in options} == {0.001, 0.002, 0.004}
    assert all(query.rate_per_s > 0.0 for query in problem.queries)
