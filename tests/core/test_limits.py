"""What a selection does and says under uplinks, budgets, cordons, data that stays and queries that stay apart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from small_problems import exact, machine, option, wires_between

from circinus.model.query import Slo
from cloud_planner.core.audit import audit
from cloud_planner.core.problem import Billing, Candidate, Problem, QueryProblem, Step, Uplink
from cloud_planner.core.select import select
from cloud_planner.solver import CbcSolver


def step(name, before, *options, **changes):
    return Step(operator_id=name, inputs=(before,), output_bytes=1000.0, options=options, **changes)


def query(name, *steps, slo=None, **changes):
    candidate = Candidate(
        configuration={"a.knob": 0},
        accuracy=exact(1.0),
        steps=steps,
        source_bytes=1000.0,
        outputs=(steps[-1].operator_id,),
    )
    given = {"rate_per_s": 1.0, "weight": 1.0, "source": None, **changes}
    return QueryProblem(id=name, slo=slo or Slo(), candidates=(candidate,), **given)


def problem(machines, queries, wires=(), **changes):
    return Problem(machines=tuple(machines), wires=tuple(wires), queries=tuple(queries), **changes)


def selected(made):
    selection = select(made, CbcSolver()).selection
    assert audit(made, selection) == ()
    return selection


def placed(made):
    """Machines by query."""
    return {plan.query_id: tuple(part.device_id for part in plan.operators) for plan in selected(made).plans}


def reasons(made):
    return {entry.query_id: entry.reason for entry in selected(made).unplaced}


def found_in(made, selection):
    return [finding.message for finding in audit(made, selection)]


def two_cameras(**changes):
    """Two cameras at a site whose items only the cloud can read: 8 kbit/s each."""
    names = ["one", "two", "cloud"]
    queries = [
        query(name, step("a", "source", option("cloud", cores=0.1)), source=name, weight=weight)
        for name, weight in (("one", 1.0), ("two", 2.0))
    ]
    up = Uplink(id="yard/up", wires=(("one", "cloud"), ("two", "cloud")), bandwidth_bit_per_s=2e4)
    made = problem([machine(name) for name in names], queries, wires_between(names), uplinks=(up,))
    return replace(made, **changes)


def test_links_share_what_their_uplink_carries():
    assert set(placed(two_cameras(link_utilization_cap=1.0))) == {"one", "two"}
    assert reasons(two_cameras(link_utilization_cap=0.7)) == {
        "one": "no capacity left: needs 0.571 of the planned rate of uplink yard/up, 0.429 is left"
    }


def test_an_uplink_says_how_long_a_transfer_takes():
    (plan, _) = selected(two_cameras(link_utilization_cap=1.0)).plans
    # Half a round trip each way, 8000 bits at 20 kbit/s, the service.
    assert plan.latency_ms.value == pytest.approx(4.0 + 400.0 + 10.0)


def test_an_overloaded_uplink_is_found():
    both = selected(two_cameras(link_utilization_cap=1.0))
    assert "no routes explain the shares within the capacity of links and uplinks" in found_in(two_cameras(), both)


def paid(budget_per_h, **changes):
    queries = [
        query("cheap", step("a", "source", option("m1", cores=0.2))),
        query("dear", step("a", "source", option("m1", cores=0.5)), weight=0.5),
    ]
    return problem([machine("m1", price_per_h=2.0, **changes)], queries, budget_per_h=budget_per_h)


def test_a_budget_bounds_the_whole_bill():
    assert set(placed(paid(1.4))) == {"cheap", "dear"}
    assert reasons(paid(1.3)) == {"dear": "no budget left: its cheapest plan adds 1 per hour, 0.9 of 1.3 are left"}
    assert reasons(paid(0.3))["cheap"] == ("budget <= 0.3 per hour: cheapest plan that there is costs 0.4 per hour")


def test_a_machine_paid_whole_is_within_the_budget_or_off():
    assert set(placed(paid(2.0, billing=Billing.WHOLE))) == {"cheap", "dear"}
    assert placed(paid(1.9, billing=Billing.WHOLE)) == {}


def test_a_bill_above_the_budget_is_found():
    both = selected(paid(1.4))
    assert found_in(paid(1.3), both) == ["costs 1.4 per hour, the budget is 1.3"]


def cordoned(*, running=(), rate_per_s=1.0):
    """A query that runs on m1 more cheaply than on m2; m1 is cordoned."""
    one = query("q", step("a", "source", option("m1", capacity=2.0), option("m2", cores=1.0)), rate_per_s=rate_per_s)
    machines = [machine("m1", cores=2.0, cordoned=True), machine("m2")]
    return problem(machines, [one], running=running)


def before_the_cordon(**changes):
    made = cordoned(**changes)
    free = replace(made, machines=tuple(replace(each, cordoned=False) for each in made.machines))
    return selected(free).plans


def test_a_cordoned_machine_takes_nothing_new():
    assert placed(cordoned()) == {"q": ("m2",)}


def test_what_runs_on_a_cordoned_machine_may_stay():
    assert placed(cordoned(running=before_the_cordon())) == {"q": ("m1",)}


def test_what_runs_on_a_cordoned_machine_may_not_grow():
    # 1.4 items per second fit one replica, 2 do not.
    assert placed(cordoned(running=before_the_cordon(), rate_per_s=1.4)) == {"q": ("m1",)}
    assert placed(cordoned(running=before_the_cordon(), rate_per_s=2.0)) == {"q": ("m2",)}


def test_what_is_new_on_a_cordoned_machine_is_found():
    selection = select(replace(cordoned(), running=before_the_cordon()), CbcSolver()).selection
    assert found_in(cordoned(), selection) == ["a has 1 replicas on m1, which is cordoned and runs 0 of them"]


def test_a_query_that_only_a_cordoned_machine_could_run_says_so():
    one = query("q", step("a", "source", option("m1")))
    made = problem([machine("m1", cordoned=True)], [one])
    assert reasons(made) == {"q": "no device but cordoned ones can run operator a; cordoned and so left out: m1"}


def apart(*, others=("m1",), **changes):
    """A stand-by that can run on m1, the gateway, beside its first choice."""
    first = query("first", step("a", "source", option("m1", cores=0.3)), source="camera", weight=2.0)
    options = [option(name, cores=0.3) for name in others]
    spare = query("spare", step("a", "source", *options), source="camera", apart_from=frozenset({"first"}))
    names = ["camera", "m1", "m2"]
    return problem(
        [machine(name, price_per_h=0.1 if name == "m1" else 1.0, **changes) for name in names],
        [first, spare],
        wires_between(names),
    )


def test_a_stand_by_shares_no_machine_with_its_first():
    assert placed(apart(others=("m1", "m2"))) == {"first": ("m1",), "spare": ("m2",)}
    assert reasons(apart()) == {"spare": "no machine of its own left: it must stay apart from first"}


def test_a_stand_by_may_use_its_own_source():
    made = apart(others=("camera",))
    first, spare = made.queries
    at_camera = replace(first, candidates=spare.candidates)
    assert placed(replace(made, queries=(at_camera, spare))) == {"first": ("camera",), "spare": ("camera",)}


def test_exclusive_machines_and_unlimited_types_keep_queries_apart_by_themselves():
    assert set(placed(apart(exclusive=True, count=2))) == {"first", "spare"}
    assert set(placed(apart(count=None))) == {"first", "spare"}
    assert set(placed(apart(count=2))) == {"first"}


def test_two_that_must_stay_apart_on_one_machine_are_found():
    made = apart()
    free = replace(made, queries=tuple(replace(each, apart_from=frozenset()) for each in made.queries))
    assert found_in(made, selected(free)) == ["must stay apart from first, and both are on m1"]


def sited(*, kept):
    """A camera whose operator could run at its site or, more cheaply, in the cloud."""
    reads = frozenset({"source"}) if kept else frozenset()
    one = query(
        "q",
        step("a", "source", option("near"), option("cloud"), site_inputs=reads),
        step("b", "a", option("cloud")),
        source="camera",
    )
    names = ["camera", "near", "cloud"]
    prices = {"camera": 0.0, "near": 2.0, "cloud": 1.0}
    machines = [
        machine(name, site="c" if name == "cloud" else "yard", price_per_h=prices[name], cores=2.0) for name in names
    ]
    return problem(machines, [one], wires_between(names))


def test_data_that_may_not_leave_its_site_is_read_there():
    assert placed(sited(kept=False)) == {"q": ("cloud", "cloud")}
    assert placed(sited(kept=True)) == {"q": ("near", "cloud")}


def test_data_that_has_left_its_site_is_found():
    gone = selected(sited(kept=False))
    assert found_in(sited(kept=True), gone) == [
        "no way through its machines has links, keeps data at its site where it must, and meets the bound on latency"
    ]


def test_a_query_whose_data_no_machine_at_its_site_can_read_says_so():
    made = sited(kept=True)
    far = replace(made.queries[0].candidates[0].steps[0], options=(option("cloud"),))
    candidate = replace(made.queries[0].candidates[0], steps=(far, made.queries[0].candidates[0].steps[1]))
    one = replace(made.queries[0], candidates=(candidate,))
    assert reasons(replace(made, queries=(one,))) == {
        "q": "the data of source -> a may not leave its site (the source is at yard), and no plan keeps it there"
    }
