"""Selectors, cordons and drains in the problem of a live fleet."""

from __future__ import annotations

from dataclasses import replace

from live_values import choices, device, fleet, operator, pipeline, query

from circinus.model.device import Accelerator
from circinus.model.selector import selected
from cloud_planner.core.decompose import decompose, impossibility, problem_of_choices
from cloud_planner.core.drain import staying_on
from cloud_planner.core.profiles import times_of

CAMERA = device("camera", links=["a", "b"], data_address="h:1")
A = device("a", links=["camera"], labels={"gpu": "", "zone": "x"})
B = device("b", links=["camera"], labels={"zone": "y"})


def selecting(text, **changes):
    return replace(query(), selector=text, **changes)


def machines_of(problem, operator_id="read"):
    return {
        option.machine
        for candidate in problem.queries[0].candidates
        for step in candidate.steps
        if step.operator_id == operator_id
        for option in step.options
    }


def chosen(*devices, spec=None, **changes):
    return fleet(*devices, spec=spec, choices={"q": choices(spec)}, **changes)


def test_options_on_devices_that_are_not_meant_do_not_exist():
    known = chosen(CAMERA, A, B)
    cases = {
        "": {"camera", "a", "b"},
        "gpu": {"a"},
        "zone in (x, y)": {"a", "b"},
        "!zone": {"camera"},
        "device=b,tier=edge": {"b"},
        "site!=home": set(),
    }
    for text, wanted in cases.items():
        problem = decompose(known, [selecting(text)])
        assert machines_of(problem) == wanted, text
        # The same by a plain look at the devices.
        assert wanted == {one.id for one in selected((CAMERA, A, B), text)}
    assert all(not machine.labels for machine in decompose(known, [query()]).machines)


def test_a_selector_by_accelerator_means_each_kind_that_has_slots():
    kinds = [Accelerator(kind=kind, model="m", provider="p", slots=slots, memory_bytes=0) for kind, slots in
             (("cuda", 1), ("npu", 1), ("old", 0))]  # fmt: skip
    both = device("both", accelerators=tuple(kinds))
    assert selected((both, A), "accelerator=npu") == (both,)
    assert selected((both, A), "accelerator=cuda") == (both,)
    assert selected((both, A), "accelerator!=cuda") == (A,)
    assert selected((both, A), "accelerator=old") == ()
    assert selected((both, A), "!accelerator") == (A,)


def test_queries_whose_selectors_mean_the_same_devices_share_their_candidates():
    known = fleet(CAMERA, A, B, choices={name: choices() for name in ("p", "q", "r")})
    queries = [selecting("gpu", id="p"), selecting("zone=x", id="q"), selecting("zone", id="r")]
    p, q, r = decompose(known, queries).queries
    assert p.candidates is q.candidates
    assert r.candidates is not q.candidates


def test_what_the_pipeline_pins_to_the_source_runs_there_whatever_the_selector_says():
    spec = pipeline(operator("cut", ["source"], pinned="source"), operator("read", ["cut"]))
    problem = decompose(chosen(CAMERA, A, B, spec=spec), [selecting("gpu")])
    assert machines_of(problem, "cut") == {"camera"}
    assert machines_of(problem, "read") == {"a"}
    assert problem.queries[0].at_source == frozenset({"cut"})


def test_a_pin_to_another_device_and_a_selector_that_leaves_it_out_contradict():
    spec = pipeline(operator("cut", ["source"]), operator("read", ["cut"], pinned="b"))
    known = chosen(CAMERA, A, B, spec=spec)
    assert "its selector 'gpu' leaves out" in impossibility(known, selecting("gpu"))
    assert impossibility(known, selecting("zone")) == ""


def test_a_query_that_no_device_is_meant_for_hears_of_its_selector_and_of_what_it_leaves_out():
    known = chosen(CAMERA, A, B)
    problem = decompose(known, [selecting("tpu")])
    assert problem.queries[0].impossible == impossibility(known, selecting("tpu"))
    assert problem.queries[0].impossible == (
        "its selector 'tpu' leaves out every device that could run operator cut (a, b, camera): drop the selector, or "
        "give one of them the labels"
    )


def test_searches_look_at_the_devices_that_are_meant_and_not_drained():
    known = chosen(CAMERA, A, B, draining=frozenset({"b"}))
    found = known.pipelines["words"]
    statistics = times_of(next(iter(known.tables.values())), found.pipeline)
    asked = selecting("zone")
    assert machines_of(problem_of_choices(known, asked, choices(), statistics)) == {"a"}
    assert machines_of(problem_of_choices(known, selecting(""), choices(), statistics)) == {"a", "camera"}


def test_cordoned_and_draining_devices_are_so_in_the_problem():
    known = chosen(CAMERA, A, B, cordoned=frozenset({"a", "b"}), draining=frozenset({"b"}))
    marks = {one.id: (one.cordoned, one.draining) for one in decompose(known, [query()]).machines}
    assert marks == {"camera": (False, False), "a": (True, False), "b": (True, True)}


def test_what_stays_on_a_device_is_named_with_its_reason():
    from live_values import a_plan

    spec = pipeline(operator("cut", ["source"], pinned="source"), operator("read", ["cut"]))
    known = chosen(CAMERA, A, spec=spec)
    plans = {"q": a_plan("q", {}, cut="camera", read="camera")}
    found = staying_on("camera", (query(), query("other")), plans, known.pipelines)
    assert [(one.query_id, one.operator_id) for one in found] == [("q", "cut"), ("q", "read"), ("q", "")]
    assert [one.reason.split()[0:3] for one in found] == [
        ["its", "pipeline", "pins"],
        ["no", "other", "device"],
        ["its", "source", "is"],
    ]
    assert staying_on("a", (query(),), plans, known.pipelines) == ()
