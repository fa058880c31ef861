"""The offline command: what it prints, its exit codes, its schemas, and that it is the same each time."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from offline_docs import blocks, write_case

from cloud_planner.offline.answer import number
from cloud_planner.offline.command import main, run, schema

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "offline"


def answer_of(folder: Path, capsys: pytest.CaptureFixture[str]) -> dict:
    run(folder, report=folder / "report.txt" if folder != EXAMPLE else None)
    return json.loads(capsys.readouterr().out)


@pytest.mark.slow
def test_the_example_gives_a_selection_and_says_that_a_query_is_unplaced(capsys, tmp_path):
    report = tmp_path / "report.json"
    assert run(EXAMPLE, report=report, output="json") == 3
    printed = capsys.readouterr()
    answer = json.loads(printed.out)
    assert [plan["query"] for plan in answer["plans"]] == ["archive", "desk", "gate", "yard"]
    assert [entry["query"] for entry in answer["unplaced"]] == ["vault"]
    assert "0.98" in answer["unplaced"][0]["reason"]
    assert (answer["gap_ratio"], answer["cost_gap_ratio"]) == (0.0, 0.0)
    assert printed.err == ""
    assert json.loads(report.read_text())["candidates"] == 20


@pytest.mark.slow
def test_answers_are_as_their_schema_says(capsys, tmp_path):
    validator = jsonschema.Draft202012Validator(json.loads(schema("selection")))
    validator.validate(answer_of(EXAMPLE, capsys))
    for case in blocks("file"):
        (tmp_path / case).mkdir()
        validator.validate(answer_of(write_case(case, tmp_path / case), capsys))


def test_files_of_the_example_and_the_docs_are_as_their_schema_says():
    whole = json.loads(schema("problem"))
    jsonschema.Draft202012Validator.check_schema(whole)
    validator = jsonschema.Draft202012Validator(whole)
    for path in EXAMPLE.glob("*.yaml"):
        validator.validate(yaml.safe_load(path.read_text()))
    for path in EXAMPLE.glob("pipelines/*.yaml"):
        validator.validate({"pipelines": [yaml.safe_load(path.read_text())]})
    for files in blocks("file").values():
        validator.validate(yaml.safe_load(files["problem.yaml"]))


@pytest.mark.slow
@pytest.mark.parametrize("case", sorted(blocks("output")))
def test_the_docs_show_what_is_printed(case, tmp_path, capsys):
    write_case(case, tmp_path)
    for output, text in blocks("output")[case].items():
        run(tmp_path, report=tmp_path / "report.txt", output=output)
        assert capsys.readouterr().out == text


@pytest.mark.slow
@pytest.mark.system
def test_processes_print_the_same_bytes_each_time():
    command = [sys.executable, "-m", "cloud_planner.offline", str(EXAMPLE)]
    first, second = (
        subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env={"PYTHONHASHSEED": seed})
        for seed in ("1", "2")
    )
    assert first.returncode == second.returncode == 3
    assert first.stdout == second.stdout
    assert first.stdout.endswith(b"}\n")
    assert json.loads(first.stderr)["queries"] == 5


@pytest.mark.slow
def test_yaml_has_the_same_values_as_json(capsys):
    run(EXAMPLE, output="json")
    as_json = json.loads(capsys.readouterr().out)
    run(EXAMPLE, output="yaml")
    assert yaml.safe_load(capsys.readouterr().out) == as_json


def test_wrong_files_are_told_on_standard_error_alone(tmp_path, capsys):
    (tmp_path / "problem.yaml").write_text("machines: [{id: a, tier: edge, core: 3}]\n")
    assert run(tmp_path, report=None, output="json") == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "problem.yaml:1: machine a: unknown key 'core'; did you mean 'cores'?" in printed.err.splitlines()


def test_wrong_files_are_one_document_where_that_is_asked_for(tmp_path, capsys):
    (tmp_path / "problem.yaml").write_text("machines: [{id: a, tier: edge, core: 3}]\n")
    assert main([str(tmp_path), "-o", "json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["exit_code"] == 2
    assert "problem.yaml:1" in [violation["field"] for violation in error["violations"]]
    assert main([str(tmp_path / "nowhere"), "-o", "json"]) == 2
    assert "is no folder" in json.loads(capsys.readouterr().out)["error"]["message"]
    assert main([str(tmp_path)]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.slow
def test_many_queries_that_contend_for_few_machines_are_proven_best(tmp_path, capsys):
    """20 queries, 6 machine types, cores for all but only just: CBC alone leaves a gap."""
    chance = random.Random(2)
    machines = [
        {"id": f"m{number}", "tier": "cloud", "cores": 3, "price_per_h": round(chance.uniform(0.1, 0.5), 2)}
        for number in range(6)
    ]
    sizes = {1: 0.25, 5: 0.45, 10: 0.8, 30: 1.6}
    problem = {
        "machines": machines,
        "pipelines": [
            {"pipeline": "p", "operators": [{"id": "a", "inputs": ["source"], "knobs": {"size": list(sizes)}}]}
        ],
        "service": [
            {"operator": "a", "knobs": {"size": size}, "cores": cores, "throughput_per_s": 1}
            for size, cores in sizes.items()
        ],
        "accuracy": [{"knobs": {"size": size}, "accuracy": 50 + size} for size in sizes],
        "queries": [
            {
                "id": f"q{number:02}",
                "rate_per_s": 1,
                "weight": chance.randint(1, 9),
                "slo": {"accuracy": chance.choice([51, 55, 60, 60, 80])},
            }
            for number in range(20)
        ],
    }
    (tmp_path / "problem.json").write_text(json.dumps(problem))
    answer = answer_of(tmp_path, capsys)
    assert answer["plans"]
    assert (answer["gap_ratio"], answer["cost_gap_ratio"]) == (0.0, 0.0)


@pytest.mark.slow
def test_a_divided_query_alone_is_not_said_to_lose_against_others(tmp_path, capsys):
    problem = {
        "settings": {"splittable": True, "objective": "cost"},
        "machines": [
            {"id": "a", "tier": "edge", "exclusive": True, "billing": "whole", "count": 2},
            {"id": "b", "tier": "edge", "exclusive": True, "billing": "whole", "count": 1},
        ],
        "links": [{"from": "a", "to": "b", "both_ways": True}],
        "pipelines": [
            {"pipeline": "p", "operators": [{"id": "x", "inputs": ["source"]}, {"id": "y", "inputs": ["x"]}]}
        ],
        "service": [{"operator": "x", "throughput_per_s": 4}, {"operator": "y", "throughput_per_s": 2}],
        "queries": [{"id": "q", "rate_per_s": 7}],
    }
    reasons = []
    for rate in (7, 4):
        problem["queries"][0]["rate_per_s"] = rate
        (tmp_path / "problem.json").write_text(json.dumps(problem))
        answer = answer_of(tmp_path, capsys)
        reasons += [entry["reason"] for entry in answer["unplaced"]]
    assert reasons == [
        "no capacity for it even alone: operator y has 7 items/s, of which all machines that can run it do 6 at most"
    ]
    problem["queries"][0]["rate_per_s"] = 5
    (tmp_path / "problem.json").write_text(json.dumps(problem))
    (unplaced,) = answer_of(tmp_path, capsys)["unplaced"]
    assert unplaced["reason"] == (
        "no capacity for it even alone: its operators together take more than machines and links have"
    )


def test_a_folder_that_is_not_there_is_a_bad_file(tmp_path, capsys):
    assert main([str(tmp_path / "nowhere")]) == 2
    assert "is no folder" in capsys.readouterr().err


@pytest.mark.slow
def test_a_report_that_cannot_be_written_fails(tmp_path, capsys):
    assert run(EXAMPLE, report=tmp_path / "no" / "report.json") == 1
    assert "error:" in capsys.readouterr().err


def test_the_schemas_can_be_printed(capsys):
    assert main(["--schema", "problem"]) == 0
    assert "machines" in json.loads(capsys.readouterr().out)["properties"]


def test_numbers_have_nine_digits():
    assert number(1 / 3) == 0.333333333
    assert number(123456789012.0) == 123456789000.0
    assert str(number(-1e-15)) == "0.0"
    assert number(float("inf")) is None
    assert number(None) is None
