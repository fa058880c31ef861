"""From samples to figures: the front against brute force, quantiles and intervals against scipy."""

from __future__ import annotations

import itertools
from statistics import fmean, stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from edge_agent.local.results import ContentHeader, Header, OperatorFigure, Results, SampleLine
from edge_agent.local.summary import mean_interval, pareto_front, summarise, t_quantile

# Few values, so that many points are equal in one or both.
points = st.lists(st.tuples(st.integers(0, 5).map(float), st.integers(0, 5).map(float)), max_size=12)
scores = st.lists(st.floats(0, 1), min_size=2, max_size=40)


def beats(one, another):
    """At no more cost and no less worth, and other than it or before it."""
    at, (cost, worth) = one
    other_at, (other_cost, other_worth) = another
    if (cost, worth) == (other_cost, other_worth):
        return at < other_at
    return cost <= other_cost and worth >= other_worth


@given(points)
def test_the_front_is_what_nothing_beats(found):
    numbered = list(enumerate(found))
    best = [one for one in numbered if not any(beats(another, one) for another in numbered)]
    assert pareto_front(found) == tuple(at for at, _ in sorted(best, key=lambda one: one[1][0]))


@given(points)
def test_along_the_front_cost_and_worth_rise(found):
    front = [found[at] for at in pareto_front(found)]
    assert all(first[0] < second[0] and first[1] < second[1] for first, second in itertools.pairwise(front))


@pytest.mark.parametrize("probability_ratio", [0.9, 0.975, 0.995])
@pytest.mark.parametrize(
    ("freedom", "error_ratio"), [(1, 0.5), (2, 0.06), (3, 0.02), (5, 0.002), (30, 1e-5), (999, 1e-8)]
)
def test_the_quantile_is_students(probability_ratio, freedom, error_ratio):
    exact = float(stats.t.ppf(probability_ratio, freedom))
    assert t_quantile(probability_ratio, freedom) == pytest.approx(exact, rel=error_ratio)


@pytest.mark.parametrize(("freedom", "error_ratio"), [(1, 0.12), (2, 0.01), (3, 0.0015), (4, 0.0005)])
def test_the_quantile_of_the_intervals_is_as_near_as_it_says(freedom, error_ratio):
    assert t_quantile(0.975, freedom) == pytest.approx(float(stats.t.ppf(0.975, freedom)), rel=error_ratio)


@given(scores)
def test_an_interval_is_students_and_stays_between_0_and_1(values):
    found = mean_interval(values)
    assert found.value == fmean(values)
    assert 0.0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1.0
    count = len(values)
    if count > 4 and stdev(values) > 0.5 / count:
        low, high = stats.t.interval(0.95, count - 1, fmean(values), stats.sem(values))
        assert found.low == pytest.approx(max(0.0, low), abs=1e-3)
        assert found.high == pytest.approx(min(1.0, high), abs=1e-3)


def test_equal_scores_leave_a_doubt_that_shrinks_with_their_number():
    widths = [1.0 - mean_interval([1.0] * count).low for count in (2, 5, 20, 100)]
    assert widths == sorted(widths, reverse=True)
    assert 0.0 < widths[-1] < 0.002


def test_one_score_says_nothing_of_others():
    found = mean_interval([0.4])
    assert (found.value, found.low, found.high) == (0.4, 0.0, 1.0)


def figure(cpu_ms, output_bytes=10, parts=None):
    return OperatorFigure(cpu_ms=cpu_ms, wall_ms=cpu_ms, output_bytes=output_bytes, fingerprint=0, parts=parts)


def results_of(*lines):
    """Of the pipeline a -> b, each with a knob of two values; a's first value comes first."""
    configurations = tuple({"a.k": first, "b.k": second} for first in (1, 2) for second in (1, 2))
    header = Header(
        pipeline_id="p",
        bundle_digest="sha256:00",
        machine={},
        measured_on="2030-01-01",
        configurations=configurations,
        operators=("a", "b"),
        prefixes={"a": (0, 0, 1, 1), "b": (0, 1, 2, 3)},
        contents={name: ContentHeader(digest="", samples=2, clip=1, seed=1) for name in ("x", "y")},
    )
    return Results(header=header, lines=list(lines), memory_bytes={})


def line(sample, a, b, scored, content="x", errors=()):
    return SampleLine(
        content=content,
        sample=sample,
        source_bytes=100 * (1 + sample),
        scores=scored,
        tallies=({},) * 4,
        figures={"a": a, "b": b},
        errors=dict.fromkeys(errors, "failed"),
    )


def test_figures_are_means_over_samples_by_what_is_upstream():
    a = (figure(1.0), figure(3.0, parts=4.0))
    b = (figure(10.0), figure(20.0), figure(30.0), figure(40.0))
    later = (figure(2.0), figure(5.0, parts=6.0))
    (x,) = summarise(results_of(line(0, a, b, (0.0, 0.5, 0.5, 1.0)), line(1, later, b, (0.5, 0.5, 1.0, 1.0))))
    assert (x.content, x.samples) == ("x", 2)
    assert [row.cpu_ms for row in x.rows] == [11.5, 21.5, 34.0, 44.0]
    assert [row.accuracy.value for row in x.rows] == [0.25, 0.5, 0.75, 1.0]
    assert x.front == (0, 1, 2, 3)
    assert (x.rows[0].source_bytes, x.rows[0].operators[0].deviation_ms) == (150.0, stdev([1.0, 2.0]))
    assert [row.operators[0].parts for row in x.rows] == [None, None, 5.0, 5.0]
    assert (x.best, x.accuracy_spread_ratio, x.time_spread) == (3, 0.75, 44.0 / 11.5)
    assert [x.cheapest_within(loss) for loss in (0.0, 0.2, 0.25, 0.5, 1.0)] == [3, 3, 2, 1, 0]


def test_of_the_most_accurate_the_cheapest_is_best():
    b = (figure(4.0), figure(2.0), figure(3.0), figure(1.0))
    (x,) = summarise(results_of(line(0, (figure(1.0), figure(1.0)), b, (0.9, 0.9, 0.9, 0.2))))
    assert x.best == 1
    assert x.front == (3, 1)


def test_what_was_never_reached_counts_as_wrong_and_takes_no_part_in_times():
    a = (figure(1.0), figure(1.0))
    good = (figure(10.0), figure(10.0), figure(10.0), figure(10.0))
    bad = (None, figure(30.0), figure(10.0), figure(10.0))
    scored = (1.0, 1.0, 1.0, 1.0)
    (x,) = summarise(results_of(line(0, a, good, scored), line(1, a, bad, (0.0, 1.0, 1.0, 1.0), errors=[0])))
    assert (x.rows[0].failures, x.rows[0].accuracy.value, x.rows[0].cpu_ms) == (1, 0.5, 11.0)
    assert (x.rows[1].failures, x.rows[1].cpu_ms) == (0, 21.0)


def test_contents_have_their_own_rows_and_metrics_and_those_without_samples_none():
    a, b = (figure(1.0), figure(1.0)), (figure(1.0),) * 4
    results = results_of(line(0, a, b, (0.5,) * 4, content="y"))
    (y,) = summarise(results, {"y": [{"CER": position / 10} for position in range(4)]})
    assert y.content == "y"
    assert [row.corpus for row in y.rows] == [{"CER": 0.0}, {"CER": 0.1}, {"CER": 0.2}, {"CER": 0.3}]
