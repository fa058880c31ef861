"""The goodput benchmark: loads add up, plans are judged by samples that no search saw, and nothing is overfilled."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, fields, replace
from math import inf, isnan
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("fleet", "methods", "must", "problem", "queries", "report", "runs", "search", "serving", "summary")
QUERIES = 6


@pytest.fixture(scope="module")
def bench():
    """The benchmark's modules by their short names, and those of the search benchmark that it builds on."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        named = {name: __import__(f"goodput_{name}") for name in MODULES}
        others = {"tables": "search_tables", "pools": "search_queries", "lines": "run_lines"}
        yield SimpleNamespace(**named, **{name: __import__(module) for name, module in others.items()})
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        for name in [name for name in sys.modules if name.startswith(("goodput_", "search_"))]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def fleet(bench):
    return bench.fleet.fleet(bench.fleet.Layout.EDGE_CLOUD)


@pytest.fixture(scope="module")
def stream(bench, fleet):
    return bench.queries.requests(3, "witness", fleet, QUERIES)


@pytest.fixture(scope="module")
def exact(bench, stream, fleet):
    return by_name(bench, "exact"), bench.search.search_all(by_name(bench, "exact"), stream, 3, fleet)


def by_name(bench, name):
    return next(one for one in bench.methods.methods() if one.name == name)


# Fleet


def test_capacity_and_price_are_of_all_machines(fleet):
    assert fleet.capacity == pytest.approx(sum(node.cores * node.speed_ratio for node in fleet.nodes))
    assert fleet.multiple(0.5).capacity == pytest.approx(fleet.capacity / 2.0)
    assert fleet.multiple(3.0).price_per_h == pytest.approx(3.0 * fleet.price_per_h)


def test_links_do_not_grow_with_the_fleet(fleet):
    assert fleet.multiple(4.0).wires == fleet.wires
    assert fleet.multiple(4.0).room().bit_per_s == fleet.room().bit_per_s


def test_layouts_have_the_tiers_that_they_are_named_after(bench):
    tiers = {
        layout: {node.tier.value for node in bench.fleet.fleet(layout).nodes if node.cores > 0.0}
        for layout in bench.fleet.Layout
    }
    assert tiers == {"edge + cloud": {"edge", "cloud"}, "edge": {"edge"}, "cloud": {"cloud"}}


def test_a_path_leads_over_links_and_adds_up(bench):
    for layout in bench.fleet.Layout:
        there = bench.fleet.fleet(layout)
        for path in there.paths:
            tiers = there.tiers(path)
            assert len(tiers) == len(path)
            assert all(tier.cores > 0.0 for tier in tiers)
            over = sum(tier.rtt_ms for tier in tiers)
            assert len(path) < 2 or over == pytest.approx(there.wire(path[0], path[-1]).rtt_ms)


def test_a_source_without_cores_runs_nothing(bench):
    there = bench.fleet.fleet(bench.fleet.Layout.CLOUD)
    for request in bench.queries.requests(1, "multiple", there, 2):
        (scored,) = request.space.score(request.held.figures[:1])
        on_source = (request.space.place == 0).any(axis=1)
        assert not np.isfinite(scored.latency_ms[on_source]).any()


# Load


@given(
    works=st.lists(st.floats(0.0, 3.0), min_size=1, max_size=30),
    capacity=st.floats(1.0, 20.0),
    load=st.floats(0.1, 5.0),
)
def test_a_load_is_as_near_as_whole_queries_come_to_it(bench, works, capacity, load):
    count = bench.queries.count_at(works, capacity, load)
    off = [abs(sum(works[:number]) / capacity - load) for number in range(1, len(works) + 1)]
    assert off[count - 1] == pytest.approx(min(off), abs=1e-9)


def test_more_load_is_the_same_queries_and_more(bench):
    works = [0.5, 0.0, 1.0, 0.25, 2.0, 0.4]
    counts = [bench.queries.count_at(works, 2.0, load) for load in (0.25, 0.75, 2.0)]
    assert counts == [1, 3, 6]


def test_the_same_seed_has_the_same_stream_however_long(bench, fleet, stream):
    again = bench.queries.requests(3, "witness", fleet, 2)
    for one, other in zip(again, stream, strict=False):
        assert one.slo == other.slo
        assert one.path == other.path
        assert one.content.rows.tolist() == other.content.rows.tolist()
        assert one.work == other.work


