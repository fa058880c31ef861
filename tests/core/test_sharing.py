"""What queries share on a machine, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_problems import exact, machine, option, wires_between

from circinus.model.query import Slo
from cloud_planner.core.audit import audit
from cloud_planner.core.problem import Candidate, Problem, QueryProblem, Sharing, Step, Waiting
from cloud_planner.core.select import MilpResult, MilpStatus, select
from cloud_planner.solver import CbcSolver


class BrokenSolver:
    """Never solves anything."""

    def solve(self, milp, work):
        return MilpResult(status=MilpStatus.FAILED, values=(), objective=0.0, bound=0.0)


def step(name, before, *options, key="", out=1000.0):
    return Step(operator_id=name, inputs=(before,), output_bytes=out, options=options, share_key=key)


def query(name, *steps, **changes):
    candidate = Candidate(
        configuration={"a.knob": 0},
        accuracy=exact(1.0),
        steps=steps,
        source_bytes=1000.0,
        outputs=(steps[-1].operator_id,),
    )
    given = {"rate_per_s": 1.0, "weight": 1.0, "source": None, "slo": Slo(), **changes}
    return QueryProblem(id=name, candidates=(candidate,), **given)


def several(count, *steps, sharing=Sharing.PROCESS, machines=None, wires=(), **changes):
    queries = tuple(query(f"q{number}", *steps, **changes) for number in range(count))
    return Problem(
        machines=machines or (machine("m1", cores=4.0, memory_bytes=1000),),
        wires=tuple(wires),
        queries=queries,
        sharing=sharing,
        waiting=Waiting.NONE,
    )


def selected(made):
    selection = select(made, CbcSolver()).selection
    assert audit(made, selection) == ()
    return selection


def served(made):
    return len(selected(made).plans)


def test_memory_is_taken_once_for_each_process():
    heavy = step("a", "source", option("m1", cores=0.25, memory=400), key="k")
    # Alone two fit; four quarters of a core live in one process, eight in two.
    assert served(several(9, heavy, sharing=Sharing.NONE)) == 2
    assert served(several(9, heavy)) == 8
    assert served(several(9, step("a", "source", option("m1", cores=0.25, memory=400)))) == 2


def test_other_keys_are_other_processes():
    made = several(6, step("a", "source", option("m1", cores=0.25, memory=400), key="k"))
    other = replace(made.queries[0].candidates[0].steps[0], share_key="l")
    queries = tuple(
        replace(each, candidates=(replace(each.candidates[0], steps=(other,)),)) if number % 3 == 0 else each
        for number, each in enumerate(made.queries)
    )
    assert served(replace(made, queries=queries)) == 6
    third = tuple(
        replace(each, candidates=(replace(each.candidates[0], steps=(replace(other, share_key=f"k{number % 3}"),)),))
        for number, each in enumerate(made.queries)
    )
    assert served(replace(made, queries=third)) == 4


def test_a_process_serves_one_core_or_the_largest_replica():
    made = several(4, step("a", "source", option("m1", cores=1.5, memory=400), key="k"))
    roomy = replace(made, machines=(machine("m1", cores=8.0, memory_bytes=1000),))
    # 1.5 cores each: two processes hold two of them.
    assert served(roomy) == 2


def test_waiting_does_not_depend_on_who_shares():
    made = several(3, step("a", "source", option("m1", cores=0.25, memory=400, variance=100.0), key="k"))
    queued = replace(
        made,
        waiting=Waiting.QUEUE,
        queries=tuple(replace(each, slo=Slo(latency_ms=1000.0)) for each in made.queries),
    )
    together = {plan.query_id: plan.latency_ms.value for plan in selected(queued).plans}
    alone = selected(replace(queued, queries=queued.queries[:1])).plans[0].latency_ms.value
    assert together == {"q0": pytest.approx(alone), "q1": pytest.approx(alone), "q2": pytest.approx(alone)}


def two_steps(*, key="k", price=1.0):
    """A heavy step that all have in common, and a light one after it."""
    return (
        step("a", "source", option("m1", cores=1.0), key=key, out=10_000.0),
        step("b", "a", option("m1", cores=0.5), key="l"),
    )


def test_queries_of_one_stream_run_what_they_have_in_common_once():
    machines = (machine("m1", cores=2.0),)
    alone = several(4, *two_steps(), sharing=Sharing.PROCESS, machines=machines, stream="gate")
    assert served(alone) == 1
    made = replace(alone, sharing=Sharing.PREFIX)
    # The whole of both steps is run once: 1.5 cores.
    assert served(made) == 4
    assert selected(made).cost_per_h == pytest.approx(0.75)
    apart = tuple(replace(each, stream=each.id) for each in made.queries)
    assert served(replace(made, queries=apart)) == 1


def test_only_what_all_upstream_agrees_on_is_merged():
    made = several(4, *two_steps(), sharing=Sharing.PREFIX, machines=(machine("m1", cores=2.0),), stream="gate")
    unkeyed = tuple(
        replace(each, candidates=(replace(each.candidates[0], steps=two_steps(key="")),)) for each in made.queries
    )
    assert served(replace(made, queries=unkeyed)) == 1
    slower = tuple(replace(each, rate_per_s=0.5 + 0.1 * place) for place, each in enumerate(made.queries))
    assert served(replace(made, queries=slower)) == 1


def test_a_merged_step_gets_its_items_once():
    names = ["camera", "m1"]
    machines = tuple(machine(name, cores=4.0) for name in names)
    # 8 kbit/s for each that is sent, of 12.
    wires = wires_between(names, bandwidth=12_000.0)
    made = several(
        3, *two_steps(), sharing=Sharing.PREFIX, machines=machines, wires=wires, source="camera", stream="gate"
    )
    assert served(replace(made, link_utilization_cap=1.0)) == 3
    assert served(replace(made, link_utilization_cap=1.0, sharing=Sharing.PROCESS)) == 1


def test_what_is_saved_is_billed_in_proportion():
    made = several(4, *two_steps(), sharing=Sharing.PREFIX, machines=(machine("m1", cores=2.0),), stream="gate")
    plans = selected(made).plans
    assert [plan.cost_per_h for plan in plans] == pytest.approx([0.75] * 4)
    assert [plan.billed_per_h for plan in plans] == pytest.approx([0.75 / 4] * 4)


def test_exclusive_machines_types_and_split_queries_share_nothing():
    heavy = step("a", "source", option("m1", cores=0.25, memory=400), key="k")
    two = machine("m1", cores=4.0, memory_bytes=1000, count=2)
    assert served(several(9, heavy, machines=(two,))) == 4
    assert served(several(9, heavy, splittable=True)) == 2


def test_an_overfull_machine_is_found():
    heavy = step("a", "source", option("m1", cores=0.25, memory=400), key="k")
    made = several(8, heavy)
    eight = selected(made)
    alone = replace(made, sharing=Sharing.NONE)
    assert [finding.message for finding in audit(alone, eight)] == [
        "replicas need 4 machines, there are 1",
        "replicas need 4 machines, 1 are claimed",
    ]
    small = replace(made, machines=(machine("m1", cores=4.0, memory_bytes=700),))
    assert "has 700 bytes of memory, its processes and replicas take 800" in [
        finding.message for finding in audit(small, eight)
    ]


def test_without_a_solver_what_stands_shares_too():
    heavy = step("a", "source", option("m1", cores=0.25, memory=400), key="k")
    made = several(9, heavy)
    selection = select(made, BrokenSolver()).selection
    assert audit(made, selection) == ()
    assert len(selection.plans) == 8
