"""Uplinks, a budget, cordons, data that stays and queries that stay apart, from files."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from circinus.errors import InvalidInput
from cloud_planner.core.problem import Sharing
from cloud_planner.offline.assemble import assemble
from cloud_planner.offline.command import run, schema
from cloud_planner.offline.folder import read_folder

CASE = """\
settings: {budget_per_h: 2.5, sharing: process}
machines:
  - {id: left, tier: edge, site: yard, price_per_h: 0.1}
  - {id: right, tier: edge, site: yard, price_per_h: 0.1, cordoned: true}
  - {id: vm, tier: cloud, site: far, cores: 8, price_per_h: 1}
links:
  - {from: [left, right], to: vm, both_ways: true, rtt_ms: 4}
  - {from: left, to: right, both_ways: true}
uplinks:
  - {site: yard, up_mbit_per_s: 1, down_mbit_per_s: 4}
  - {id: wan, from: left, to: vm, up_mbit_per_s: 0.5}
pipelines:
  - pipeline: p
    source_kb: 5
    operators:
      - {id: find, inputs: [{from: source, data: site}], knobs: {size: [1, 2]}}
      - {id: name, inputs: [find, source]}
service:
  - {operator: find, cores: 0.5, latency_ms: 20}
  - {operator: name, cores: 1, latency_ms: 10}
queries:
  - {id: q, source: left, rate_per_s: 3, stream: gate}
  - {id: spare, source: left, rate_per_s: 3, stream: gate, apart_from: q}
"""


def write(folder: Path, text: str) -> Path:
    (folder / "problem.yaml").write_text(text)
    return folder


def faults(folder: Path, text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        assemble(read_folder(write(folder, text)))
    return [str(violation) for violation in caught.value.violations]


def test_all_limits_are_read(tmp_path):
    made = assemble(read_folder(write(tmp_path, CASE))).problem
    assert [(up.id, up.bandwidth_bit_per_s, set(up.wires)) for up in made.uplinks] == [
        ("yard/up", 1e6, {("left", "vm"), ("right", "vm")}),
        ("yard/down", 4e6, {("vm", "left"), ("vm", "right")}),
        ("wan/up", 5e5, {("left", "vm")}),
    ]
    assert (made.budget_per_h, made.sharing) == (2.5, Sharing.PROCESS)
    assert [each.id for each in made.machines if each.cordoned] == ["right"]
    q, spare = made.queries
    assert (q.stream, q.apart_from, spare.apart_from) == ("gate", frozenset(), {"q"})
    find, name = q.candidates[0].steps
    assert (find.site_inputs, name.site_inputs) == ({"source"}, frozenset())
    assert (find.inputs, name.inputs) == (("source",), ("find", "source"))


def test_operators_with_the_same_own_knobs_have_the_same_share_key(tmp_path):
    q, spare = assemble(read_folder(write(tmp_path, CASE))).problem.queries
    keys = [[step.share_key for step in candidate.steps] for candidate in q.candidates]
    assert keys == [['p/find {"size":1}', "p/name {}"], ['p/find {"size":2}', "p/name {}"]]
    assert [[step.share_key for step in candidate.steps] for candidate in spare.candidates] == keys
    alone = CASE.replace(", sharing: process", "")
    steps = assemble(read_folder(write(tmp_path, alone))).problem.queries[0].candidates[0].steps
    assert [step.share_key for step in steps] == ["", ""]


def test_files_with_limits_are_as_the_schema_says():
    validator = jsonschema.Draft202012Validator(json.loads(schema("problem")))
    validator.validate(yaml.safe_load(CASE))


@pytest.mark.slow
def test_what_no_plan_can_keep_is_said(tmp_path, capsys):
    assert run(write(tmp_path, CASE)) == 3
    answer = json.loads(capsys.readouterr().out)
    (plan,) = answer["plans"]
    assert {part["machine"] for part in plan["operators"] if part["operator"] == "find"} == {"left"}
    (unplaced,) = answer["unplaced"]
    assert unplaced["reason"].endswith("cordoned and so left out: right")


def test_what_is_wrong_with_limits_is_said_with_its_line(tmp_path):
    assert faults(tmp_path, CASE.replace("site: yard, up", "site: yart, up")) == [
        "problem.yaml:10: uplink yart: unknown site 'yart'; did you mean 'yard'?"
    ]
    assert faults(tmp_path, CASE.replace("from: left, to: vm, up_mbit_per_s: 0.5", "from: left, to: wm")) == [
        "problem.yaml:11: uplink wan: give up_mbit_per_s, down_mbit_per_s or both",
        "problem.yaml:11: uplink wan: unknown machine 'wm'; known: left, right, vm",
    ]
    assert faults(tmp_path, CASE.replace("id: wan, from: left", "id: wan, site: yard, from: left")) == [
        "problem.yaml:11: uplink wan: give 'site', or 'from' and 'to'"
    ]
    assert faults(tmp_path, CASE.replace("data: site", "data: sight")) == [
        "problem.yaml:16: operator find: input: data is 'sight', but must be 'site'"
    ]
    assert faults(tmp_path, CASE.replace("apart_from: q", "apart_from: [r, spare]")) == [
        "problem.yaml:23: query spare: apart_from: it can't stay apart from itself",
        "problem.yaml:23: query spare: apart_from: unknown query 'r'; known: q",
    ]
