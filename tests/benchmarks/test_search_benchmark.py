"""The benchmark of searches asks what it says it asks, goes on where it stopped, and reads curves rightly."""

from __future__ import annotations

import sys
from dataclasses import replace
from math import isinf, isnan, log
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = ("curves", "methods", "plan", "queries", "runs", "tables", "tuning", "validity")


@pytest.fixture(scope="module")
def bench():
    """The benchmark's modules by their short names."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        named = {name: __import__(f"search_{name}") for name in MODULES}
        yield SimpleNamespace(**named, lines=__import__("run_lines"))
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
        for name in [name for name in sys.modules if name.startswith("search_")]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def witnesses(bench):
    return list(bench.queries.queries(7, bench.queries.WITNESS, 0.0, 4))


# Queries


@pytest.mark.slow
def test_the_parts_of_the_samples_are_disjoint_and_have_every_content(bench):
    for name in bench.tables.NAMES:
        there = bench.queries.world(name)
        rows = np.concatenate(list(there.parts.values()))
        assert sorted(rows.tolist()) == list(range(len(there.contents)))
        for part in there.parts.values():
            assert set(there.contents[part]) == set(there.contents)


def test_a_pool_has_no_sample_twice_and_none_of_another_part(bench, witnesses):
    for asked in witnesses:
        rows = asked.content.rows
        there = bench.queries.world(asked.content.pipeline)
        assert len(set(rows.tolist())) == len(rows)
        assert set(rows) <= set(there.parts[bench.tables.PROFILING])
        assert len(rows) <= min(200, 0.7 * len(there.parts[bench.tables.PROFILING]))


def test_a_pool_for_tuning_has_validation_samples_alone(bench):
    for pipeline in bench.tables.NAMES:
        part = bench.tables.VALIDATION
        content = bench.queries.draw_content(np.random.default_rng(0), pipeline, 0, part)
        assert set(content.rows) <= set(bench.queries.world(pipeline).parts[part])


def test_a_witness_query_is_feasible(witnesses):
    assert not any(isinf(asked.truth.cost_per_h) for asked in witnesses)
    assert all(asked.slo.cost_per_h >= asked.truth.cost_per_h for asked in witnesses)


def test_the_oracle_answers_at_the_least_cost(bench, witnesses):
    oracle = next(one for one in bench.methods.rivals() if one.name == "oracle")
    cell = bench.runs.Cell(seed=7, draw="witness", similarity=0.0, warm=False, queries=4)
    rows = bench.runs.run(oracle.settings[0], cell, witnesses, oracle)
    for row in rows:
        of = dict(zip(bench.runs.FIGURES, row, strict=True))
        assert of["answered"]
        assert of["regret"] == pytest.approx(0.0, abs=1e-9)
        assert of["seconds"] == 0.0
        assert of["accuracy_gap"] >= -1e-9
        assert not of["late"]
        assert not of["dear"]


def test_the_same_seed_asks_the_same_queries(bench, witnesses):
    again = bench.queries.queries(7, bench.queries.WITNESS, 0.0, 2)
    for one, other in zip(witnesses, again, strict=False):
        assert one.slo == other.slo
        assert one.space.rate_per_s == other.space.rate_per_s
        assert one.content.rows.tolist() == other.content.rows.tolist()


def test_without_similarity_every_query_has_a_content_of_its_own(bench, witnesses):
    assert len({asked.content.number for asked in witnesses}) == len(witnesses)
    assert not any(asked.repeats for asked in witnesses)


def test_a_repeated_query_has_a_known_content_and_class_and_an_slo_of_its_own(bench):
    asked = list(bench.queries.queries(3, bench.queries.WITNESS, 0.9, 6))
    repeats = [one for one in asked if one.repeats]
    assert repeats
    for one in repeats:
        first = next(other for other in asked if other.content is one.content)
        assert first.number < one.number
        assert first.device == one.device
        assert first.slo != one.slo


def test_new_prices_leave_content_rate_and_bounds_on_accuracy_and_latency(bench):
    before, after = bench.queries.queries(3, bench.queries.PRICES, 0.0, 2)
    assert after.content is before.content
    assert after.repeats
    assert after.slo.accuracy_ratio == before.slo.accuracy_ratio
    assert after.slo.latency_ms == before.slo.latency_ms
    assert after.space.rate_per_s == before.space.rate_per_s
    assert after.device.tiers[0].price_per_core_h != before.device.tiers[0].price_per_core_h


def test_contents_that_mislead_have_the_same_scores_in_another_order(bench):
    plain = bench.queries.draw_content(np.random.default_rng(1), "documents", 0)
    other = bench.queries.draw_content(np.random.default_rng(1), "documents", 0, misleading=True)
    assert sorted(plain.table.scores.mean(axis=0)) == pytest.approx(sorted(other.table.scores.mean(axis=0)))
    assert not np.array_equal(plain.table.scores, other.table.scores)


# Runs


@pytest.fixture(scope="module")
def job(bench):
    ipa = next(one for one in bench.methods.rivals() if one.name == "ipa")
    random = next(one for one in bench.methods.rivals() if one.name == "random")
    cell = bench.runs.Cell(seed=7, draw="witness", similarity=0.0, warm=False, queries=3)
    return bench.runs.Job(cell=cell, runs=((ipa, 0), (random, 0), (random, 1)))


def steady(bench, lines):
    """What is the same whenever it is run: all but what the clock says."""
    cpu = bench.runs.FIGURES.index("cpu_s")
    return {
        key: replace(line, process_s=0.0, rows=tuple((*row[:cpu], 0.0, *row[cpu + 1 :]) for row in line.rows))
        for key, line in lines.items()
    }


@pytest.mark.slow
def test_a_run_that_is_broken_off_goes_on_to_the_same_lines(bench, job, tmp_path):
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    for line in bench.runs.work(job, "code"):
        bench.lines.append(whole, line)
    first = whole.read_text().splitlines(keepends=True)
    # Broken off in the middle of a line.
    broken.write_text(first[0] + first[1][: len(first[1]) // 2])
    there = bench.runs.done(broken, "code")
    assert len(there) == 1
    for one in bench.runs.left([job], there):
        assert len(one.runs) == 2
        for line in bench.runs.work(one, "code"):
            bench.lines.append(broken, line)
    assert bench.runs.left([job], bench.runs.done(broken, "code")) == []
    assert steady(bench, bench.runs.done(broken, "code")) == steady(bench, bench.runs.done(whole, "code"))


def test_lines_of_other_code_do_not_count(bench, job, tmp_path):
    path = tmp_path / "runs.jsonl"
    bench.lines.append(path, next(iter(bench.runs.work(job, "old"))))
    assert bench.runs.done(path, "new") == {}
    assert len(bench.runs.done(path, None)) == 1


def test_every_setting_has_a_label_of_its_own(bench):
    for method in (*bench.methods.ours(), *bench.methods.rivals()):
        of = bench.methods.labels(method.settings)
        assert len(set(of)) == len(of), method.name


def test_what_is_known_of_a_content_is_free_when_warm_and_charged_when_cold(bench):
    asked = list(bench.queries.queries(3, bench.queries.WITNESS, 1.0, 2))
    every = next(one for one in bench.methods.rivals() if one.name == "exhaustive")
    spent = bench.runs.FIGURES.index("seconds")
    for warm in (False, True):
        cell = bench.runs.Cell(seed=3, draw="witness", similarity=1.0, warm=warm, queries=2)
        rows = bench.runs.run(every.settings[0], cell, asked, every)
        assert rows[0][spent] > 0.0
        assert (rows[1][spent] == 0.0) is warm


# Curves


def point(bench, seconds, regret, **more):
    return bench.curves.Point(setting=f"{seconds}", seconds=seconds, regret=regret, **more)


def test_seconds_are_interpolated_in_logs_along_the_lower_hull(bench):
    points = [point(bench, 100.0, 0.0), point(bench, 50.0, 0.05), point(bench, 1.0, 0.1)]
    curve = bench.curves.hull(points)
    # The middle one lies above the line between the others: log(10) there.
    assert [one.seconds for one in curve] == [100.0, 1.0]
    assert bench.curves.seconds_at(curve, 0.05) == pytest.approx(10.0)
    assert bench.curves.seconds_at(curve, 0.2) == pytest.approx(1.0)
    assert isinf(bench.curves.seconds_at(bench.curves.hull(points[1:]), 0.01))


def test_the_ratio_of_curves_that_are_a_factor_apart_is_that_factor(bench):
    ours = [point(bench, 4.0, 0.0), point(bench, 2.0, 0.03), point(bench, 1.0, 0.1)]
    theirs = [replace(one, seconds=6.0 * one.seconds) for one in ours]
    found = bench.curves.compare(ours, theirs)
    assert found.ratio == pytest.approx(6.0)
    assert (found.low, found.high, found.note) == (0.0, 0.1, "")


def test_only_regrets_that_both_reach_are_compared(bench):
    ours = [point(bench, 10.0, 0.0), point(bench, 1.0, 0.1)]
    theirs = [point(bench, 10.0, 0.05), point(bench, 4.0, 0.3)]
    found = bench.curves.compare(ours, theirs)
    assert (found.low, found.high) == (0.05, 0.1)
    levels = np.linspace(0.05, 0.1, bench.curves.LEVELS)
    wanted = np.mean([log(10.0) + (x - 0.05) / 0.25 * log(0.4) - log(10.0) * (1.0 - x / 0.1) for x in levels])
    assert log(found.ratio) == pytest.approx(wanted)


def test_settings_that_violate_or_refuse_are_on_no_curve(bench):
    fast = point(bench, 1.0, 0.0, violations=0.2)
    shy = point(bench, 2.0, 0.0, recall=0.5)
    slow = point(bench, 9.0, 0.0)
    found, note = bench.curves.sound_points([fast, shy, slow])
    assert (found, note) == ([slow], "")
    found, note = bench.curves.sound_points([fast, shy])
    assert found == [shy]
    assert "refuses 50%" in note
    found, note = bench.curves.sound_points([fast])
    assert found == [fast]
    assert "violates 20%" in note


def test_intervals_are_of_seeds(bench):
    of = bench.curves.spread([1.0, 2.0, 3.0])
    assert of.mean == 2.0
    assert of.half == pytest.approx(4.303 / 3**0.5, rel=1e-3)
    assert isnan(bench.curves.spread([1.0]).half)


# Tuning and validity


def test_a_violation_weighs_more_than_what_it_saves(bench):
    sound = {"seconds": 10.0, "regret": 0.05, "recall": 1.0, "violations": 0.0}
    rash = {"seconds": 1.0, "regret": 0.0, "recall": 1.0, "violations": 0.1}
    assert bench.tuning.loss_s(sound) < bench.tuning.loss_s(rash)


def test_a_simulated_search_is_a_function_of_its_seed(bench):
    once = bench.validity.simulate(5, bench.validity.NEAR, "quick")
    assert once == bench.validity.simulate(5, bench.validity.NEAR, "quick")
    low, high = bench.validity.interval(0, 100)
    assert low == 0.0
    assert high == pytest.approx(0.0362, abs=1e-3)