def test_a_witness_query_has_work_to_do(stream):
    assert all(request.work > 0.0 for request in stream)


# Truth


def test_no_search_sees_what_plans_are_judged_by(bench, stream):
    for request in stream:
        parts = bench.pools.world(request.content.pipeline).parts
        assert set(request.content.rows) <= set(parts[bench.tables.PROFILING])
        assert not set(request.content.rows) & set(np.concatenate([parts["validation"], parts["test"]]))


def test_held_out_samples_are_weighted_as_the_pool_is_mixed(bench, stream):
    request = stream[0]
    there = bench.pools.world(request.content.pipeline)
    kinds = int(there.contents.max()) + 1
    share = np.bincount(there.contents[request.content.rows], minlength=kinds) / len(request.content.rows)
    expected = np.zeros(there.table.scores.shape[1])
    for kind in range(kinds):
        rows = [row for part in ("validation", "test") for row in there.parts[part] if there.contents[row] == kind]
        expected += share[kind] * there.table.scores[rows].mean(axis=0)
    assert request.held.accuracy == pytest.approx(expected)
    assert (request.held.error < 0.2).all()


def test_the_cheapest_true_plan_meets_all_bounds(bench, fleet, stream, exact):
    judge = bench.problem.Judge(fleet, stream)
    for answer in exact[1]:
        placed = bench.problem.from_row(stream[answer.number], answer.wanted, 0)
        verdict = judge(placed)
        assert verdict.meets
        assert verdict.cost_per_h == pytest.approx(answer.wanted.cost_per_h[0])
        assert not verdict.surely_short


def test_both_latency_models_agree_where_each_operator_has_one_replica(bench, fleet, stream, exact):
    judge, looked_at = bench.problem.Judge(fleet, stream), 0
    for answer in exact[1]:
        request, plans = stream[answer.number], answer.wanted
        rows = np.flatnonzero((plans.takes.replicas == 1).all(axis=1))
        chain = all(len(inputs) == 1 for inputs in request.space.shape.inputs)
        for row in rows[:3] if chain else []:
            placed = bench.problem.from_row(request, plans, int(row))
            known = request.scored[placed.configuration].latency_ms[plans.plan[row]]
            assert judge.latency_ms(placed) == pytest.approx(known, rel=0.01)
            looked_at += 1
    assert looked_at


def test_a_plan_that_misses_a_bound_does_not_count(bench, fleet, stream, exact):
    request = stream[0]
    placed = bench.problem.from_row(request, exact[1][0].wanted, 0)
    for bound in ({"accuracy_ratio": 1.01}, {"latency_ms": 1e-3}, {"cost_per_h": 1e-6}):
        stricter = replace(request, slo=replace(request.slo, **bound))
        verdict = bench.problem.Judge(fleet, [stricter])(placed)
        assert not verdict.meets
        assert [verdict.accurate, verdict.in_time, verdict.in_budget].count(False) == 1


# Profiling


def test_queries_of_a_site_take_turns_and_sites_do_not_wait_for_each_other(bench, fleet, stream, exact):
    answers = [replace(answer, profile_s=100.0) for answer in exact[1]]
    ready = bench.search.ready_times_s(stream, answers, fleet)
    seen = {}
    for request, when in zip(stream, ready, strict=True):
        site = fleet.node(request.path[0]).site
        seen[site] = seen.get(site, 0) + 1
        assert when == pytest.approx(100.0 * seen[site])


@pytest.mark.parametrize(("ready_s", "left"), [(0.0, 1.0), (300.0, 1.0), (2100.0, 0.5), (3900.0, 0.0), (9e9, 0.0)])
def test_what_is_decided_late_counts_for_what_is_left(bench, ready_s, left):
    assert bench.search.lifetime_left_ratio(ready_s) == pytest.approx(left)


def test_profiling_for_longer_than_all_lifetimes_is_worth_nothing(bench, fleet, stream, exact):
    slow = [replace(answer, profile_s=1e6) for answer in exact[1]]
    for name in ("exact", "exact, first come"):
        service = bench.serving.serve(by_name(bench, name), stream, slow, fleet)
        assert service.placed == ()


# Serving


