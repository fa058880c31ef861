"""Answers and records held against their problems: what was printed is clean, what was changed is found."""

from __future__ import annotations

import copy
import json
from functools import cache

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from offline_docs import blocks, write_case

from circinus.errors import InvalidInput
from cloud_planner.core.select import select
from cloud_planner.offline.answer import document, to_json
from cloud_planner.offline.answer_reading import read_answer
from cloud_planner.offline.assemble import assemble
from cloud_planner.offline.audited import checked, run
from cloud_planner.offline.command import run as plan
from cloud_planner.offline.folder import read_folder
from cloud_planner.record import Record, dump_record, load_record
from cloud_planner.solver import ThoroughSolver

pytestmark = pytest.mark.slow

CASES = sorted(blocks("file"))
#: Told for people; nothing follows from it.
FREE = {"runner_up_cost_per_h"}
INTEGERS = {"replicas", "batch", "machines", "accelerator_slots", "version"}


@pytest.fixture(scope="session")
def answers(tmp_path_factory):
    """By case: its folder's problem and its answer as it is printed."""

    @cache
    def of(case):
        assembly = assemble(read_folder(write_case(case, tmp_path_factory.mktemp(case))))
        selection = select(assembly.problem, ThoroughSolver()).selection
        return assembly, json.loads(to_json(document(selection, assembly))), selection

    return of


def found(answer, assembly):
    selection, said = read_answer(answer, assembly)
    return (*said, *checked(assembly.problem, selection))


def leaves(value, path=()):
    """The places of all numbers of a document."""
    if isinstance(value, dict):
        for name, entry in value.items():
            yield from leaves(entry, (*path, name))
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from leaves(entry, (*path, number))
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and path[-1] not in FREE:
        yield path


def changed(answer, path, change):
    made = copy.deepcopy(answer)
    at = made
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = change(at[path[-1]])
    return made


@pytest.mark.parametrize("case", CASES)
def test_what_was_printed_is_clean(case, answers):
    assembly, answer, selection = answers(case)
    assert found(answer, assembly) == ()
    again, _ = read_answer(answer, assembly)
    assert [plan.operators for plan in again.plans] == [
        plan.operators for plan in sorted(selection.plans, key=lambda plan: plan.query_id)
    ] or len({op.share_ratio for plan in selection.plans for op in plan.operators}) > 1


@pytest.mark.parametrize("case", CASES)
def test_each_figure_that_is_changed_is_found(case, answers):
    assembly, answer, _ = answers(case)
    missed = []
    for path in leaves(answer):
        for change in (up,) if path[-1] in INTEGERS else (raised, lowered):
            made = changed(answer, path, change)
            try:
                if not found(made, assembly):
                    missed.append((path, value_at(made, path)))
            except InvalidInput:
                continue
    assert missed == []


def up(value):
    return value + 1


def raised(value):
    return value * 1.01 + 0.01


def lowered(value):
    return value * 0.97 - 0.001


def value_at(answer, path):
    for name in path:
        answer = answer[name]
    return answer


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_change_of_what_is_planned_is_found(answers, data):
    """Machines, operators, whole plans and configurations, not only figures."""
    assembly, answer, _ = answers(data.draw(st.sampled_from(CASES)))
    made = copy.deepcopy(answer)
    plan = made["plans"][data.draw(st.integers(0, len(made["plans"]) - 1))]
    part = plan["operators"][data.draw(st.integers(0, len(plan["operators"]) - 1))]
    kind = data.draw(
        st.sampled_from(["machine", "operator", "drop", "double", "lose", "knob", "query", "place", "reason"])
    )
    match kind:
        case "machine":
            others = [m.id for m in assembly.problem.machines if m.id != part["machine"]]
            part["machine"] = data.draw(st.sampled_from([*others, "nowhere"]))
        case "operator":
            part["operator"] = data.draw(st.sampled_from(["other", *(p["operator"] + "2" for p in plan["operators"])]))
        case "drop":
            plan["operators"].remove(part)
        case "double":
            plan["operators"].append(part)
        case "lose":
            made["plans"].remove(plan)
        case "knob":
            name = data.draw(st.sampled_from(sorted(plan["configuration"])))
            plan["configuration"][name] = data.draw(st.sampled_from(["odd", -1, True]))
        case "query":
            plan["query"] = "somebody"
        case "place":
            made["unplaced"].append({"query": plan["query"], "reason": "no room"})
        case "reason":
            made["machines"].pop()
    assert found(made, assembly)


@pytest.mark.parametrize("case", CASES)
def test_a_record_is_clean_and_its_changes_are_found(case, answers):
    assembly, _, selection = answers(case)
    text = dump_record(Record(problem=assembly.problem, selection=selection))
    record = load_record(text)
    assert record == Record(problem=assembly.problem, selection=selection)
    assert checked(record.problem, record.selection) == ()
    whole = json.loads(text)
    missed = []
    for path in leaves(whole["selection"]):
        if path[-1] in ("provisional_per_s", "$ref"):
            continue
        integer = isinstance(value_at(whole["selection"], path), int)
        made = changed(whole["selection"], path, up if integer else raised)
        changed_record = load_record(json.dumps({**whole, "selection": made}))
        if not checked(changed_record.problem, changed_record.selection):
            missed.append(path)
    assert missed == []


def test_the_command_tells_findings_by_its_exit_code(tmp_path, capsys):
    folder = write_case("first", tmp_path)
    plan(folder, report=tmp_path / "report.txt", output="json", record=tmp_path / "record.circinus")
    answer = tmp_path / "answer.json"
    answer.write_text(capsys.readouterr().out)
    assert run(answer) == 0
    assert capsys.readouterr().out == "clean: 1 plans on 2 machines, 1 of 2 queries unplaced\n"
    assert run(tmp_path / "record.circinus", output="json") == 0
    assert json.loads(capsys.readouterr().out)["clean"] is True
    answer.write_text(answer.read_text().replace('"replicas": 1', '"replicas": 2'))
    assert run(answer, against=folder) == 3
    told = capsys.readouterr().out
    assert "camera" in told
    assert told.splitlines()[-1].startswith(f"{len(told.splitlines()) - 1} findings: ")
    assert run(answer, output="yaml") == 3
    assert capsys.readouterr().out.startswith("clean: false\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "must be keys with values"),
        ("[1, 2]", "must be keys with values"),
        ("{", "not valid JSON"),
        ('{"version": 1, "version": 1}', "'version' is given twice"),
        ('{"plans": []}', "'objective' is missing"),
        ('{"circinus_record": 1}', "problem: is missing"),
        ('{"circinus_record": 7, "problem": {}, "selection": {}}', "reads version 1"),
        ('{"problem": {"machines": 3}, "selection": {}}', "problem.machines: 3 must be a list"),
        ("[" * 100_000, "nest"),
        ("{" + '"a":{' * 100_000, "nested"),
        ("a: [", "not valid YAML"),
        ("\ud800", "UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_ends_with_2_and_says_where(text, told, tmp_path, capsys):
    write_case("first", tmp_path)
    file = tmp_path / "answer.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    assert run(file, output="json", error_document=True) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert told in json.dumps(error)
    assert error["exit_code"] == 2


def test_a_record_needs_no_folder_and_takes_none(tmp_path, capsys):
    folder = write_case("first", tmp_path)
    plan(folder, report=tmp_path / "report.txt", record=tmp_path / "r")
    assert run(tmp_path / "r", against=folder) == 2
    assert "leave --against out" in capsys.readouterr().err
    assert run(tmp_path / "missing") == 2
    assert "No such file" in capsys.readouterr().err
