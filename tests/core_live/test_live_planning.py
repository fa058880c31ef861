from dataclasses import replace

import pytest
from live_values import a_plan, choices, device, fleet, pipeline, query, table

from circinus.model.plan import Certainty, Selection, UnplacedQuery
from cloud_planner.core.needs import Circumstances, ProfilePolicy
from cloud_planner.core.planning import Snapshot, draft, plan, told
from cloud_planner.core.select import SelectLimits, Work
from cloud_planner.solver import CbcSolver

CAMERA = device("camera", cores=4.0)
CONFIGURATION = choices()[0].configuration
BELIEVED = {"certified": False, "probability_ratio": 0.8}


def snapshot(queries, chosen, *, devices=(CAMERA,), **changes):
    policy = ProfilePolicy(time_samples=2)
    return Snapshot(
        fleet=fleet(*devices, choices=chosen, **changes),
        queries=tuple(queries),
        circumstances=Circumstances(connected=frozenset({"camera"}), policy=policy),
    )


def selection(*plans, goodput_per_s=4.0, bound_per_s=4.0, unplaced=()):
    return Selection(
        plans=plans,
        unplaced=unplaced,
        machines=(),
        traffic_cost_per_h=0.0,
        goodput_per_s=goodput_per_s,
        goodput_bound_per_s=bound_per_s,
        gap_ratio=(bound_per_s - goodput_per_s) / bound_per_s,
        cost_per_h=0.0,
        cost_bound_per_h=0.0,
        cost_gap_ratio=0.0,
        solver_status="optimal",
    )


def worth(made):
    return {one.id: one.weight * one.rate_per_s for one in made.problem.queries}


def test_all_provisional_queries_together_are_worth_less_than_the_lightest_certified_one():
    light = replace(query("light", rate_per_s=1.0), weight=0.5)
    heavy = [replace(query(name, rate_per_s=8.0), weight=100.0) for name in ("p1", "p2")]
    chosen = {"light": choices(), "sure": choices(), **{one.id: choices(**BELIEVED) for one in heavy}}
    made = draft(snapshot([light, query("sure"), *heavy], chosen))
    found = worth(made)
    assert found["light"] == 0.5
    assert found["sure"] == 2.0
    assert 0.0 < found["p1"] + found["p2"] < 0.5
    assert made.beliefs == {"p1": 0.8, "p2": 0.8}
    assert made.scale < 1.0


def test_without_certified_ones_provisional_queries_weigh_what_they_weigh():
    made = draft(snapshot([query("p")], {"p": choices(**BELIEVED)}))
    assert (worth(made), made.scale) == ({"p": 2.0}, 1.0)
    light = replace(query("p", rate_per_s=1.0), weight=0.01)
    made = draft(snapshot([query("sure"), light], {"sure": choices(), "p": choices(**BELIEVED)}))
    # It is light enough as it is.
    assert (worth(made)["p"], made.scale) == (0.01, 1.0)


def test_a_provisional_plan_is_told_as_one_and_not_counted():
    queries = [replace(query("p"), weight=3.0), query("sure")]
    shot = snapshot(queries, {"p": choices(**BELIEVED), "sure": choices()})
    made = draft(shot)
    plans = [
        a_plan("p", CONFIGURATION, item_goodput_per_s=6.0 * made.scale, cut="camera", read="camera"),
        a_plan("sure", CONFIGURATION, item_goodput_per_s=1.5, cut="camera", read="camera"),
    ]
    solved = sum(worth(made).values())
    found = told(shot, made, selection(*plans, goodput_per_s=solved, bound_per_s=solved))
    provisional, sure = found.plans
    assert (provisional.certainty, sure.certainty) == (Certainty.PROVISIONAL, Certainty.CERTIFIED)
    assert provisional.item_goodput_per_s == pytest.approx(6.0)
    assert provisional.slo_probability_ratio == pytest.approx(0.8)
    assert (sure.item_goodput_per_s, sure.slo_probability_ratio) == (1.5, 1.0)
    assert (found.goodput_per_s, found.provisional_per_s) == (2.0, 6.0)
    assert (found.goodput_bound_per_s, found.gap_ratio) == (2.0, 0.0)


def test_a_plan_on_believed_times_is_provisional_until_they_are_measured():
    cloud = device("cloud", device_class="other", data_address="c:1")
    camera = device("camera", links=["cloud"])
    one = a_plan("q", CONFIGURATION, cut="camera", read="cloud")
    for classes, certainty in ((("fast",), Certainty.PROVISIONAL), (("fast", "other"), Certainty.CERTIFIED)):
        known = table(pipeline(), classes=classes)
        shot = snapshot([query()], {"q": choices()}, devices=(camera, cloud), tables=known)
        found = told(shot, draft(shot), selection(one))
        assert found.plans[0].certainty is certainty
        assert found.plans[0].slo_probability_ratio == 1.0
        counted = (found.goodput_per_s, found.provisional_per_s)
        assert counted == ((0.0, 2.0) if certainty is Certainty.PROVISIONAL else (2.0, 0.0))


def test_the_gap_is_told_against_what_certified_plans_could_reach():
    shot = snapshot([query("a"), query("b")], {"a": choices(), "b": choices()})
    one = a_plan("a", CONFIGURATION, cut="camera", read="camera")
    left = UnplacedQuery(query_id="b", reason="no room")
    found = told(shot, draft(shot), selection(one, goodput_per_s=2.0, bound_per_s=4.0, unplaced=(left,)))
    assert (found.goodput_per_s, found.goodput_bound_per_s, found.gap_ratio) == (2.0, 4.0, 0.5)


def test_a_provisional_query_gets_what_certified_ones_leave_over_and_never_their_place():
    # 20 ms each for cutting and reading, 12 a second: one query of this kind fills a core, at 70%.
    box = device("camera", cores=1.0)
    sure = query("sure", rate_per_s=12.0)
    heavy = replace(query("heavy", rate_per_s=12.0), weight=1000.0)
    limits = SelectLimits(work=Work(max_seconds=20.0))
    for devices, placed in (((box,), {"sure"}), ((replace(box, cores=2.0),), {"sure", "heavy"})):
        shot = snapshot([sure, heavy], {"sure": choices(), "heavy": choices(**BELIEVED)}, devices=devices)
        made = draft(shot)
        result = plan(made.problem, CbcSolver(), limits)
        assert result.findings == ()
        found = told(shot, made, result.selection)
        assert {one.query_id for one in found.plans} == placed
        assert found.goodput_per_s == 12.0
        assert found.provisional_per_s == pytest.approx(12_000.0 if "heavy" in placed else 0.0)


def test_a_query_that_only_waits_is_not_in_the_problem():
    made = draft(snapshot([query("a"), query("b")], {"a": choices()}))
    assert [one.id for one in made.problem.queries] == ["a"]
    assert list(made.assessment.profiling) == ["b"]
