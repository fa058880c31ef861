"""Selecting with the limits that matter: the same as with all, by smaller programmes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, assume, given, settings
from small_problems import exact, machine, option, problems, wires_between

from cloud_planner.core.audit import audit
from cloud_planner.core.problem import Candidate, Problem, QueryProblem, Slo, Step
from cloud_planner.core.select import select
from cloud_planner.core.select.prepared import Ground
from cloud_planner.core.select.relaxed import always
from cloud_planner.solver import CbcSolver

pytestmark = pytest.mark.slow

QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def priced(problem):
    """With a price on each machine, so that its limits may be left out."""
    return replace(
        problem,
        machines=tuple(
            replace(one, price_per_h=one.price_per_h or 0.1 * n) for n, one in enumerate(problem.machines, 1)
        ),
    )


def whole(problem, monkeypatch):
    """Selected with all limits from the start."""
    with monkeypatch.context() as patch:
        patch.setattr("cloud_planner.core.select.always", lambda *_: None)
        return select(problem, CbcSolver())


@settings(max_examples=40, deadline=None, suppress_health_check=QUIET, derandomize=True)
@given(problem=problems(queries=3))
def test_what_is_selected_is_as_good_as_with_all_limits(problem):
    problem = priced(problem)
    ground = Ground.of(problem)
    assume(always(ground.network, ground.problem, ground.tight) is not None)
    with pytest.MonkeyPatch.context() as patch:
        all_of_them = whole(problem, patch).selection
    found = select(problem, CbcSolver())
    assert audit(problem, found.selection) == ()
    assert found.selection.goodput_per_s == pytest.approx(all_of_them.goodput_per_s)
    assert found.selection.cost_per_h == pytest.approx(all_of_them.cost_per_h, rel=1e-5, abs=1e-6)
    assert found.selection.solver_status == "optimal"
    assert found.selection.cost_bound_per_h == pytest.approx(found.selection.cost_per_h, rel=1e-5, abs=1e-6)


def asked(*names):
    """Queries that want a machine of one core's half, the cheap one or the dear one."""
    step = Step(
        operator_id="op",
        inputs=("source",),
        output_bytes=10.0,
        options=(option("cheap", cores=0.6), option("dear", cores=0.6)),
    )
    candidate = Candidate(configuration={}, accuracy=exact(1.0), steps=(step,), source_bytes=10.0, outputs=("op",))
    slo = Slo(latency_ms=1000.0, percentile_ratio=0.95)
    return tuple(
        QueryProblem(id=name, rate_per_s=1.0, weight=1.0, slo=slo, source=None, candidates=(candidate,))
        for name in names
    )


def boxes(cores):
    return (machine("cheap", cores=cores, price_per_h=1.0), machine("dear", cores=cores, price_per_h=2.0))


def test_with_room_for_all_each_query_has_one_plan_to_choose(monkeypatch):
    # The extra replicas that a plan may have would not all fit, so with all limits the dear machine is looked at.
    problem = Problem(machines=boxes(1.3), wires=wires_between(("cheap", "dear")), queries=asked("a", "b"))
    found = select(problem, CbcSolver())
    assert [entry.columns for entry in found.report.templates] == [1, 1]
    assert all(entry.columns > 1 for entry in whole(problem, monkeypatch).report.templates)
    assert [plan.operators[0].device_id for plan in found.selection.plans] == ["cheap", "cheap"]
    assert found.selection.solver_status == "optimal"


def test_a_limit_that_would_be_broken_is_put_in():
    problem = Problem(machines=boxes(1.0), wires=wires_between(("cheap", "dear")), queries=asked("a", "b"))
    found = select(problem, CbcSolver()).selection
    assert sorted(plan.operators[0].device_id for plan in found.plans) == ["cheap", "dear"]
    assert found.cost_bound_per_h == pytest.approx(found.cost_per_h)
    assert audit(problem, found) == ()
