"""``circinus explain --offline``: what it prints, the keys of its document, how it ends."""

from __future__ import annotations

import json

import pytest
import yaml
from explain_docs import said, write_case
from test_offline_command import EXAMPLE

from circinus.cli.explain_table import fleet_text
from circinus.cli.main import main
from circinus.model.plan import MachineUse, Selection
from cloud_planner.core.marginal import marginal_values
from cloud_planner.core.problem import Machine, Problem
from cloud_planner.offline.explain_command import explain_offline
from cloud_planner.offline.explained import fleet_document


@pytest.mark.slow
@pytest.mark.parametrize("query", sorted(said()))
def test_the_docs_show_what_is_printed(query, tmp_path, capsys):
    assert explain_offline(write_case(tmp_path), query or None) == (0 if query == "gate" else 3)
    assert capsys.readouterr().out == said()[query]


@pytest.mark.slow
def test_a_placed_query_is_explained_by_bounds_and_rivals(capsys):
    assert main(["explain", "gate", "--offline", str(EXAMPLE), "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(told) == [
        "binding",
        "conflict",
        "exact",
        "margins",
        "placed",
        "plan",
        "query",
        "rivals",
        "version",
        "why",
    ]
    assert (told["query"], told["placed"], told["conflict"], told["exact"]) == ("gate", True, None, True)
    assert [margin["limit"]["kind"] for margin in told["margins"]] == ["latency", "accuracy"]
    assert all(margin["slack"] >= 0.0 for margin in told["margins"])
    assert told["rivals"] == sorted(told["rivals"], key=lambda rival: rival["adds_per_h"])
    assert {"adds_per_h", "change_ratio", "plan", "reason", "relaxation", "wins_if"} == set(told["rivals"][0])


@pytest.mark.slow
def test_an_unplaced_query_ends_with_3_and_tells_what_would_do(capsys):
    assert main(["explain", "vault", "--offline", str(EXAMPLE), "-o", "yaml"]) == 3
    told = yaml.safe_load(capsys.readouterr().out)
    conflict = told["conflict"]
    assert (told["plan"], conflict["alone"], conflict["displaces"]) == (None, False, [])
    assert [limit["text"] for limit in conflict["limits"]] == ["accuracy >= 0.98"]
    (move,) = conflict["relaxations"]
    assert (move["text"], move["bound"], move["amount"]) == ("accuracy 0.96", 0.96, 0.02)


@pytest.mark.slow
def test_of_the_fleet_it_tells_what_is_full_and_why_queries_have_no_plan(capsys):
    assert main(["explain", "--offline", str(EXAMPLE), "-o", "json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["placed"], told["unplaced"]) == (4, 1)
    assert told["machines"][0] == {"machine": "camera", "used_ratio": 1.0}
    assert [each["relaxations"] for each in told["conflicts"]] == [["accuracy 0.96"]]


def test_wrong_files_and_unknown_queries_end_with_2(tmp_path, capsys):
    assert main(["explain", "gaet", "--offline", str(EXAMPLE)]) == 2
    assert "there is no query 'gaet'; did you mean 'gate'?" in capsys.readouterr().err
    (tmp_path / "problem.yaml").write_text("machines: [{id: a, tier: edge, core: 3}]\n")
    assert main(["explain", "q", "--offline", str(tmp_path), "-o", "json"]) == 2
    printed = capsys.readouterr()
    assert "problem.yaml:1: machine a: unknown key 'core'; did you mean 'cores'?" in printed.err.splitlines()
    assert json.loads(printed.out)["error"]["exit_code"] == 2


def test_what_one_more_is_worth_is_told_where_it_is_known():
    gateway = Machine(id="gw", tier="edge", site="north", cores=4.0, memory_bytes=0)
    posed = Problem(machines=(gateway,), wires=(), queries=())
    selection = Selection(
        plans=(),
        unplaced=(),
        machines=(MachineUse(device_id="gw", machines=1, cores=4.0, cost_per_h=0.0),),
        traffic_cost_per_h=0.0,
        goodput_per_s=8.0,
        goodput_bound_per_s=9.0,
        gap_ratio=1 / 9,
        cost_per_h=0.0,
        cost_bound_per_h=0.0,
        cost_gap_ratio=0.0,
        solver_status="optimal",
    )
    values = marginal_values(posed, {("cores", "gw"): 2.0}, degenerate=[("cores", "gw")])
    told = fleet_document(posed, selection, (), values)
    assert [(each["kind"], each["site"], each["value"]) for each in told["marginal_values"]] == [
        ("core", "north", 0.5),
        ("machine", "north", 2.0),
    ]
    assert fleet_text(told) == (
        "goodput: 8/s of at most 9/s; 0 placed, 0 not\n"
        "full: gw (100%)\n"
        "\n"
        "ONE MORE         IS WORTH\n"
        "core on gw       0.5 per s of goodput (degenerate)\n"
        "machine like gw  2 per s of goodput (degenerate)\n"
    )
