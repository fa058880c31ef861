"""What a selection says in particular cases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_problems import exact, machine, option, wires_between

from circinus.model.plan import Interval
from circinus.model.query import Slo
from cloud_planner.core.audit import audit
from cloud_planner.core.problem import Billing, Candidate, Objective, Problem, QueryProblem, Step, Waiting, Wire
from cloud_planner.core.select import MilpResult, MilpStatus, SelectLimits, select
from cloud_planner.core.templates import TemplateLimits
from cloud_planner.solver import CbcSolver


class BrokenSolver:
    """Never solves anything."""

    def solve(self, milp, work):
        return MilpResult(status=MilpStatus.FAILED, values=(), objective=0.0, bound=0.0, detail="broken")


def step(name, before, *options, out=1000.0):
    return Step(operator_id=name, inputs=(before,), output_bytes=out, options=options)


def query(name, *candidates, slo=None, source=None, rate=1.0, weight=1.0, **changes):
    return QueryProblem(
        id=name, rate_per_s=rate, weight=weight, slo=slo or Slo(), source=source, candidates=candidates, **changes
    )


def candidate(*steps, accuracy=1.0, knob=0, outputs=None, **changes):
    interval = accuracy if isinstance(accuracy, Interval) else exact(accuracy)
    return Candidate(
        configuration={"a.knob": knob},
        accuracy=interval,
        steps=steps,
        source_bytes=1000.0,
        outputs=outputs or (steps[-1].operator_id,),
        **changes,
    )


def problem(machines, queries, wires=(), **changes):
    return Problem(machines=tuple(machines), wires=tuple(wires), queries=tuple(queries), **changes)


def reason_of(made, **limits):
    selection = select(made, CbcSolver(), **limits).selection
    assert audit(made, selection) == ()
    (unplaced,) = selection.unplaced
    return unplaced.reason


def test_accuracy_out_of_reach_is_named_with_the_best_known():
    best = candidate(step("a", "source", option("m1")), accuracy=Interval(value=0.953, low=0.94, high=0.96), knob=3)
    made = problem([machine("m1")], [query("q", best, slo=Slo(accuracy_ratio=0.99))])
    assert reason_of(made) == "accuracy >= 0.99: best known is 0.953 (low 0.94) with {a.knob: 3}"


def test_latency_out_of_reach_is_named_with_the_fastest():
    one = candidate(step("a", "source", option("m1", ms=74.0)))
    made = problem([machine("m1")], [query("q", one, slo=Slo(latency_ms=30.0, accuracy_ratio=0.5))])
    assert reason_of(made) == "latency <= 30 ms: fastest plan that meets accuracy takes 74 ms at p95"


def test_cost_out_of_reach_is_named_with_the_cheapest():
    one = candidate(step("a", "source", option("m1", cores=0.5)))
    made = problem([machine("m1", price_per_h=4.0)], [query("q", one, slo=Slo(cost_per_h=1.0))])
    assert reason_of(made) == "cost <= 1 per hour: cheapest plan that there is costs 2 per hour"


def test_an_operator_that_runs_nowhere_is_named():
    made = problem([machine("m1")], [query("q", candidate(step("a", "source", option("m1")), step("read", "a")))])
    assert reason_of(made) == "no device can run operator read"


def test_what_is_said_of_an_impossible_query_is_passed_on():
    made = problem([machine("m1")], [query("q", impossible="its source device is unknown")])
    assert reason_of(made) == "its source device is unknown"


def test_missing_capacity_is_named_beside_a_query_that_is_worth_more():
    one = candidate(step("a", "source", option("m1", cores=0.75)))
    made = problem([machine("m1")], [query("p", one, weight=2.0), query("q", one)])
    selection = select(made, CbcSolver()).selection
    assert [plan.query_id for plan in selection.plans] == ["p"]
    assert selection.unplaced[0].reason == "no capacity left: needs 0.75 cores on m1, 0.25 are left"
    assert selection.goodput_bound_per_s == pytest.approx(2.0)


def test_no_links_are_named():
    one = candidate(step("a", "source", option("m2")))
    made = problem([machine("m1"), machine("m2")], [query("q", one, source="m1")])
    assert reason_of(made) == "no links lead from m1 along machines that can run its operators"


def test_runner_up_is_the_cheapest_other_placement():
    names = ["camera", "gateway", "cloud"]
    prices = {"camera": 0.0, "gateway": 1.0, "cloud": 3.0}
    one = candidate(
        step("a", "source", option("camera")),
        step("read", "a", option("camera"), option("gateway"), option("cloud")),
    )
    made = problem(
        [machine(name, price_per_h=prices[name]) for name in names],
        [query("q", one, source="camera")],
        wires_between(names, bandwidth=1e9),
    )
    (plan,) = select(made, CbcSolver()).selection.plans
    assert plan.runner_up == "read on gateway instead of camera"
    assert plan.runner_up_cost_per_h == pytest.approx(0.5)


def test_where_there_is_no_other_placement_the_runner_up_says_so():
    made = problem([machine("m1")], [query("q", candidate(step("a", "source", option("m1"))))])
    (plan,) = select(made, CbcSolver()).selection.plans
    assert plan.runner_up == "no other placement meets the SLO"
    assert plan.runner_up_cost_per_h is None


def test_a_failing_solver_leaves_a_greedy_selection_with_a_valid_bound():
    one = candidate(step("a", "source", option("m1", cores=0.75)))
    made = problem([machine("m1")], [query("p", one, weight=2.0), query("q", one)])
    result = select(made, BrokenSolver())
    assert audit(made, result.selection) == ()
    assert result.report.chosen == "greedy"
    assert [plan.query_id for plan in result.selection.plans] == ["p"]
    assert result.selection.goodput_bound_per_s == pytest.approx(3.0)
    assert result.selection.gap_ratio == pytest.approx(1.0 / 3.0)
    assert "broken" in result.selection.solver_status


def test_a_thinned_template_widens_the_bound():
    options = [option(f"m{n}", cores=0.75) for n in range(3)]
    made = problem(
        [machine(f"m{n}", price_per_h=1.0 + n) for n in range(3)],
        [query(f"q{n}", candidate(step("a", "source", *options))) for n in range(5)],
    )
    limits = SelectLimits(template=TemplateLimits(partial_rows=2, routes=2))
    result = select(made, CbcSolver(), limits=limits)
    assert audit(made, result.selection) == ()
    assert not result.report.complete
    assert result.selection.goodput_bound_per_s == pytest.approx(5.0)
    assert select(made, CbcSolver()).selection.goodput_bound_per_s == pytest.approx(3.0)


def test_whole_machines_are_shared_and_paid_once():
    one = candidate(step("a", "source", option("m1", cores=0.5)))
    whole = machine("m1", price_per_h=3.0, billing=Billing.WHOLE, count=None)
    made = problem([whole], [query(f"q{n}", one) for n in range(3)], objective=Objective.COST)
    selection = select(made, CbcSolver()).selection
    assert audit(made, selection) == ()
    assert selection.machines[0].machines == 2
    assert selection.cost_per_h == pytest.approx(6.0)
    assert selection.plans[0].cost_per_h == pytest.approx(1.5)


def test_replicas_are_not_divided_over_machines():
    one = candidate(step("a", "source", option("m1", cores=0.6)))
    made = problem([machine("m1", count=2, billing=Billing.WHOLE)], [query(f"q{n}", one) for n in range(3)])
    selection = select(made, CbcSolver()).selection
    assert audit(made, selection) == ()
    assert len(selection.plans) == 2
    assert selection.goodput_bound_per_s == pytest.approx(2.0)


def test_least_cost_serves_only_the_share_that_is_asked_for():
    cheap, dear = (candidate(step("a", "source", option(name, cores=1.0))) for name in ("m1", "m2"))
    made = problem(
        [machine("m1", price_per_h=1.0), machine("m2", price_per_h=9.0)],
        [query("p", cheap), query("q", dear)],
        objective=Objective.COST,
        served_ratio=0.5,
    )
    selection = select(made, CbcSolver()).selection
    assert audit(made, selection) == ()
    assert [plan.query_id for plan in selection.plans] == ["p"]
    assert selection.unplaced[0].reason.startswith("not needed")


def test_a_load_is_split_over_types_where_the_mix_is_cheapest():
    each = step("a", "source", option("big", cores=1.0, capacity=100.0), option("small", cores=1.0, capacity=30.0))
    made = problem(
        [
            machine(name, price_per_h=price, billing=Billing.WHOLE, count=None, exclusive=True)
            for name, price in (("big", 5.0), ("small", 2.0))
        ],
        [query("q", candidate(each), rate=130.0, splittable=True)],
        objective=Objective.COST,
        waiting=Waiting.NONE,
        replica_utilization_cap=1.0,
    )
    selection = select(made, CbcSolver()).selection
    assert audit(made, selection) == ()
    assert {(o.device_id, o.replicas) for o in selection.plans[0].operators} == {("big", 1), ("small", 1)}
    assert selection.cost_per_h == pytest.approx(7.0)
    assert selection.cost_gap_ratio == 0.0


def test_arcs_that_no_route_explains_do_not_count():
    """Half of the items on each side satisfies each link of this diamond alone, and no single item."""
    names = [f"{operator}{side}" for operator in "abcd" for side in "xy"]
    joined = ["ax-bx", "ay-by", "ax-cx", "ay-cy", "bx-dx", "by-dy", "cx-dy", "cy-dx"]
    steps = [
        Step(
            operator_id=operator,
            inputs=inputs,
            output_bytes=1.0,
            options=tuple(option(f"{operator}{side}") for side in "xy"),
        )
        for operator, inputs in (("a", ("source",)), ("b", ("a",)), ("c", ("a",)), ("d", ("b", "c")))
    ]
    wires = [
        Wire(source=way.split("-")[0], target=way.split("-")[1], bandwidth_bit_per_s=None, rtt_ms=0.0) for way in joined
    ]
    made = problem(
        [machine(name) for name in names], [query("q", candidate(*steps), splittable=True)], wires, waiting=Waiting.NONE
    )
    assert reason_of(made).startswith("no links lead")
    open_ring = replace(made, wires=(*made.wires, Wire(source="cx", target="dx", bandwidth_bit_per_s=None, rtt_ms=0.0)))
    selection = select(open_ring, CbcSolver()).selection
    assert audit(open_ring, selection) == ()
    assert len(selection.plans) == 1


def test_uncertain_latency_needs_a_margin():
    one = candidate(step("a", "source", option("m1", ms=95.0)), latency_uncertainty_ratio=0.1)
    made = problem([machine("m1")], [query("q", one, slo=Slo(latency_ms=100.0))], waiting=Waiting.NONE)
    assert reason_of(made).endswith("too close to promise with probability 0.95")
    easy = replace(made, queries=(replace(made.queries[0], slo=Slo(latency_ms=120.0)),))
    (plan,) = select(easy, CbcSolver()).selection.plans
    assert plan.slo_probability_ratio > 0.95
    assert plan.latency_ms.low < 95.0 < plan.latency_ms.high


def test_item_goodput_counts_right_answers_in_time():
    one = candidate(step("a", "source", option("m1", ms=10.0, variance=100.0)), accuracy=0.9)
    made = problem(
        [machine("m1")], [query("q", one, slo=Slo(latency_ms=40.0), rate=2.0, weight=3.0)], waiting=Waiting.NONE
    )
    (plan,) = select(made, CbcSolver()).selection.plans
    in_time = 1.0 - 2.718281828459045**-4.0
    assert plan.item_goodput_per_s == pytest.approx(3.0 * 2.0 * 0.9 * in_time)


def test_the_audit_sees_what_is_wrong():
    one = candidate(step("a", "source", option("m1", cores=0.75)))
    made = problem([machine("m1")], [query("p", one), query("q", one)])
    selection = select(made, CbcSolver()).selection
    other = replace(selection.plans[0], query_id=selection.unplaced[0].query_id)
    crowded = replace(selection, plans=(*selection.plans, other), unplaced=())
    said = " ".join(finding.message for finding in audit(made, crowded))
    assert "machines" in said
    assert "goodput is 2" in said


def test_the_solver_writes_nothing(capfd):
    one = candidate(step("a", "source", option("m1", cores=0.75), option("m2", cores=0.75)))
    made = problem([machine("m1"), machine("m2")], [query(f"q{n}", one, weight=1.0 + n) for n in range(5)])
    select(made, CbcSolver())
    written = capfd.readouterr()
    assert written.out == ""
    assert written.err == ""
