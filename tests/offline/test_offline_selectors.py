"""Labels and selectors from files."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from circinus.errors import InvalidInput
from cloud_planner.core.relax import conflict, relaxed
from cloud_planner.core.relax_limits import LimitKind
from cloud_planner.core.select import select
from cloud_planner.offline.assemble import assemble
from cloud_planner.offline.command import run, schema
from cloud_planner.offline.folder import read_folder
from cloud_planner.solver import CbcSolver

CASE = """\
machines:
  - {id: cam, tier: edge, site: yard, cores: 8}
  - {id: box, tier: edge, site: yard, cores: 8, price_per_h: 2, labels: {gpu: "", zone: a}, accelerators: cuda}
  - {id: vm, tier: cloud, site: far, cores: 8, price_per_h: 1, labels: {zone: b}}
links:
  - {from: cam, to: [box, vm], both_ways: true, rtt_ms: 4}
  - {from: box, to: vm, both_ways: true, rtt_ms: 4}
pipelines:
  - pipeline: p
    operators:
      - {id: grab, inputs: [source], pinned: source}
      - {id: find, inputs: [grab]}
service:
  - {operator: grab, cores: 0.5, latency_ms: 5}
  - {operator: find, cores: 0.5, latency_ms: 20}
queries:
"""
QUERY = "  - {{id: {id}, source: cam, rate_per_s: 1, selector: '{selector}'}}\n"


def write(folder: Path, **selectors: str) -> Path:
    text = CASE + "".join(QUERY.format(id=name, selector=selector) for name, selector in selectors.items())
    (folder / "problem.yaml").write_text(text)
    return folder


def answer(folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, object]]:
    code = run(folder, output="json")
    return code, json.loads(capsys.readouterr().out)


def places(found: dict[str, object], query: str) -> dict[str, str]:
    (plan,) = [one for one in found["plans"] if one["query"] == query]
    return {one["operator"]: one["machine"] for one in plan["operators"]}


def test_operators_run_where_the_selector_says_and_pinned_ones_at_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = {
        "any": "",
        "gpu": "gpu",
        "cuda": "accelerator=cuda",
        "far": "site!=yard",
        "zone": "zone in (a, c)",
        "cloud": "tier=cloud,!gpu",
    }
    code, found = answer(write(tmp_path, **cases), capsys)
    assert code == 0
    assert {name: places(found, name)["find"] for name in cases} == {
        "any": "cam",
        "gpu": "box",
        "cuda": "box",
        "far": "vm",
        "zone": "box",
        "cloud": "vm",
    }
    assert {places(found, name)["grab"] for name in cases} == {"cam"}


def test_a_selector_that_leaves_nothing_is_named_with_what_it_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found = answer(write(tmp_path, q="tpu"), capsys)
    assert code == 3
    (unplaced,) = found["unplaced"]
    assert (
        "its selector 'tpu' leaves out every device that could run operator find (box, cam, vm)" in unplaced["reason"]
    )


def test_files_with_labels_are_as_the_schema_says(tmp_path: Path) -> None:
    folder = write(tmp_path, q="gpu")
    jsonschema.validate(yaml.safe_load((folder / "problem.yaml").read_text()), json.loads(schema("problem")))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("zone: a}", "site: a}", "'site' is what a device has by itself"),
        ("zone: a}", "'two words': a}", "'two words' is no label"),
        ("zone: a}", "zone: two words}", "is no value of a label"),
        ("'gpu'", "'gpu,,x'", "character 5: ',' stands where a label should"),
    ],
)
def test_what_is_no_label_or_selector_is_told_with_its_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = write(tmp_path, q="gpu") / "problem.yaml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(InvalidInput) as raised:
        assemble(read_folder(tmp_path))
    (violation,) = raised.value.violations
    assert said in violation.message
    assert violation.field.startswith("problem.yaml:")


def test_what_a_selector_keeps_from_a_plan_is_explained_with_what_would_do(tmp_path: Path) -> None:
    problem = assemble(read_folder(write(tmp_path, none="tpu", far="site!=yard,!zone"))).problem
    selection = select(problem, CbcSolver()).selection
    for name, text in (("none", "tpu"), ("far", "site!=yard,!zone")):
        found = conflict(problem, selection, name)
        assert [limit.text for limit in found.limits] == [f"selector {text!r}"]
        assert [move.text for move in found.relaxations] == [f"drop its selector {text!r}"]
        free = relaxed(problem, name, found.relaxations[0])
        assert name in {plan.query_id for plan in select(free, CbcSolver()).selection.plans}


def test_a_selector_and_a_bound_that_are_too_much_together_are_both_named(tmp_path: Path) -> None:
    folder = write(tmp_path, q="zone=b")
    path = folder / "problem.yaml"
    path.write_text(path.read_text().replace("rate_per_s: 1,", "rate_per_s: 1, slo: {latency_ms: 26},"))
    problem = assemble(read_folder(folder)).problem
    selection = select(problem, CbcSolver()).selection
    (unplaced,) = selection.unplaced
    assert "by its selector 'zone=b' it may use cam, vm only" in unplaced.reason
    found = conflict(problem, selection, "q")
    moves = {move.limit.kind: move.text for move in found.relaxations}
    assert moves[LimitKind.SELECTOR] == "drop its selector 'zone=b'"
    assert LimitKind.LATENCY in moves
