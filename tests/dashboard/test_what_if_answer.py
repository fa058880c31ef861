"""The answer to a what-if, as a page shows it."""

from dataclasses import replace

from circinus.model.plan import NO_PLANS, Certainty, Interval, OperatorPlan, Plan, Selection, UnplacedQuery
from cloud_planner.core.diff import diff
from cloud_planner.dashboard.what_if_answer import answer_of
from cloud_planner.trials import Tried


def plan(query_id="gate", where="box", *, rate=4.0, cost=0.1, knob=1, replicas=1, **changes):
    operator = OperatorPlan(
        operator_id="read",
        device_id=where,
        replicas=replicas,
        share_ratio=1.0,
        cores=0.5,
        accelerator_slots=0,
        accelerator_memory_bytes=0,
        memory_bytes=0,
        batch=1,
        service_ms=20.0,
    )
    values = {
        "query_id": query_id,
        "configuration": {"read.depth": knob, "read.rate": 0.5},
        "operators": (operator,),
        "latency_ms": Interval(value=100.0, low=90.0, high=110.0),
        "latency_p50_ms": 60.0,
        "accuracy_ratio": Interval(value=0.9, low=0.88, high=0.92),
        "cost_per_h": cost,
        "slo_probability_ratio": 0.98,
        "item_goodput_per_s": rate,
    }
    return Plan(**(values | changes))


def selection(*plans, goodput=8.0, cost=0.2, unplaced=()) -> Selection:
    return replace(
        NO_PLANS,
        plans=plans,
        unplaced=tuple(UnplacedQuery(query_id=one, reason="no room") for one in unplaced),
        goodput_per_s=goodput,
        goodput_bound_per_s=goodput,
        cost_per_h=cost,
        cost_bound_per_h=cost,
    )


def answer(before, after, *, explained=None, told=("gate: 4 -> 8 items/s",), now=None):
    tried = Tried(told=told, diff=diff(before, after), explained=explained or {"why": "the cheapest there is"})
    return answer_of(tried, "gate", now if now is not None else plan())


def test_a_plan_that_moves_is_shown_before_and_after():
    found = answer(selection(plan()), selection(plan(where="cloud", cost=0.3)))
    assert found.headline == "Its plan would move"
    assert found.placed
    assert found.before.parts[0].device_id == "box"
    assert found.after.parts[0].device_id == "cloud"


def test_a_plan_that_stays_is_the_one_that_is_there_now():
    found = answer(selection(plan()), selection(plan()))
    assert found.headline == "Its plan would stay as it is"
    assert found.before == found.after
    assert found.before.knobs == (("read.depth", "1"), ("read.rate", "0.5"))


def test_a_plan_that_is_lost_says_why_and_what_would_bring_it_back():
    conflict = {
        "reason": "in the way together",
        "limits": [{"text": "cores on box"}],
        "relaxations": [{"text": "+1 core on box"}],
        "together": [],
        "displaces": ["yard"],
    }
    found = answer(
        selection(plan()),
        selection(goodput=0.0, unplaced=["gate"]),
        explained={"why": "in the way together", "conflict": conflict, "exact": False},
    )
    assert found.headline == "It would lose its plan"
    assert not found.placed
    assert found.binding == ("cores on box",)
    assert found.relaxations == ("+1 core on box",)
    assert found.displaces == ("yard",)
    assert not found.exact


def test_what_binds_a_plan_is_told_with_what_it_would_save():
    explained = {
        "why": "w",
        "margins": [
            {
                "limit": {"text": "latency <= 100 ms"},
                "value": 99.8,
                "slack": 0.2,
                "tight": True,
                "cheaper_at": {"text": "latency 120 ms"},
                "saves_per_h": 0.05,
            }
        ],
        "binding": [
            {"relaxation": {"text": "latency 120 ms"}, "saves_per_h": 0.05},
            {"relaxation": {"text": "+1 core on box"}, "saves_per_h": 0.02},
        ],
        "conflict": None,
    }
    found = answer(selection(plan()), selection(plan()), explained=explained)
    assert (found.bounds[0].tight, found.bounds[0].cheaper) == (True, "latency 120 ms saves 0.05 per hour")
    assert found.binding == ("+1 core on box saves 0.02 per hour",)


def test_figures_say_which_way_is_better():
    found = answer(selection(plan()), selection(plan(), goodput=12.0, cost=0.5))
    steps = {step.label: step for step in found.steps}
    assert (steps["Goodput"].change, steps["Goodput"].better) == (4.0, True)
    assert steps["Cost per hour"].better is False
    assert steps["Queries with a plan"].better is None
    assert "Provisional" not in steps


def test_other_queries_that_change_are_rows_and_the_rest_is_counted():
    before = selection(plan(), plan("yard"), plan("roof"), plan("door"))
    after = selection(plan(), plan("yard", "cloud", knob=2), plan("door", replicas=2), unplaced=["roof"])
    found = answer(before, after)
    rows = {row.query_id: row for row in found.changes}
    assert rows["yard"].change == "moved, reconfigured"
    assert rows["yard"].after == "read on cloud; read.depth=2"
    assert rows["door"].after == "read 2 × 0.5 on box"
    assert (rows["roof"].change, rows["roof"].reason) == ("unplaced", "no room")
    assert "gate" not in rows
    assert found.unchanged == 1


def test_a_provisional_plan_is_marked():
    found = answer(selection(plan()), selection(plan(where="cloud", certainty=Certainty.PROVISIONAL)))
    assert found.after.provisional


def test_long_lists_are_cut_and_say_how_much_more_there_is():
    many = [plan(f"q{at:03}") for at in range(60)]
    moved = [plan(f"q{at:03}", "cloud") for at in range(60)]
    found = answer(selection(plan(), *many), selection(plan(), *moved), told=tuple(str(at) for at in range(12)))
    assert (len(found.changes), found.changes_more) == (40, 20)
    assert (len(found.told), found.told_more) == (8, 4)
