"""The selection benchmark: instances add up, the check finds what is wrong, curves are read rightly."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud_planner.core.column_generation.space import NONE, Kind

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("check", "curves", "instances", "kinds", "must", "plan", "report", "rivals", "runs", "summary")


@pytest.fixture(scope="module")
def bench():
    """The benchmark's modules by their short names."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield SimpleNamespace(**{name: __import__(f"selection_{name}") for name in MODULES})
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        for name in [name for name in sys.modules if name.startswith(("selection_", "search_"))]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def tables(bench):
    """Made up: a plan on the box, one on the gateway, one in the cloud; slower boxes take more."""
    return tuple(
        bench.instances.PlanTable(
            kind=Kind(
                cost_per_h=np.array([0.1, 0.2, 0.3]),
                use=np.array([[0.5 / ratio, 0, 0, 0], [0, 0.5, 0, 0], [0.1, 0, 0.4, 3.0]]),
            ),
            speed_ratio=ratio,
        )
        for ratio in (0.25, 0.5, 1.0)
        for _ in range(2)
    )


@pytest.fixture(scope="module")
def tight(bench, tables):
    return bench.instances.instance(tables, bench.plan.SMALL, 1)


# Instances


def test_a_query_runs_on_a_box_of_its_kind_with_the_gateway_and_uplink_of_its_site(bench, tables, tight):
    size = bench.plan.SMALL
    boxes, sites = size.sites * bench.instances.BOXES, size.sites
    assert len(tight.capacity) == boxes + 2 * sites + 1
    speed = np.array([table.speed_ratio for table in tables])[tight.kind]
    box, gateway, cloud, uplink = tight.slots.T
    for one in np.unique(box):
        assert len(np.unique(speed[box == one])) == 1
    assert (gateway - boxes == box // bench.instances.BOXES).all()
    assert (uplink - boxes - sites == box // bench.instances.BOXES).all()
    assert (cloud == len(tight.capacity) - 1).all()
    assert (tight.area[box] == tight.area[gateway]).all()
    assert tight.area[cloud[0]] == -1


def test_capacity_grows_with_the_fleet(bench, tables, tight):
    large = bench.instances.instance(tables, bench.plan.LARGE, 1)
    assert large.capacity.sum() == pytest.approx(10.0 * tight.capacity.sum())
    assert large.capacity[-1] == pytest.approx(10.0 * tight.capacity[-1])
    assert bench.plan.LARGE.devices == 10 * bench.plan.SMALL.devices == 1_000


def test_an_instance_is_a_function_of_its_seed(bench, tables, tight):
    again = bench.instances.instance(tables, bench.plan.SMALL, 1)
    other = bench.instances.instance(tables, bench.plan.SMALL, 2)
    assert (again.worth == tight.worth).all()
    assert (again.slots == tight.slots).all()
    assert (other.worth != tight.worth).any()


def test_a_loose_fleet_holds_all_with_a_fifth_to_spare(bench, tables):
    loose = bench.instances.instance(tables, bench.plan.SIZES[1], 1)
    choice = bench.instances.least_shares(bench.instances.instance(tables, bench.plan.SMALL, 1))
    load = loose.load(choice)
    assert (choice >= 0).all()
    assert loose.capacity[load > 0.0] == pytest.approx(1.2 * load[load > 0.0])
    goodput, cost = loose.goodput_per_s(choice), loose.cost_per_h(choice)
    assert bench.check.check(loose, choice, goodput, cost) == ()


def test_one_huge_site_has_one_uplink_as_wide_as_all_and_boxes_reach_any_gateway(bench, tables, tight):
    huge = bench.instances.instance(tables, bench.plan.SIZES[2], 1)
    assert set(huge.area[:-1].tolist()) == {0}
    assert len(np.unique(huge.slots[:, 3])) == 1
    assert huge.capacity.sum() == pytest.approx(tight.capacity.sum())
    sites_of_gateways = huge.slots[:, 1] - bench.plan.SMALL.sites * bench.instances.BOXES
    assert (sites_of_gateways != huge.slots[:, 0] // bench.instances.BOXES).any()


@pytest.mark.slow
def test_drawn_kinds_have_whole_templates_that_meet_their_slo(bench):
    kinds = bench.kinds.draw_kinds(1, 2)
    for kind, table in zip(kinds, bench.instances.plan_tables(kinds), strict=True):
        slo = kind.problem.queries[0].slo
        assert kind.template.complete
        assert len(table.kind.cost_per_h) == len(kind.template.routes) > 0
        assert (table.kind.use >= 0.0).all()
        assert (table.kind.use <= np.array([4.0, 8.0, 64.0, 200.0])).all()
        if slo.cost_per_h is not None:
            assert table.kind.cost_per_h.max() <= slo.cost_per_h * (1.0 + 1e-9)
    assert bench.kinds.draw_kinds(1, 1)[0].template.routes == kinds[0].template.routes


# The check


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), share=st.floats(0.0, 1.0))
def test_the_check_agrees_with_the_sums_of_the_space(bench, tight, seed, share):
    rng = np.random.default_rng(seed)
    choice = np.where(rng.random(tight.members) < share, rng.integers(3, size=tight.members), NONE)
    said = (tight.goodput_per_s(choice), tight.cost_per_h(choice))
    over = int((tight.load(choice) > tight.capacity * (1.0 + 1e-6)).sum())
    found = bench.check.check(tight, choice, *said)
    assert len(found) == over
    assert all("is taken" in one for one in found)


def test_the_check_finds_false_figures_and_plans_that_do_not_exist(bench, tight):
    choice = np.full(tight.members, NONE)
    choice[0] = 1
    worth, cost = float(tight.worth[0]), 0.2
    assert bench.check.check(tight, choice, worth, cost) == ()
    assert "goodput" in bench.check.check(tight, choice, worth + 1.0, cost)[0]
    assert "cost" in bench.check.check(tight, choice, worth, cost - 0.1)[0]
    choice[0] = 3
    assert "takes plan 3 of 3" in bench.check.check(tight, choice, 0.0, 0.0)[0]
    assert "choices for" in bench.check.check(tight, choice[1:], 0.0, 0.0)[0]


def test_a_bound_below_what_another_found_is_a_contradiction(bench):
    found = bench.check.contradictions({"one": 10.0, "two": 9.0}, {"one": 9.5})
    assert found == ("the bound of two is 9, one found 9.5",)


# Rivals


def test_the_greedy_keeps_every_limit_and_leaves_nobody_out_who_fits(bench, tight):
    found = bench.rivals.greedy(tight)
    point = found.points[-1]
    assert bench.check.check(tight, found.choice, point.goodput_per_s, point.cost_per_h) == ()
    left = np.append(tight.capacity - tight.load(found.choice), inf)
    assert (found.choice == NONE).any()
    for member in np.flatnonzero(found.choice == NONE).tolist():
        use = tight.kinds[tight.kind[member]].use
        assert not (use <= left[tight.slots[member]] - 1e-9).all(axis=1).any()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["HIGHS", "CBC"])
