"""What is read from a folder, and what is said of folders that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from circinus.errors import InvalidInput
from cloud_planner.core.problem import Billing, Objective, Problem, Waiting
from cloud_planner.offline.assemble import assemble
from cloud_planner.offline.folder import read_folder

CASE = """\
machines:
  - {id: box, tier: edge, class: arm, cores: 4}
  - {id: vm, tier: cloud, cores: 8, memory_gb: 16, price_per_h: 0.5, billing: whole, count: unlimited, exclusive: true}
links:
  - {from: box, to: vm, bandwidth_mbit_per_s: 10, rtt_ms: 20, price_per_gb: 0.1}
pipelines:
  - pipeline: p
    source_kb: 5
    operators:
      - {id: find, inputs: [source], knobs: {size: [0.5, 1]}, output_bytes: 700}
      - {id: name, inputs: [find], knobs: {model: [small, large]}}
service:
  - {operator: find, cores: 1, latency_ms: 20}
  - {operator: name, knobs: {model: small}, cores: 1, latency_ms: 10}
  - {operator: name, knobs: {model: large}, cores: 1, latency_ms: 40}
queries:
  - {id: q, source: box, rate_per_s: 3}
"""


def folder(tmp_path: Path, **files: str) -> Path:
    """A folder with these files; ``a__csv`` is a.csv."""
    for name, text in files.items():
        path = tmp_path / name.replace("__", ".").replace("_SLASH_", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def problem(tmp_path: Path, **files: str) -> Problem:
    return assemble(read_folder(folder(tmp_path, **files))).problem


def faults(tmp_path: Path, **files: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        assemble(read_folder(folder(tmp_path, **files)))
    return [str(violation) for violation in caught.value.violations]


def test_a_case_becomes_a_problem(tmp_path):
    made = problem(tmp_path, problem__yaml=CASE)
    assert (made.objective, made.waiting, made.replica_utilization_cap) == (Objective.GOODPUT, Waiting.NONE, 1.0)
    box, vm = made.machines
    assert (box.cores, box.memory_bytes, box.count, box.billing) == (4.0, 0, 1, Billing.SHARE)
    assert (vm.memory_bytes, vm.count, vm.billing, vm.exclusive) == (16_000_000_000, None, Billing.WHOLE, True)
    (wire,) = made.wires
    assert (wire.source, wire.target, wire.bandwidth_bit_per_s, wire.rtt_ms) == ("box", "vm", 1e7, 20.0)
    (query,) = made.queries
    assert [dict(candidate.configuration) for candidate in query.candidates] == [
        {"find.size": size, "name.model": model} for size in (0.5, 1) for model in ("small", "large")
    ]
    first = query.candidates[0]
    assert (first.source_bytes, first.outputs) == (5000.0, ("name",))
    assert [step.output_bytes for step in first.steps] == [700.0, 0.0]
    assert [(option.machine, option.capacity_per_s) for option in first.steps[1].options] == [("box", 100), ("vm", 100)]


def test_the_same_case_reads_the_same_from_one_file_many_files_and_json(tmp_path):
    import json

    import yaml

    sections = yaml.safe_load(CASE)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "c").mkdir()
    whole = problem(tmp_path / "a", problem__yaml=CASE)
    as_json = problem(tmp_path / "b", problem__json=json.dumps(sections, indent="\t"))
    split = problem(
        tmp_path / "c",
        fleet__yaml=yaml.safe_dump({"machines": sections["machines"], "links": sections["links"]}),
        pipelines_SLASH_p__yaml=yaml.safe_dump(sections["pipelines"][0], sort_keys=False),
        service__csv=("operator,model,cores,latency_ms\n# a remark\nfind,,1,20\n\nname,small,1,10\nname,large,1,40\n"),
        queries__yaml=yaml.safe_dump({"queries": sections["queries"]}),
    )
    assert whole == as_json == split


def test_throughput_and_latency_give_each_other(tmp_path):
    rows = "operator,cores,batch,latency_ms,throughput_per_s\nfind,1,4,80,\nfind,2,4,,100\nfind,3,4,50,70\nname,1,,5,\n"
    text = CASE[: CASE.index("service:")] + CASE[CASE.index("queries:") :]
    made = problem(tmp_path, problem__yaml=text, service__csv=rows)
    options = [option for option in made.queries[0].candidates[0].steps[0].options if option.machine == "box"]
    assert [(o.service.mean_ms, o.capacity_per_s, o.batch) for o in options] == [(80, 50, 4), (40, 100, 4), (50, 70, 4)]


def test_a_p95_gives_the_variance(tmp_path):
    made = problem(
        tmp_path, problem__yaml=CASE.replace("latency_ms: 20", "latency_ms: 20, latency_p95_ms: 36.448536269514722")
    )
    assert made.queries[0].candidates[0].steps[0].options[0].service.variance_ms2 == pytest.approx(100.0)


def test_the_row_that_names_more_is_used(tmp_path):
    rows = (
        "operator,size,machine,cores,latency_ms\n"
        "find,,,1,50\nfind,0.5,,1,40\nfind,,arm,1,30\nfind,0.50,arm,1,20\nname,,,1,5\n"
    )
    text = CASE[: CASE.index("service:")] + CASE[CASE.index("queries:") :]
    made = problem(tmp_path, problem__yaml=text, service__csv=rows)
    found = {
        (candidate.configuration["find.size"], option.machine): option.service.mean_ms
        for candidate in made.queries[0].candidates
        for option in candidate.steps[0].options
    }
    assert found == {(0.5, "box"): 20, (0.5, "vm"): 40, (1, "box"): 30, (1, "vm"): 50}


def test_two_rows_that_name_as_much_are_a_fault(tmp_path):
    text = CASE.replace("  - {operator: find,", "  - {operator: find, cores: 1, latency_ms: 21}\n  - {operator: find,")
    (fault,) = [fault for fault in faults(tmp_path, problem__yaml=text) if "box" in fault]
    assert fault == (
        "problem.yaml:14: operator find on box with 1 cores and batch 1 is also given at problem.yaml:13, "
        "and neither row names more than the other"
    )


def test_cores_that_are_left_out_are_all_of_the_machine(tmp_path):
    made = problem(tmp_path, problem__yaml=CASE.replace("{operator: find, cores: 1,", "{operator: find,"))
    assert [option.cores for option in made.queries[0].candidates[0].steps[0].options] == [4.0, 8.0]


def test_what_does_not_fit_into_one_machine_is_left_out_and_memory_counts_where_it_is_stated(tmp_path):
    text = CASE.replace("{operator: find, cores: 1,", "{operator: find, cores: 6, memory_mb: 100,")
    (option,) = problem(tmp_path, problem__yaml=text).queries[0].candidates[0].steps[0].options
    assert (option.machine, option.memory_bytes) == ("vm", 100_000_000)
    text = CASE.replace("{operator: find, cores: 1,", "{operator: find, cores: 1, memory_mb: 20000,")
    (option,) = problem(tmp_path, problem__yaml=text).queries[0].candidates[0].steps[0].options
    assert (option.machine, option.memory_bytes) == ("box", 0)


def test_an_operator_that_nothing_can_run_makes_its_queries_impossible(tmp_path):
    text = CASE.replace("{operator: find, cores: 1,", "{operator: find, cores: 60,")
    (query,) = problem(tmp_path, problem__yaml=text).queries
    assert query.candidates == ()
    assert query.impossible.startswith("no machine can run operator find")


@pytest.mark.parametrize(
    ("limit", "machines"),
    [
        ("allowed_tiers: [cloud]", ["vm"]),
        ("allowed_machines: arm", ["box"]),
        ("pinned: vm", ["vm"]),
        ("pinned: source", ["box"]),
    ],
)
def test_operators_run_only_where_they_may(tmp_path, limit, machines):
    made = problem(tmp_path, problem__yaml=CASE.replace("id: name,", f"id: name, {limit},"))
    assert [option.machine for option in made.queries[0].candidates[0].steps[1].options] == machines


def test_accuracy_by_configuration_lists_the_candidates(tmp_path):
    rows = "content,size,model,accuracy,accuracy_low\n,0.5,small,61.5,60\nnight,0.5,small,50,\nnight,1,large,70,\n"
    text = CASE + "  - {id: n, source: box, rate_per_s: 3, content: night}\n"
    day, night = problem(tmp_path, problem__yaml=text, accuracy__csv=rows).queries
    assert [(c.configuration["name.model"], c.accuracy.value, c.accuracy.low) for c in day.candidates] == [
        ("small", 61.5, 60.0)
    ]
    assert [(c.configuration["name.model"], c.accuracy.value) for c in night.candidates] == [
        ("small", 50),
        ("large", 70),
    ]


@pytest.mark.parametrize(("compose", "value"), [("product", 0.72), ("sum", 1.7), ("mean", 0.85), ("min", 0.8)])
def test_accuracy_is_composed_from_operators(tmp_path, compose, value):
    text = CASE.replace("source_kb: 5", f"source_kb: 5\n    compose_accuracy: {compose}")
    rows = "operator,model,size,accuracy\nfind,,,0.9\nname,small,,0.8\nname,large,,0.95\n"
    assembly = assemble(read_folder(folder(tmp_path, problem__yaml=text, accuracy__csv=rows)))
    assert assembly.problem.queries[0].candidates[0].accuracy.value == pytest.approx(value)
    assert assembly.is_ratio["q"] is (compose != "sum")


def test_output_bytes_follow_the_configuration(tmp_path):
    rows = "operator,find.size,output_kb\nfind,1,9\nsource,0.5,3\n"
    half, _, whole, _ = problem(tmp_path, problem__yaml=CASE, outputs__csv=rows).queries[0].candidates
    assert (half.source_bytes, half.steps[0].output_bytes) == (3000, 700)
    assert (whole.source_bytes, whole.steps[0].output_bytes) == (5000, 9000)


def test_links_are_written_out_for_lists_and_both_ways(tmp_path):
    text = CASE.replace("{from: box, to: vm,", "{from: [box, vm], to: [vm, box], both_ways: true,")
    made = problem(tmp_path, problem__yaml=text)
    assert {(wire.source, wire.target) for wire in made.wires} == {("box", "vm"), ("vm", "box")}


def test_an_alias_is_the_value_that_it_stands_for(tmp_path):
    text = CASE.replace("{model: small}", "&small {model: small}") + (
        "outputs:\n  - {operator: name, knobs: *small, output_bytes: 9}\n"
    )
    small, large, *_ = problem(tmp_path, problem__yaml=text).queries[0].candidates
    assert (small.steps[1].output_bytes, large.steps[1].output_bytes) == (9, 0)


def test_a_pipeline_file_of_the_live_system_is_read(tmp_path):
    live = Path(__file__).parents[2] / "examples" / "documents" / "pipeline.yaml"
    rows = "pipeline,operator,cores,latency_ms\n" + "".join(
        f"documents,{name},1,10\n" for name in ("rectify", "encode", "denoise", "read")
    )
    text = CASE[: CASE.index("pipelines:")] + "queries:\n  - {id: q, source: box, rate_per_s: 1}\n"
    made = problem(tmp_path, problem__yaml=text, pipelines_SLASH_d__yaml=live.read_text(), service__csv=rows)
    assert "none" in {c.configuration["denoise.filter"] for c in made.queries[0].candidates}


def test_every_fault_is_said_at_once_with_its_line(tmp_path):
    broken = """\
