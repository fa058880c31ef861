"""Error budgets: what burns, how fast, and what is left."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from circinus.burn_rate import (
    FAST_RATIO,
    LONG_S,
    SHORT_S,
    Burning,
    Count,
    RollingCounts,
    Spans,
    burn_of,
    burn_ratio,
)

_DAY_S = 86_400.0


def _spans(short: tuple[int, int], long: tuple[int, int], day: tuple[int, int] | None = None) -> Spans:
    return Spans(
        short=Count(good=short[0], ended=short[1]),
        long=Count(good=long[0], ended=long[1]),
        day=Count(good=(day or long)[0], ended=(day or long)[1]),
    )


def test_twice_as_many_late_items_as_allowed_burn_at_two() -> None:
    assert burn_ratio(0.9, 0.95) == pytest.approx(2.0)
    assert burn_ratio(1.0, 0.95) == 0.0


def test_an_slo_that_allows_nothing_has_no_budget() -> None:
    assert burn_ratio(1.0, 1.0) == 0.0
    assert math.isinf(burn_ratio(0.999, 1.0))


def test_a_budget_of_which_half_is_spent_is_half_left() -> None:
    found = burn_of(_spans((100, 100), (100, 100), (975, 1000)), 0.95)
    assert found.budget_left_ratio == pytest.approx(0.5)
    assert found.attained_ratio == pytest.approx(0.975)


def test_an_overspent_budget_is_below_nothing() -> None:
    left = burn_of(_spans((1, 1), (1, 1), (850, 1000)), 0.95).budget_left_ratio
    assert left == pytest.approx(-2.0)


def test_without_items_nothing_is_said() -> None:
    found = burn_of(_spans((0, 0), (0, 0)), 0.95)
    assert (found.attained_ratio, found.budget_left_ratio, found.short_ratio, found.long_ratio) == (None,) * 4
    assert found.state is Burning.IDLE


@pytest.mark.parametrize(
    ("short", "long", "state"),
    [
        ((100, 100), (1000, 1000), Burning.KEPT),
        ((80, 100), (990, 1000), Burning.RISING),
        ((100, 100), (800, 1000), Burning.RECOVERING),
        ((0, 0), (800, 1000), Burning.RECOVERING),
        ((90, 100), (900, 1000), Burning.BURNING),
        ((90, 100), (500, 1000), Burning.BURNING),
        ((60, 100), (600, 1000), Burning.FAST),
    ],
)
def test_it_burns_only_where_both_windows_say_so(short: tuple[int, int], long: tuple[int, int], state: Burning) -> None:
    assert burn_of(_spans(short, long), 0.95).state is state


def test_counts_leave_the_short_window_before_the_long_one() -> None:
    counts = RollingCounts()
    counts.add(1_000.0, 1_000.0, good=3, ended=10)
    spans = counts.spans(1_000.0)
    assert (spans.short, spans.long, spans.day) == (Count(good=3, ended=10),) * 3
    spans = counts.spans(1_000.0 + SHORT_S + 60.0)
    assert (spans.short.ended, spans.long.ended, spans.day.ended) == (0, 10, 10)
    spans = counts.spans(1_000.0 + LONG_S + 60.0)
    assert (spans.long.ended, spans.day.ended) == (0, 10)
    assert counts.spans(1_000.0 + _DAY_S + LONG_S).day.ended == 0


def test_what_comes_late_is_counted_when_it_ended() -> None:
    counts = RollingCounts()
    counts.add(10_000.0, 10_000.0, good=1, ended=1)
    counts.add(10_000.0 - 1_800.0, 10_000.0, good=2, ended=4)
    counts.add(10_000.0 - 7_200.0, 10_000.0, good=5, ended=5)
    spans = counts.spans(10_000.0)
    assert (spans.short.ended, spans.long.ended, spans.day.ended) == (1, 5, 10)


def test_a_moment_in_the_future_is_now() -> None:
    counts = RollingCounts()
    counts.add(9_999_999.0, 1_000.0, good=1, ended=1)
    assert counts.spans(1_000.0).short.ended == 1


def test_a_clock_that_goes_back_forgets_nothing() -> None:
    counts = RollingCounts()
    counts.add(5_000.0, 5_000.0, good=1, ended=1)
    counts.add(4_900.0, 4_900.0, good=1, ended=1)
    assert counts.spans(4_900.0).long.ended == 2


def test_counts_of_before_anything_was_counted_are_nothing() -> None:
    assert RollingCounts().spans(12.0).day == Count(good=0, ended=0)


@given(
    st.lists(st.tuples(st.floats(0.0, 2.0 * _DAY_S), st.integers(0, 100), st.integers(0, 100)), min_size=1, max_size=40)
)
def test_windows_hold_all_that_is_younger_and_nothing_that_is_much_older(events: list[tuple[float, int, int]]) -> None:
    counts = RollingCounts()
    events = sorted(events)
    for at_s, good, bad in events:
        counts.add(at_s, at_s, good, good + bad)
    now_s = events[-1][0]
    spans = counts.spans(now_s)
    for count, window_s, slack_s in (
        (spans.short, SHORT_S, 60.0),
        (spans.long, LONG_S, 60.0),
        (spans.day, _DAY_S, LONG_S),
    ):
        surely = sum(good + bad for at_s, good, bad in events if at_s > now_s - window_s)
        at_most = sum(good + bad for at_s, good, bad in events if at_s >= now_s - window_s - slack_s)
        assert surely <= count.ended <= at_most
        assert 0 <= count.good <= count.ended


@given(st.floats(0.0, 1.0), st.floats(0.5, 0.9999))
def test_a_worse_window_never_burns_less(attained: float, wanted: float) -> None:
    assert burn_ratio(attained, wanted) >= burn_ratio(min(1.0, attained + 0.01), wanted)
    assert FAST_RATIO > 1.0
