"""Running plans that hold with less than what a new promise needs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_problems import exact, machine, option

from circinus.model.query import Slo
from cloud_planner.core.audit import audit
from cloud_planner.core.less_sure import less_sure
from cloud_planner.core.problem import Candidate, Problem, QueryProblem, Step
from cloud_planner.core.select import SelectLimits, select
from cloud_planner.solver import CbcSolver


def query(name, *ways, weight=1.0):
    """One that is served within 100 ms on a machine that takes so many; what is known of times is off by a tenth."""
    candidates = [
        Candidate(
            configuration={"a.knob": knob},
            accuracy=exact(1.0),
            steps=(Step(operator_id="a", inputs=("source",), output_bytes=1.0, options=(option(on, ms=ms),)),),
            source_bytes=1.0,
            outputs=("a",),
            latency_uncertainty_ratio=0.1,
        )
        for knob, (on, ms) in enumerate(ways)
    ]
    return QueryProblem(
        id=name, rate_per_s=1.0, weight=weight, slo=Slo(latency_ms=100.0), source=None, candidates=tuple(candidates)
    )


def problem(*queries, cores=4.0, running=()):
    return Problem(
        machines=(machine("m1", cores=cores), machine("cheap", cores=cores, price_per_h=0.01)),
        wires=(),
        queries=queries,
        running=tuple(running),
    )


def planned(made, held=frozenset()):
    selection = select(made, CbcSolver(), limits=SelectLimits(held=held)).selection
    assert audit(made, selection) == ()
    return selection


def ended(made, selection):
    return {plan.query_id for plan in made.running} - {plan.query_id for plan in selection.plans}


def test_what_runs_goes_on_as_it_is_while_that_is_likelier_than_not():
    before = planned(problem(query("q", ("m1", 80.0))))
    # As unsure as the other, and cheaper: nobody is moved to a promise that nobody would be made.
    now = problem(query("q", ("m1", 90.0), ("cheap", 90.0)), running=before.plans)
    slipped = ended(now, planned(now))
    assert slipped == {"q"}
    asked, kept = less_sure(now, slipped)
    (plan,) = planned(asked, kept).plans
    assert [(one.device_id, one.cores) for one in plan.operators] == [
        (one.device_id, one.cores) for one in before.plans[0].operators
    ]
    assert plan.slo_probability_ratio == pytest.approx(0.8667, abs=1e-3)


def test_what_is_likelier_to_miss_its_slo_ends():
    now = problem(query("q", ("m1", 101.0)), running=planned(problem(query("q", ("m1", 80.0)))).plans)
    assert less_sure(now, {"q"}) == (now, frozenset())


def test_nothing_new_is_promised_so():
    now = problem(query("q", ("m1", 90.0)), query("new", ("m1", 90.0)))
    now = replace(now, running=planned(problem(query("q", ("m1", 80.0)))).plans)
    asked, kept = less_sure(now, {"q"})
    assert kept == {"q"}
    assert [plan.query_id for plan in planned(asked, kept).plans] == ["q"]


def test_who_ends_for_want_of_room_is_another_matter():
    running = planned(problem(query("q", ("m1", 80.0)), cores=0.5)).plans
    now = problem(query("q", ("m1", 80.0)), query("dear", ("m1", 80.0), weight=5.0), cores=0.5, running=running)
    slipped = ended(now, planned(now))
    assert slipped == {"q"}
    assert less_sure(now, slipped) == (now, frozenset())
