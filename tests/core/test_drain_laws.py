"""Laws of drains: nobody is served the worse, and what can be elsewhere is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_problems import exact, machine, option, problems

from circinus.model.query import Slo
from cloud_planner.core.audit import audit
from cloud_planner.core.drain import with_staying
from cloud_planner.core.planning import plan
from cloud_planner.core.problem import Candidate, Objective, Problem, QueryProblem, Step
from cloud_planner.core.relax import conflict
from cloud_planner.core.select import SelectLimits, select
from cloud_planner.solver import CbcSolver

pytestmark = pytest.mark.slow


def planned(problem, **limits):
    result = plan(problem, CbcSolver(), SelectLimits(**limits))
    assert result.findings == ()
    return result.selection


def draining(problem, name, running):
    machines = tuple(
        replace(each, cordoned=True, draining=True) if each.id == name else each for each in problem.machines
    )
    return replace(problem, machines=machines, running=running)


def without(problem, name):
    """The problem as if nothing could run on a machine."""
    queries = []
    for query in problem.queries:
        candidates = tuple(
            replace(
                candidate,
                steps=tuple(
                    replace(step, options=tuple(one for one in step.options if one.machine != name))
                    for step in candidate.steps
                ),
            )
            for candidate in query.candidates
        )
        left = tuple(one for one in candidates if all(step.options for step in one.steps))
        queries.append(replace(query, candidates=left, impossible="" if left else "nowhere to run"))
    return replace(problem, queries=tuple(queries), running=())


def on(selection, name):
    return {each.query_id for each in selection.plans if any(one.device_id == name for one in each.operators)}


@settings(max_examples=60, deadline=None, derandomize=True)
@given(problems(shapes=("one", "chain", "fan"), queries=3, objective=Objective.GOODPUT), st.sampled_from(["m1", "m2"]))
def test_a_drain_ends_nobody_and_empties_what_it_can(problem, name):
    before = planned(problem)
    made = draining(problem, name, before.plans)
    after = planned(made)
    was, now = ({each.query_id for each in found.plans} for found in (before, after))
    assert was <= now
    assert after.goodput_per_s == pytest.approx(before.goodput_per_s)
    # Nothing new is there, and an explanation rests on the same problem.
    assert on(after, name) <= on(before, name)
    assert audit(with_staying(made, after), after) == ()
    elsewhere = select(without(problem, name), CbcSolver()).selection
    if was <= {each.query_id for each in elsewhere.plans}:
        assert on(after, name) == set()


@settings(max_examples=20, deadline=None, derandomize=True)
@given(problems(shapes=("one", "chain"), queries=3, objective=Objective.GOODPUT))
def test_a_drained_selection_planned_again_changes_nothing(problem):
    made = draining(problem, "m1", planned(problem).plans)
    once = planned(made)
    again = planned(replace(made, running=once.plans))
    assert on(again, "m1") <= on(once, "m1")
    assert again.goodput_per_s == pytest.approx(once.goodput_per_s)


def a_query(name, *options, rate_per_s=1.0):
    step = Step(operator_id="a", inputs=("source",), output_bytes=10.0, options=options)
    candidate = Candidate(
        configuration={"a.k": 0}, accuracy=exact(1.0), steps=(step,), source_bytes=10.0, outputs=("a",)
    )
    return QueryProblem(id=name, rate_per_s=rate_per_s, weight=1.0, slo=Slo(), source=None, candidates=(candidate,))


def two_boxes(*queries, room=1.0):
    return Problem(
        machines=(machine("m1", cores=2.0), machine("m2", cores=room, price_per_h=5.0)), wires=(), queries=queries
    )


def test_where_there_is_room_for_some_only_the_others_stay():
    both = (option("m1"), option("m2"))
    made = two_boxes(a_query("q1", *both, rate_per_s=2.0), a_query("q2", *both), room=0.5)
    before = planned(made)
    assert on(before, "m1") == {"q1", "q2"}
    after = planned(draining(made, "m1", before.plans))
    assert len(after.plans) == 2
    assert len(on(after, "m1")) == 1


def test_what_has_nowhere_to_go_stays_though_others_go():
    made = two_boxes(a_query("free", option("m1"), option("m2")), a_query("bound", option("m1")))
    after = planned(draining(made, "m1", planned(made).plans))
    assert on(after, "m1") == {"bound"}


def test_queries_that_are_held_move_all_the_same():
    made = two_boxes(a_query("q1", option("m1"), option("m2")), a_query("q2", option("m1")))
    before = planned(made)
    after = planned(draining(made, "m1", before.plans), held=frozenset({"q1", "q2"}))
    assert on(after, "m1") == {"q2"}
    assert len(after.plans) == 2


def test_a_drain_displaces_nobody_else():
    both = (option("m1"), option("m2"))
    made = two_boxes(a_query("q1", *both, rate_per_s=9.0), a_query("q2", option("m2")), room=0.5)
    before = planned(made)
    assert on(before, "m2") == {"q2"}
    after = planned(draining(made, "m1", before.plans))
    assert {each.query_id for each in after.plans} == {"q1", "q2"}
    assert on(after, "m1") == {"q1"}


def test_a_new_query_gets_nothing_there_and_hears_why():
    made = two_boxes(a_query("new", option("m1")))
    after = planned(draining(made, "m1", ()))
    assert "cordoned" in after.unplaced[0].reason
    assert "m1" in conflict(draining(made, "m1", ()), after, "new").reason
