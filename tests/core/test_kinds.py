"""Queries of one kind: their columns are made once and renamed, and are those that each would get by itself."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from site_problems import site_problem
from small_problems import problems

from circinus.model.query import Slo
from cloud_planner.core.audit import audit
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Candidate, Machine, Option, QueryProblem, Sharing, Step, Uplink, Wire
from cloud_planner.core.select import SelectLimits, select
from cloud_planner.core.select import columns as columns_module
from cloud_planner.core.select.columns import query_columns
from cloud_planner.core.select.kind_columns import columns_by_kind
from cloud_planner.core.select.kinds import Forms, Tight, reduced
from cloud_planner.core.select.milp import MilpResult, MilpStatus
from cloud_planner.core.select.scarcity import tight_resources
from cloud_planner.core.templates import TemplateLimits

LIMITS = TemplateLimits()


def columns_both_ways(problem):
    network = Network.of(problem)
    left = tight_resources(network, problem)
    shared = columns_by_kind(network, problem, left, LIMITS)
    alone = [query_columns(network, problem, number, left, LIMITS) for number in range(len(problem.queries))]
    return shared, alone


def figures(columns):
    """What columns cost and take; of equals only one stays in a template, and names decide which."""
    return {
        (round(column.cost_per_h, 9), tuple(sorted((repr(name), round(amount, 9)) for name, amount in column.amounts)))
        for column in columns
    }


def renamed(problem, suffix, order):
    """The problem's machines and queries under other names, its machines in another order by name."""
    names = {
        machine.id: f"{order[number % len(order)]}{number}-{suffix}" for number, machine in enumerate(problem.machines)
    }
    machines = tuple(
        replace(machine, id=names[machine.id], site=f"{machine.site}-{suffix}") for machine in problem.machines
    )
    wires = tuple(replace(wire, source=names[wire.source], target=names[wire.target]) for wire in problem.wires)
    queries = []
    for query in problem.queries:
        candidates = tuple(
            replace(
                candidate,
                steps=tuple(
                    replace(
                        step,
                        options=tuple(replace(option, machine=names[option.machine]) for option in step.options),
                    )
                    for step in candidate.steps
                ),
            )
            for candidate in query.candidates
        )
        source = None if query.source is None else names[query.source]
        queries.append(replace(query, id=f"{query.id}-{suffix}", source=source, candidates=candidates))
    return machines, wires, tuple(queries)


@st.composite
def twins(draw):
    """A problem beside a copy of itself under other names."""
    problem = draw(problems(queries=2))
    machines, wires, queries = renamed(problem, "b", draw(st.permutations(["x", "a", "m"])))
    return replace(
        problem,
        machines=(*problem.machines, *machines),
        wires=(*problem.wires, *wires),
        queries=(*problem.queries, *queries),
    )


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(problem=twins())
def test_shared_columns_are_those_of_each_query_by_itself(problem):
    shared, alone = columns_both_ways(problem)
    for one, other in zip(shared, alone, strict=True):
        assert one.query == other.query
        assert (one.complete, one.possible) == (other.complete, other.possible)
        assert figures(one.columns) == figures(other.columns)


@pytest.mark.slow
def test_shared_columns_name_the_machines_of_their_own_query():
    problem = site_problem(12)
    network = Network.of(problem)
    left = tight_resources(network, problem)
    for entry in columns_by_kind(network, problem, left, LIMITS):
        query = problem.queries[entry.query]
        assert entry.columns
        for column in entry.columns:
            steps = query.candidates[column.assignment.candidate].steps
            used = {steps[load.step].options[load.option].machine for load in column.assignment.loads}
            named = {name for resource, _ in column.amounts if resource[0] == "cores" for name in resource[1:]}
            assert named <= used <= {query.source, f"{query.source[:4]}-gateway", "cloud"}


@pytest.mark.slow
def test_a_copy_of_a_site_costs_no_template(monkeypatch):
    counted = []
    made = columns_module.template
    monkeypatch.setattr(columns_module, "template", lambda *given: counted.append(given[2].id) or made(*given))
    problem = site_problem(12)
    machines, wires, queries = renamed(problem, "b", "zka")
    both = replace(problem, machines=(*problem.machines, *machines), wires=(*problem.wires, *wires))
    for queries_of in (problem.queries, (*problem.queries, *queries)):
        case = replace(both, queries=queries_of, uplinks=())
        network = Network.of(case)
        columns_by_kind(network, case, {}, LIMITS)
        assert len(counted) <= len(problem.queries)
        assert not any(name.endswith("-b") for name in counted)
        counted.clear()


def kinds_of(problem, left=None):
    network = Network.of(problem)
    forms = Forms(network, problem)
    tight = Tight(tight_resources(network, problem) if left is None else left)
    return [(forms.form(query).key, tight.key(forms.form(query))) for query in problem.queries]


