"""Records: what is written is what is read; what is wrong is told with its place."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_problems import exact, machine, option, problems, wires_between

from circinus.errors import InvalidInput
from circinus.model.plan import Interval, OperatorPlan, Plan, Selection, UnplacedQuery
from circinus.model.query import Slo
from cloud_planner.core import problem as problem_module
from cloud_planner.core.problem import Candidate, Problem, QueryProblem, Step
from cloud_planner.record import Record, dump_record, is_record, load_record
from cloud_planner.record_values import Reader, Writer

NOTHING = Selection(
    plans=(),
    unplaced=(UnplacedQuery(query_id="q", reason="no room"),),
    machines=(),
    traffic_cost_per_h=0.0,
    goodput_per_s=0.0,
    goodput_bound_per_s=float("inf"),
    gap_ratio=0.0,
    cost_per_h=0.0,
    cost_bound_per_h=0.0,
    cost_gap_ratio=0.0,
    solver_status="optimal",
)


def small(**changes):
    step = Step(operator_id="a", inputs=("source",), output_bytes=1.0, options=(option("m1"), option("m2")))
    candidate = Candidate(
        configuration={"a.model": "s", "a.size": 1, "a.ratio": 0.5, "a.fast": True},
        accuracy=exact(0.9),
        steps=(step,),
        source_bytes=1.0,
        outputs=("a",),
    )
    queries = tuple(
        QueryProblem(id=name, rate_per_s=1.0, weight=1.0, slo=Slo(), source="m1", candidates=(candidate,))
        for name in ("q", "r")
    )
    values = {"machines": (machine("m1"), machine("m2")), "wires": wires_between(["m1", "m2"]), "queries": queries}
    return Problem(**(values | changes))


def document(**changes):
    return json.loads(dump_record(Record(problem=small(), selection=NOTHING))) | changes


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(problem=problems(queries=3))
def test_what_is_written_is_what_is_read(problem):
    record = Record(problem=problem, selection=NOTHING)
    text = dump_record(record)
    assert load_record(text) == record
    assert dump_record(load_record(text)) == text


def test_running_plans_and_knobs_of_each_kind_come_back_as_they_were():
    plan = Plan(
        query_id="q",
        configuration={"a.model": "s", "a.size": 1, "a.ratio": 1.0, "a.fast": False},
        operators=(
            OperatorPlan(
                operator_id="a",
                device_id="m1",
                replicas=1,
                share_ratio=1.0,
                cores=0.1 + 0.2,
                accelerator_slots=0,
                accelerator_memory_bytes=0,
                memory_bytes=2**40 + 1,
                batch=1,
                service_ms=1e-9,
            ),
        ),
        latency_ms=Interval(value=1.0, low=0.5, high=2.0),
        latency_p50_ms=1.0,
        accuracy_ratio=exact(0.9),
        cost_per_h=1 / 3,
        slo_probability_ratio=1.0,
        item_goodput_per_s=1.0,
    )
    record = Record(problem=small(running=(plan,)), selection=replace(NOTHING, plans=(plan,)))
    again = load_record(dump_record(record))
    assert again == record
    kinds = [type(value) for value in again.problem.running[0].configuration.values()]
    assert kinds == [str, int, float, bool]
    # What queries have in common is written once, and is one thing again.
    assert again.problem.queries[0].candidates[0] is again.problem.queries[1].candidates[0]


def test_every_field_of_a_problem_travels():
    """Whatever is added to a problem is read and written without being named here."""

    def types_of(kind, seen):
        for hint in get_type_hints(kind).values():
            stack = [hint]
            while stack:
                part = stack.pop()
                stack += get_args(part)
                if is_dataclass(part) and part not in seen:
                    seen.add(part)
                    types_of(part, seen)
        return seen

    seen = types_of(Problem, {Problem})
    declared = {each for each in vars(problem_module).values() if is_dataclass(each)}
    assert declared <= seen | {Interval, Plan, Slo}
    written = Writer().write(small())
    assert set(written) == {each.name for each in fields(Problem)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """What a problem may come to have."""

    name: str
    pairs: tuple[tuple[str, int], ...] = ()
    names: frozenset[str] = frozenset()
    limit: float | None = None
    parts: tuple[Interval, ...] = ()


@given(
    st.builds(
        Later,
        name=st.text(max_size=5),
        pairs=st.lists(st.tuples(st.text(max_size=3), st.integers(-9, 9)), max_size=3).map(tuple),
        names=st.frozensets(st.text(max_size=3), max_size=3),
        limit=st.none() | st.floats(allow_nan=False),
        parts=st.lists(st.sampled_from([exact(1.0), exact(2.0)]), max_size=3).map(tuple),
    )
)
def test_new_kinds_of_fields_need_no_new_code(value):
    writer = Writer()
    writer.count(value)
    written = json.loads(json.dumps(writer.write(value), allow_nan=False))
    reader = Reader(shared=json.loads(json.dumps(writer.shared)))
    assert reader.read(Later, written, "later") == value
    reader.done()


def put(place, value):
    """A document with something else at a place of its problem."""
    made = document()
    at = made["problem"]
    for name in place[:-1]:
        at = at[name]
        while isinstance(at, dict) and set(at) == {"$ref"}:
            at = made["shared"][at["$ref"]]
    at[place[-1]] = value
    return made


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("machines", 0, "cores"), "two", "problem.machines[0].cores: 'two' must be a number"),
        (("machines", 0, "cores"), True, "problem.machines[0].cores: True must be a number"),
        (("machines", 0, "cores"), "nan", "problem.machines[0].cores: 'nan' must be a number"),
        (("machines", 0, "cores"), 0, "problem.machines[0]: cores must be above 0"),
        (("machines", 0, "count"), 1.5, "problem.machines[0].count: 1.5 must be a whole number"),
        (("machines", 0, "tier"), "fog", "problem.machines[0].tier: 'fog' must be one of: edge, cloud"),
        (("machines", 0, "exclusive"), 1, "problem.machines[0].exclusive: 1 must be true or false"),
        (("machines", 0, "core"), 1, "problem.machines[0].core: unknown key; did you mean 'cores'?"),
        (("machines", 1, "id"), "m1", "problem.machines[1].id: 'm1' stands twice"),
        (("wires", 0, "target"), "m9", "problem.wires[0]: there is no machine 'm9'"),
        (("wires", 0, "bandwidth_bit_per_s"), 0.0, "must be above 0, or null: unlimited"),
        (("queries", 0, "source"), "m9", "problem.queries[0].source: there is no machine 'm9'"),
        (("queries", 0, "rate_per_s"), -1.0, "problem.queries[0]: rate_per_s must be above 0"),
        (("queries", 0, "candidates"), {}, "problem.queries[0].candidates: {} must be a list"),
        (("queries", 0, "candidates"), [{"$ref": 99}], "candidates[0]: reference 99 must be below"),
        (("queries", 1, "id"), "x" * 20_000, "must be a text of at most 10,000 characters"),
        (("waiting",), "long", "problem.waiting: 'long' must be one of: none, queue, batch"),
        (("machines",), None, "problem.machines: None must be a list"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(place, value, told):
    with pytest.raises(InvalidInput) as caught:
        load_record(json.dumps(put(place, value)))
    assert told in str(caught.value)
    assert caught.value.violations


def test_contradictions_within_a_candidate_are_told():
    for changes, told in [
        ({"inputs": ["b"]}, "'b' is no step before this one"),
        ({"inputs": []}, "must name one at least"),
        ({"options": [{"machine": "m9", "cores": 1, "service": {"mean_ms": 1}, "capacity_per_s": 1}]}, "machine 'm9'"),
        ({"options": [{"machine": "m1", "cores": 1, "service": {"mean_ms": 1}, "capacity_per_s": 0}]}, "above 0"),
    ]:
        made = document()
        for entry in made["shared"]:
            for step in entry.get("steps", ()):
                step.update(changes)
        with pytest.raises(InvalidInput, match="problem.queries") as caught:
            load_record(json.dumps(made))
        assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "line 1"),
        ("[]", "must be one JSON object"),
        ("3", "must be one JSON object"),
        ("[" * 100_000, "nest"),
        (json.dumps({"problem": {}, "selection": {}}), "'machines' is missing"),
        (json.dumps({"circinus_record": 2, "problem": {}, "selection": {}}), "this program reads version 1"),
        (json.dumps({"problem": {}, "selection": {}, "more": 1}), "more: unknown key"),
        (json.dumps({"problem": {}}), "selection: is missing"),
        (json.dumps({"problem": {"$ref": 0}, "selection": {}, "shared": [{"$ref": 0}]}), "must be below 0"),
        (json.dumps({"problem": {}, "selection": {}, "shared": 3}), "shared: must be a list"),
    ],
)
def test_what_is_no_record_is_refused(text, told):
    with pytest.raises(InvalidInput) as caught:
        load_record(text)
    assert told in str(caught.value)


def test_faults_are_told_all_at_once_up_to_a_hundred():
    made = document()
    made["problem"]["queries"] = [3] * 500
    with pytest.raises(InvalidInput, match="100 faults") as caught:
        load_record(json.dumps(made))
    assert len(caught.value.violations) == 100


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_document_is_an_error_and_never_a_crash(data):
    made = document()
    places = []

    def walk(value, path):
        places.append(path)
        for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(entry, (dict, list)):
                walk(entry, (*path, key))
            else:
                places.append((*path, key))

    walk(made, ())
    path = data.draw(st.sampled_from([path for path in places if path]))
    at = made
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = data.draw(st.sampled_from([None, [], {}, "x", -1, 1e308, True, {"$ref": 0}, {"$ref": -1}, [[]]]))
    with contextlib.suppress(InvalidInput):
        load_record(json.dumps(made))


def test_a_record_is_told_from_an_answer():
    assert is_record(document())
    assert not is_record({"plans": [], "version": 1})
    assert not is_record([])