def test_the_naive_programme_is_right_where_it_gets_done(bench, tables, name):
    space = bench.instances.instance(tables, bench.instances.Size(queries=60), 3)
    # Bounded by the boxes alone, it is small enough to end.
    found = bench.rivals.naive(space, getattr(bench.rivals, name), 20.0, 1)
    last = found.points[-1]
    assert bench.check.check(space, found.choice, last.goodput_per_s, last.cost_per_h) == ()
    assert last.goodput_per_s <= last.bound_per_s * (1.0 + 1e-6)
    assert last.goodput_per_s >= bench.rivals.greedy(space).points[-1].goodput_per_s


def test_lines_of_the_solvers_search_are_read(bench):
    lines = [
        "Src  Proc. InQueue |  Leaves   Expl. | BestBound       BestSol              Gap |   Cuts   InLp",
        " z       0       0         0   0.00%   inf             -0                 Large        0      0    0  0  1.7s",
        " S       0       0         0   0.00%   13570.820884    7152.649004       89.73%        0      0    0  0  2.9s",
        "         3       2         1   9.00%   8068.315219     7152.649004       12.80%     3869    423    2  9  8.1s",
    ]
    assert bench.rivals.highs_steps(lines)[1:] == [(2.9, 7152.649004, 13570.820884), (8.1, 7152.649004, 8068.315219)]


# Curves


def curve(bench):
    point = bench.curves.Point
    return (
        point(elapsed_s=0.5, goodput_per_s=50.0, cost_per_h=5.0),
        point(elapsed_s=2.0, goodput_per_s=80.0, cost_per_h=8.0, bound_per_s=100.0, linear_per_s=110.0),
        point(elapsed_s=9.0, goodput_per_s=95.0, cost_per_h=8.0, bound_per_s=100.0, cost_bound_per_h=6.0),
    )


