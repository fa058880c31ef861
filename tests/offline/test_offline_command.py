"""The offline command: what it prints, its exit codes, its schemas, and that it is the same each time."""

from __future__ import annotations

import json
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