def test_what_differs_between_two_queries_makes_them_two_kinds():
    base = site_problem(1)
    query = base.queries[0]
    box, gateway = query.source, "s000-gateway"
    first = replace(base, queries=(query,))
    other = next(machine.id for machine in base.machines if machine.id not in (box, gateway, "cloud"))
    moved = renamed_source(query, box, other)
    both = replace(first, queries=(query, moved))
    same = replace(
        both, machines=tuple(replace(m, price_per_h=1.0) if m.id in (box, other) else m for m in base.machines)
    )
    assert len(set(kinds_of(same, {}))) == 1
    changes = [
        replace(same, machines=tuple(replace(m, cores=3.0) if m.id == other else m for m in same.machines)),
        replace(same, machines=tuple(replace(m, site="far") if m.id == other else m for m in same.machines)),
        replace(same, wires=tuple(replace(w, rtt_ms=7.0) if w.source == other else w for w in same.wires)),
        replace(same, wires=tuple(w for w in same.wires if (w.source, w.target) != (other, gateway))),
        replace(same, uplinks=()),
    ]
    assert [len(set(kinds_of(change, {}))) for change in changes] == [2, 2, 2, 2, 1]
    assert len(set(kinds_of(same, {("cores", box): 1.0}))) == 2
    assert len(set(kinds_of(same, {("cores", box): 1.0, ("cores", other): 0.5}))) == 2
    assert len(set(kinds_of(same, {("cores", box): 1.0, ("cores", other): 1.0}))) == 1
    assert len(set(kinds_of(same, {("bits", other, gateway): 1.0}))) == 2


def renamed_source(query, box, other):
    candidates = tuple(
        replace(
            candidate,
            steps=tuple(
                replace(
                    step,
                    options=tuple(
                        replace(option, machine=other if option.machine == box else option.machine)
                        for option in step.options
                    ),
                )
                for step in candidate.steps
            ),
        )
        for candidate in query.candidates
    )
    return replace(query, id="moved", source=other, candidates=candidates)


def test_queries_that_name_or_share_with_others_are_kinds_of_their_own():
    problem = site_problem(3)
    a, b, c = problem.queries
    split, apart = replace(a, splittable=True), replace(b, apart_from=frozenset({c.id}))
    forms = Forms(Network.of(problem), replace(problem, queries=(split, apart, c)))
    assert [forms.shares(query) for query in (split, apart, c)] == [False, False, False]
    assert Forms(Network.of(problem), problem).shares(a)
    shared = replace(problem, sharing=Sharing.PROCESS)
    assert Forms(Network.of(shared), shared).shares(a)
    candidates = tuple(
        replace(each, steps=tuple(replace(step, share_key="k") for step in each.steps)) for each in a.candidates
    )
    assert not Forms(Network.of(shared), shared).shares(replace(a, candidates=candidates))


def test_only_what_items_can_reach_is_looked_at():
    problem = site_problem(1)
    query = problem.queries[0]
    cut = replace(problem, wires=tuple(wire for wire in problem.wires if wire.target != "cloud"))
    form = Forms(Network.of(cut), cut).form(query)
    assert "cloud" not in form.ends
    small, there = reduced(query, form)
    options = {option.machine for candidate in small.candidates for step in candidate.steps for option in step.options}
    assert options == {query.source, "s000-gateway"}
    assert there.places[0] == ((0, 1, 2), (3, 4, 5))


def test_every_field_is_part_of_the_kind_or_known_not_to_matter():
    """Who adds a field says in kinds.py what it does to kinds, then here."""
    known = {
        Option: "machine cores service capacity_per_s memory_bytes accelerator_slots accelerator_memory_bytes batch "
        "replicas_most",
        Step: "operator_id inputs output_bytes options items_per_item single site_inputs share_key pooled",
        Candidate: "configuration accuracy steps source_bytes outputs latency_uncertainty_ratio "
        "stage_correlation_ratio",
        QueryProblem: "id rate_per_s weight slo source candidates answer_to_source arrival_cv2 splittable apart_from "
        "stream selector at_source freely slo_probability_ratio impossible",
        Machine: "id tier site cores memory_bytes accelerator_slots accelerator_memory_bytes price_per_h billing count "
        "exclusive cordoned draining labels",
        Wire: "source target bandwidth_bit_per_s rtt_ms price_per_gb",
        Uplink: "id wires bandwidth_bit_per_s",
    }
    assert {kind: [field.name for field in fields(kind)] for kind in known} == {
        kind: names.split() for kind, names in known.items()
    }
    assert Slo.__hash__ is not None


class NoSolver:
    def solve(self, milp, work):
        return MilpResult(status=MilpStatus.FAILED, values=(), objective=0.0, bound=0.0, detail="switched off")


@pytest.mark.slow
def test_a_fleet_of_sites_gets_a_clean_selection_that_says_what_was_left_out():
    problem = site_problem(40, cloud_cores=4.0, rates=1)
    found = select(problem, NoSolver(), limits=SelectLimits(runner_ups=10)).selection
    assert audit(problem, found) == ()
    assert len(found.plans) > 10
    assert [plan.runner_up.startswith("not looked for") for plan in found.plans] == [False] + [True] * (
        len(found.plans) - 1
    )