def test_a_gap_is_to_what_was_known_at_that_time(bench):
    points = curve(bench)
    assert bench.curves.at(points, 0.4).gap_ratio == 1.0
    assert bench.curves.at(points, 0.4).cost_gap_ratio == 1.0
    assert bench.curves.at(points, 1.0).gap_ratio == 1.0
    assert bench.curves.at(points, 5.0).gap_ratio == pytest.approx(0.2)
    assert bench.curves.at(points, 5.0).linear_gap_ratio == pytest.approx(30.0 / 110.0)
    assert bench.curves.at(points, 9.0).cost_gap_ratio == pytest.approx(0.25)
    assert bench.curves.first(points, 0.05, lambda point: point.gap_ratio) == 9.0
    assert bench.curves.first(points, 0.01, lambda point: point.gap_ratio) == inf


def test_a_thinned_curve_reads_the_same_where_it_is_read(bench):
    rng = np.random.default_rng(1)
    times = np.sort(rng.uniform(0.01, 70.0, size=3_000)).tolist()
    points = tuple(
        bench.curves.Point(elapsed_s=time_s, goodput_per_s=float(number), cost_per_h=1.0)
        for number, time_s in enumerate(times)
    )
    thin = bench.curves.thinned(points)
    assert len(thin) < 140
    for time_s in (*bench.curves.TIMES_S, 80.0):
        assert bench.curves.at(thin, time_s) == bench.curves.at(points, time_s)


# Lines and claims


def line(bench, **changes):
    case = bench.plan.Case(size=bench.plan.SMALL, seed=1, method=bench.plan.OURS, seconds=15.0)
    made = bench.runs.Line(
        case=case,
        code="c",
        queries=1_000,
        plans=3_000,
        worth_per_s=200.0,
        points=curve(bench),
        elapsed_s=9.0,
        cpu_s=9.0,
    )
    return replace(made, **changes)


def test_lines_come_back_as_they_were_written_and_those_of_other_code_do_not_count(bench, tmp_path):
    made = line(bench, findings=("one",), notes=("two",))
    path = tmp_path / "runs.jsonl"
    path.write_text(bench.runs.text_of(made) + "\n")
    assert bench.runs.done(path, "c") == {made.case.key: made}
    assert bench.runs.done(path, "d") == {}
    assert bench.runs.done(path, None) == {made.case.key: made}


@pytest.mark.slow
@pytest.mark.system
def test_what_ours_says_of_itself_is_right(bench, tables):
    case = replace(line(bench).case, size=bench.instances.Size(queries=60), seconds=2.0)
    found = bench.runs.work(case, tables, "c")
    assert found.findings == ()
    assert found.placed > 0
    assert found.last.goodput_per_s <= found.last.bound_per_s <= found.last.linear_per_s * (1.0 + 1e-9)


def test_a_plans_cases_are_told_apart(bench):
    for plan in (bench.plan.QUICK, bench.plan.FULL):
        keys = [case.key for case in plan.cases()]
        assert len(set(keys)) == len(keys)


def test_the_worst_seed_decides_a_claim(bench):
    case = line(bench).case
    better = tuple(replace(point, goodput_per_s=99.5) for point in curve(bench))
    summary = bench.summary.Summary(
        lines=(line(bench), line(bench, case=replace(case, seed=2), points=better)),
    )
    bars = {bar.name: bar for bar in bench.must.bars(summary)}
    gap = bars["gap, 1,000 x 100 tight, 15 s of 15 s"]
    assert gap.figure.worst == pytest.approx(0.05)
    assert gap.figure.mean == pytest.approx(0.0275)
    assert gap.kept is False
    assert bars["wrong"].kept is True
    assert not any("10,000" in name for name in bars)


def test_a_selection_above_anothers_bound_is_told(bench):
    case = line(bench).case
    rival = line(bench, case=replace(case, method=bench.rivals.HIGHS))
    above = replace(rival, points=(bench.curves.Point(elapsed_s=1.0, goodput_per_s=101.0, cost_per_h=1.0),))
    summary = bench.summary.Summary(lines=(line(bench), above))
    assert len(summary.wrong()) == 1
    assert "found 101" in summary.wrong()[0]


@pytest.mark.slow
def test_a_report_ends_with_its_figures_as_json(bench, tmp_path, capsys):
    case = replace(line(bench).case, growth=True, seconds=60.0)
    lines = [line(bench), line(bench, case=case)]
    assert bench.report.report(lines, bench.plan.QUICK, tmp_path, 60.0) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert document["benchmark"] == "selection"
    assert "memory" in {bar["name"] for bar in document["bars"]}
    assert (tmp_path / "quick-growth.png").exists()
    assert "quick" in json.loads((tmp_path / "results.json").read_text())
    assert "### Must be shown" in (tmp_path / "results.md").read_text()