settings: {objective: cheapest, waitng: none}
machines:
  - {id: box, tier: edg, cores: -1}
  - {id: box, tier: edge, count: 1.5}
links:
  - {from: box, to: vm, bandwidth_mbit_per_s: 0}
pipelines:
  - pipeline: p
    operators:
      - {id: find, inputs: [source], knobs: {size: [1, 1.0], none: []}}
      - {id: name, inputs: [find, fnd]}
      - {id: a, inputs: [b]}
      - {id: b, inputs: [a]}
    outputs: [nmae]
service:
  - {operator: fnd, latency_ms: 3}
  - {operator: find, knobs: {size: 7}, latency_ms: .nan}
  - {operator: find, latency_ms: 3, latency_p95_ms: 2, bach: 2}
queries:
  - {id: q, pipeline: p, source: bx, rate_per_s: 0, slo: {latency: 5}}
"""
    found = faults(tmp_path, problem__yaml=broken, sevice__csv="a\n")
    expected = [
        (1, "settings: objective is 'cheapest', but must be one of: goodput, cost"),
        (1, "settings: unknown key 'waitng'; did you mean 'waiting'?"),
        (3, "machine box: tier is 'edg', but must be one of: edge, cloud"),
        (3, "machine box: cores is -1, but must be 0..1e+09"),
        (4, "machine 'box' is given twice (first at problem.yaml:3)"),
        (4, "machine box: count is 1.5, but must be a whole number"),
        (6, "link: unknown machine 'vm'; known: box"),
        (6, "link: bandwidth_mbit_per_s is 0, but must be above 0"),
        (10, "operator find: knob size has '1.0' twice"),
        (10, "operator find: knob none has 0 values, but must have 1..1000"),
        (11, "operator name: unknown input 'fnd'; did you mean 'find'?"),
        (12, "pipeline p: operators read each other: a, b"),
        (14, "pipeline p: output 'nmae' is no operator; did you mean 'name'?"),
        (16, "service row: pipeline p has no operator 'fnd'; did you mean 'find'?"),
        (17, "service row: knob find.size has no value '7'; it has 1"),
        (17, "service row: latency_ms '.nan' is not a number"),
        (18, "service row: latency_p95_ms 2 is below the mean, 3"),
        (18, "service row: unknown key 'bach'; did you mean 'batch'?"),
        (20, "query q: unknown source machine 'bx'; did you mean 'box'?"),
        (20, "query q: rate_per_s is 0, but must be above 0"),
    ]
    for line, message in expected:
        assert f"problem.yaml:{line}: {message}" in found
    assert any(f.startswith("problem.yaml:20: query q: slo: unknown key 'latency'") for f in found)
    assert "sevice.csv:1: no file of this name is read; did you mean 'service.csv'?" in found


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ("operator,cores,latency_ms\nfind,1\n", "service.csv:2: 2 cells, but the header has 3"),
        ("operator,cores,cores\n", "service.csv:1: column 'cores' stands twice in the header"),
        ("", "service.csv:1: no header line"),
        ('operator,cores,latency_ms\nfind,1,"2\n', "service.csv:2: not valid CSV: unexpected end of data"),
        (
            "operator,corse,latency_ms\n\nfind,1,4\n",
            "service.csv:3: service row: operator find has no knob (or column) 'corse'",
        ),
        (
            "operator,name.model,latency_ms\nfind,small,4\n",
            "service.csv:2: service row: knob name.model is not upstream of operator find",
        ),
        ("operator,cores\nfind,1\n", "service.csv:2: service row: give latency_ms or throughput_per_s, or both"),
    ],
)
def test_a_wrong_table_is_named_by_its_line(tmp_path, rows, fault):
    assert any(found.startswith(fault) for found in faults(tmp_path, problem__yaml=CASE, service__csv=rows))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("machines: [\n", "problem.yaml:2: not valid YAML"),
        ("machines: []\nmachines: []\n", "problem.yaml:2: 'machines' is given twice (first in line 1)"),
        ("- 1\n", "problem.yaml:1: must be keys with values"),
        ("machines: *a\n", "problem.yaml:1: alias *a stands for nothing"),
        ("machines: !!python/object:os.system []\n", "(all files):1: section 'machines' is missing or empty"),
        ("settings: " + "[" * 40 + "]" * 40, "problem.yaml:1: nested deeper than 32"),
        ("a: \x07\n", "problem.yaml:1: not valid YAML"),
        ("---\na: 1\n---\nb: 2\n", "problem.yaml:3: a file holds one document"),
    ],
)
def test_a_file_that_is_no_such_document_is_refused(tmp_path, text, fault):
    assert any(found.startswith(fault) for found in faults(tmp_path, problem__yaml=text))


def test_a_bound_on_an_accuracy_that_is_unknown_is_a_fault(tmp_path):
    text = CASE.replace("rate_per_s: 3", "rate_per_s: 3, slo: {accuracy: 0.9}")
    assert faults(tmp_path, problem__yaml=text) == [
        "problem.yaml:17: query q: bounds accuracy, but pipeline p has no accuracies"
    ]


def test_too_many_configurations_are_refused(tmp_path):
    knobs = ", ".join(f"k{i}: [1, 2, 3, 4, 5]" for i in range(7))
    text = CASE.replace("knobs: {size: [0.5, 1]}", f"knobs: {{{knobs}}}")
    (fault,) = faults(tmp_path, problem__yaml=text)
    assert fault.startswith("problem.yaml:7: pipeline p: 156250 configurations, at most 20000")


def test_an_empty_folder_and_no_folder_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="holds none of the files"):
        read_folder(tmp_path)
    with pytest.raises(InvalidInput, match="is no folder"):
        read_folder(tmp_path / "nowhere")


def test_sections_are_not_called_missing_where_a_file_could_not_be_read(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        read_folder(folder(tmp_path, problem__yaml="machines: [}\n"))
    (violation,) = caught.value.violations
    assert violation.field == "problem.yaml:1"
    assert "not valid YAML" in violation.message


def test_a_machine_without_id_is_not_suggested(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        read_folder(folder(tmp_path, problem__yaml=CASE.replace("{id: box, ", "{").replace("to: vm", "to: zz")))
    told = [violation.message for violation in caught.value.violations]
    assert "link: unknown machine 'zz'; known: vm" in told
