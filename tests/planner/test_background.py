"""Decisions that hold what runs, and better selections that are found meanwhile."""

from __future__ import annotations

from dataclasses import replace

import pytest
from planner_fleet import FirstFit

from circinus.model.device import DeviceId, SiteId, Tier
from circinus.model.pipeline import OperatorId
from circinus.model.plan import Interval
from circinus.model.query import QueryId, Slo
from cloud_planner.background import Background, HoldPolicy, within
from cloud_planner.bell import Bell
from cloud_planner.core.planning import PlanResult
from cloud_planner.core.problem import Candidate, Delay, Machine, Option, Problem, QueryProblem, Step
from cloud_planner.core.select import SelectLimits, select
from cloud_planner.solver import CbcSolver


def query(name, worth, machines):
    options = tuple(
        Option(machine=DeviceId(machine), cores=1.0, service=Delay(mean_ms=10.0), capacity_per_s=100.0)
        for machine in machines
    )
    candidate = Candidate(
        configuration={},
        accuracy=Interval(value=1.0, low=1.0, high=1.0),
        steps=(
            Step(operator_id=OperatorId("work"), inputs=(OperatorId("source"),), output_bytes=1.0, options=options),
        ),
        source_bytes=1.0,
        outputs=(OperatorId("work"),),
    )
    return QueryProblem(id=QueryId(name), rate_per_s=1.0, weight=worth, slo=Slo(), source=None, candidates=(candidate,))


def problem(*queries, running=()):
    machines = tuple(
        Machine(id=DeviceId(name), tier=Tier.EDGE, site=SiteId("s"), cores=1.0, memory_bytes=1, price_per_h=price)
        for name, price in (("cheap", 1.0), ("dear", 2.0))
    )
    return Problem(machines=machines, wires=(), queries=queries, running=running)


def running(*queries):
    return select(problem(*queries), CbcSolver()).selection.plans


def test_a_held_query_keeps_its_plan_though_another_would_be_cheaper():
    old = query("old", 1.0, ["dear"])
    plans = running(old)
    free = query("old", 1.0, ["cheap", "dear"])
    new = query("new", 1.0, ["cheap", "dear"])
    asked = problem(free, new, running=plans)
    held = select(asked, CbcSolver(), limits=SelectLimits(held=frozenset({QueryId("old")}))).selection
    where = {plan.query_id: plan.operators[0].device_id for plan in held.plans}
    assert where == {"old": "dear", "new": "cheap"}
    assert held.goodput_bound_per_s >= held.goodput_per_s


def test_a_held_query_ends_where_it_stands_in_the_way_of_one_that_is_worth_more():
    plans = running(query("old", 1.0, ["cheap"]))
    asked = problem(query("old", 1.0, ["cheap"]), query("new", 5.0, ["cheap"]), running=plans)
    held = select(asked, CbcSolver(), limits=SelectLimits(held=frozenset({QueryId("old")}))).selection
    assert [plan.query_id for plan in held.plans] == ["new"]


def test_only_many_running_queries_are_held_and_not_beside_many_new_ones():
    plans = running(query("a", 1.0, ["cheap"]), query("b", 1.0, ["dear"]))
    policy = HoldPolicy(from_running=2, new_ratio=0.4)
    few = problem(query("a", 1.0, ["cheap"]), query("b", 1.0, ["dear"]), query("c", 1.0, ["dear"]), running=plans)
    assert policy.held(few) == {"a", "b"}
    assert replace(policy, from_running=3).held(few) == frozenset()
    assert replace(policy, new_ratio=0.2).held(few) == frozenset()


class Answers:
    """Gives what it is told to."""

    def __init__(self, selection):
        self.selection = selection

    async def plan(self, problem, held=frozenset()):
        return PlanResult(selection=self.selection, findings=())

    async def close(self):
        pass


def gained(before, ratio):
    return replace(before, goodput_per_s=before.goodput_per_s * ratio)


@pytest.mark.parametrize(("ratio", "taken"), [(1.02, True), (1.001, False), (0.9, False)])
async def test_a_better_selection_is_offered_once_and_only_if_it_is_worth_the_changes(ratio, taken):
    asked = problem(query("a", 1.0, ["cheap"]))
    before = await FirstFit("cheap").plan(asked)
    bell = Bell()
    background = Background(Answers(gained(before.selection, ratio)), bell)
    background.consider(asked, before)
    await background.attempt()
    assert bell.rings == int(taken)
    found = background.better(asked)
    assert (found is not None) == taken
    assert background.better(asked) is None


async def test_what_was_found_for_another_problem_is_not_offered():
    asked = problem(query("a", 1.0, ["cheap"]))
    before = await FirstFit("cheap").plan(asked)
    background = Background(Answers(gained(before.selection, 2.0)), Bell())
    background.consider(asked, before)
    await background.attempt()
    assert background.better(problem(query("b", 1.0, ["cheap"]))) is None


def test_a_lower_cost_is_worth_changes_only_at_no_less_goodput():
    policy = HoldPolicy()
    before = replace(select(problem(query("a", 1.0, ["dear"])), CbcSolver()).selection, cost_per_h=10.0)
    assert policy.worth_it(before, replace(before, cost_per_h=9.0))
    assert not policy.worth_it(before, replace(before, cost_per_h=9.9))
    assert not policy.worth_it(before, replace(before, cost_per_h=9.0, goodput_per_s=0.9 * before.goodput_per_s))


def test_one_more_that_is_served_or_much_less_cost_is_worth_a_pause_and_little_is_not():
    policy = HoldPolicy()
    before = replace(select(problem(query("a", 1.0, ["dear"])), CbcSolver()).selection, cost_per_h=10.0)
    assert not policy.worth_pausing(before, replace(before, cost_per_h=9.5))
    assert policy.worth_pausing(before, replace(before, cost_per_h=8.9))
    assert policy.worth_pausing(before, gained(before, 1.02))
    assert not policy.worth_pausing(before, replace(before, cost_per_h=8.9, goodput_per_s=0.9 * before.goodput_per_s))
    # Though it is not sure of its service level, so that it counts for nothing.
    assert policy.worth_pausing(replace(before, plans=()), replace(before, cost_per_h=11.0))


def test_what_is_chosen_of_some_of_the_plans_is_held_against_the_bounds_of_all():
    whole = select(problem(query("a", 1.0, ["cheap", "dear"])), CbcSolver()).selection
    some = select(problem(query("a", 1.0, ["dear"])), CbcSolver()).selection
    assert some.cost_gap_ratio == pytest.approx(0.0, abs=1e-6)
    told = within(some, whole)
    assert (told.plans, told.cost_per_h) == (some.plans, some.cost_per_h)
    assert told.cost_bound_per_h == whole.cost_bound_per_h < some.cost_per_h
    assert told.cost_gap_ratio == pytest.approx(0.5)
    assert (told.goodput_bound_per_s, told.gap_ratio) == (whole.goodput_bound_per_s, whole.gap_ratio)