@pytest.mark.slow
@pytest.mark.parametrize("name", ["exact", "exact, first come", "videostorm", "jellybean"])
def test_no_machine_is_overfilled(bench, fleet, stream, exact, name):
    method = by_name(bench, name)
    answers = exact[1] if name.startswith("exact") else bench.search.search_all(method, stream, 3, fleet)
    for there in (fleet.multiple(0.5), fleet):
        service = bench.serving.serve(method, stream, answers, there)
        used = dict.fromkeys((node.id for node in there.nodes), 0.0)
        for placed in service.placed:
            for spot in placed.spots:
                used[spot.machine] += spot.cores * spot.replicas
        assert all(used[node.id] <= node.cores + 1e-6 for node in there.nodes)
    assert service.placed


@pytest.mark.slow
def test_the_selection_serves_no_fewer_than_first_come_and_its_bound_holds(bench, fleet, stream, exact):
    method, answers = exact
    judge = bench.problem.Judge(fleet, stream)
    first = by_name(bench, "exact, first come")
    for multiple in (0.2, 1.0):
        there = fleet.multiple(multiple)
        chosen = bench.serving.serve(method, stream, answers, there)
        plain = bench.serving.serve(first, stream, answers, there)
        mine, theirs = (bench.serving.worth(one, answers, judge) for one in (chosen, plain))
        assert mine.goodput >= theirs.goodput
        assert mine.goodput <= mine.bound + 1e-6
        assert mine.false_admits == 0
        assert mine.queries == QUERIES


@pytest.mark.slow
def test_the_same_cell_gives_the_same_goodput(bench, fleet, stream):
    method = by_name(bench, "random reinforced")
    judge = bench.problem.Judge(fleet, stream)
    found = []
    for _ in range(2):
        answers = bench.search.search_all(method, stream[:3], 3, fleet)
        of = asdict(bench.serving.worth(bench.serving.serve(method, stream[:3], answers, fleet), answers, judge))
        found.append({name: value for name, value in of.items() if name not in ("search_cpu_s", "plan_s")})
    assert found[0] == found[1]


# Equal goodput


@given(threshold=st.floats(0.08, 3.9))
def test_bisection_finds_the_least_multiple(bench, threshold):
    found = bench.serving.least_multiple(lambda multiple: multiple >= threshold, steps=12)
    assert threshold <= found <= threshold * 1.01


def test_bisection_says_so_when_no_multiple_reaches(bench):
    assert bench.serving.least_multiple(lambda _: False) == inf


# Lines and figures


def lines(bench, goodputs, *, bound=10.0, layout="edge + cloud"):
    """A line of each method with the same goodput at loads 1 and 3."""
    kinds = {one.name: one.kind for one in bench.methods.methods()}
    cell = bench.runs.Cell(layout=layout, draw="multiple", seed=1)
    row = {
        "placed": 10.0,
        "false_admits": 1.0,
        "pool_false_admits": 0.0,
        "error_false_admits": 0.0,
        "bound": bound,
        "cost_per_h": 1.0,
    }
    row |= dict.fromkeys(("surely_short", "late", "dear"), 0.0)
    return [
        bench.runs.Line(
            cell=cell,
            method=name,
            kind=kinds[name],
            code="x",
            process_s=0.0,
            at={load: {**row, "goodput": value, "pool_goodput": value, "error_goodput": value} for load in ("1", "3")},
        )
        for name, value in goodputs.items()
    ]


def test_bars_are_kept_and_missed_by_the_best_rival_of_each_kind(bench):
    made = lines(bench, {"circinus": 8.0, "vulcan": 2.0, "ipa": 1.0, "vulcan reinforced": 7.5, "exact": 10.0})
    found = {bar.name: bar for bar in bench.must.bars(bench.summary.Summary(lines=tuple(made)))}
    assert found["over_best_faithful"].value == pytest.approx(4.0)
    assert found["over_best_faithful"].kept
    assert found["over_best_reinforced"].value == pytest.approx(8.0 / 7.5)
    assert found["over_best_reinforced"].kept is False
    assert found["of_bound"].value == pytest.approx(0.8)
    assert found["false_admits"].value == pytest.approx(0.1)
    assert found["least_over_any_baseline"].value == 1.0
    assert found["cost_at_equal_goodput"].kept is None
    assert isnan(found["cost_at_equal_goodput"].value)


def test_a_cell_where_a_rival_serves_more_is_a_loss(bench):
    made = lines(bench, {"circinus": 3.0, "vulcan": 4.0, "exact": 10.0})
    summary = bench.summary.Summary(lines=tuple(made))
    assert [(round(over, 2), name) for over, _, name in summary.losses(summary.spots())] == [(0.75, "vulcan")] * 2
    assert bench.must.least_over_baselines(summary, summary.spots()) == pytest.approx(0.75)


def test_half_a_query_stands_for_none(bench):
    assert bench.summary.ratio(4.0, 0.0) == 8.0
    assert bench.summary.ratio(0.0, 2.0) == 0.25
    assert bench.summary.ratio(0.0, 0.0) == 1.0


def test_equal_goodput_is_told_cell_by_cell(bench):
    cell = bench.runs.Cell(layout="edge + cloud", draw="multiple", seed=1)
    of = {"price_per_h": 4.0, "faithful": 1.0, "reinforced": 0.0}
    equal = {"vulcan": of, "circinus": {**of, "price_per_h": 1.0, "faithful": 0.0}}
    line = bench.runs.Line(
        cell=cell, method=bench.runs.EQUAL, kind="", code="x", process_s=0.0, equal={"goodput": equal}
    )
    never = replace(line, equal={"goodput": {**equal, "circinus": {**of, "price_per_h": -1.0, "faithful": 0.0}}})
    summary = bench.summary.Summary(lines=(line, never))
    assert summary.equal_ratios("faithful", "circinus", "price_per_h") == [4.0]


@pytest.mark.slow
def test_a_report_has_whole_cells_only_and_ends_with_a_line_of_figures(bench, tmp_path, capsys):
    kinds = {one.name: one.kind for one in bench.methods.methods()}
    names = [field.name for field in fields(bench.serving.Worth)]
    made = []
    for seed, methods in ((1, [*kinds, bench.runs.EQUAL]), (2, ["circinus"])):
        cell = bench.runs.Cell(layout="edge + cloud", draw="witness", seed=seed)
        for name in methods:
            row = dict.fromkeys(names, 4.0 if kinds.get(name) == "faithful" else 5.0)
            at = dict.fromkeys(("1", "3"), row) if name in kinds else {}
            kind = kinds.get(name, "")
            made.append(bench.runs.Line(cell=cell, method=name, kind=kind, code="x", process_s=0.0, at=at))
    assert bench.report.report(made, bench.runs.QUICK, tmp_path, 60.0) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["seeds"] == [1]
    assert last["cells_done"] == 1
    assert last["must"]["over_best_faithful"]["figure"] == pytest.approx(1.25)
    assert last["must"]["over_best_reinforced"]["kept"] is False
    assert {path.name for path in tmp_path.iterdir()} == {"results.md", "quick.json", "quick-edge-cloud.png"}
    assert bench.report.report([made[-1]], bench.runs.QUICK, tmp_path, 60.0) == 1


def test_a_run_goes_on_where_it_stopped_and_a_broken_line_is_none(bench, tmp_path):
    path = tmp_path / "runs.jsonl"
    first, second = lines(bench, {"circinus": 3.0, "vulcan": 4.0})
    bench.lines.append(path, first)
    with path.open("a") as file:
        file.write(json.dumps(asdict(second))[:40])
    assert list(bench.runs.done(path, "x").values()) == [first]
    bench.lines.append(path, second)
    assert list(bench.runs.done(path, "x").values()) == [first, second]
    assert bench.runs.done(path, "other code") == {}


@pytest.mark.slow
def test_only_what_lacks_is_run(bench, tmp_path, monkeypatch):
    few = [by_name(bench, name) for name in ("random", "exact")]
    monkeypatch.setattr(bench.runs, "methods", lambda: few)
    plan = bench.runs.Plan(name="small", seeds={bench.fleet.Layout.CLOUD: (1,)}, loads=(0.5, 1.0))
    (cell,) = [one for one in plan.cells() if one.draw == "witness"]
    every = list(bench.runs.work(cell, plan, {}, "x"))
    assert [line.method for line in every] == ["random", "exact", bench.runs.EQUAL]
    have = {line.method: line for line in every}
    assert list(bench.runs.work(cell, plan, have, "x")) == []
    del have["random"]
    assert [line.method for line in bench.runs.work(cell, plan, have, "x")] == ["random", bench.runs.EQUAL]
