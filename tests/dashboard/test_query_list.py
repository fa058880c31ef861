"""Queries as lines: what is planned, what burns, in which order."""

from __future__ import annotations

from dataclasses import replace

import pytest
from plan_values import QUERY, plan

from circinus import wire
from circinus.burn_rate import Burn, Burning
from circinus.model.plan import Certainty
from circinus.v1 import planner_pb2
from cloud_planner.dashboard.query_list import (
    COLUMNS,
    ONLY,
    QueryLine,
    lines_of,
    needs_all,
    totals_of,
    words_of,
)
from cloud_planner.dashboard.table import Wanted, cut
from cloud_planner.planning_loop import Decision
from cloud_planner.services.states import Decided

_QUERIES = [replace(QUERY, id=name) for name in ("b", "a", "c", "d")]


def _decided() -> Decided:
    summary = planner_pb2.SelectionSummary(
        plans=[wire.plan_to_message(plan(query_id="a", certainty=Certainty.PROVISIONAL))],
        unplaced=[planner_pb2.Unplaced(query_id="b", reason="no cores are left")],
        pending=[planner_pb2.Unplaced(query_id="c", reason="its profile is being measured")],
    )
    return Decided.of(Decision(summary=summary, profiling={"c": ""}), None)


def _burn(state: Burning, short: float, left: float) -> Burn:
    return Burn(
        attained_ratio=0.9, wanted_ratio=0.95, budget_left_ratio=left, short_ratio=short, long_ratio=short, state=state
    )


def _shown(lines: list[QueryLine], query: str) -> list[str]:
    wanted = Wanted.read(query, COLUMNS, sort="id", only=tuple(ONLY))
    return [line.id for line in cut(lines, wanted, COLUMNS, words_of, ONLY).rows]


def test_lines_are_by_id_and_say_how_far_each_query_is() -> None:
    lines = lines_of(_QUERIES, _decided())
    assert [(line.id, line.state) for line in lines] == [
        ("a", "placed"),
        ("b", "unplaced"),
        ("c", "profiling"),
        ("d", "waiting"),
    ]
    assert lines[1].reason == "no cores are left"
    assert lines[0].provisional
    assert lines[0].latency_ms == 200.0
    assert lines[1].cost_per_h is None


def test_the_fastest_burning_come_first_when_sorted_by_burn() -> None:
    line = lines_of(_QUERIES, _decided())[0]
    lines = [
        replace(line, id="quiet", burn=_burn(Burning.KEPT, 0.5, 0.9)),
        replace(line, id="hiccup", burn=_burn(Burning.RISING, 50.0, 0.8)),
        replace(line, id="slow", burn=_burn(Burning.BURNING, 2.0, 0.1)),
        replace(line, id="fast", burn=_burn(Burning.FAST, 9.0, -1.0)),
        replace(line, id="unknown"),
    ]
    assert _shown(lines, "sort=-burn") == ["fast", "slow", "hiccup", "quiet", "unknown"]
    assert _shown(lines, "sort=budget") == ["fast", "slow", "hiccup", "quiet", "unknown"]
    assert sorted(_shown(lines, "burning=yes")) == ["fast", "slow"]
    assert totals_of(lines).burning == 2


def test_a_state_and_words_filter_lines() -> None:
    lines = list(lines_of(_QUERIES, _decided()))
    assert _shown(lines, "state=unplaced") == ["b"]
    assert _shown(lines, "q=PROFILING+camera") == ["c"]


def test_totals_tell_states_in_the_order_of_interest() -> None:
    totals = totals_of(lines_of(_QUERIES, _decided()))
    assert totals.states == (("unplaced", 1), ("waiting", 1), ("profiling", 1), ("placed", 1))
    assert totals.cost_per_h == pytest.approx(0.36)


def test_every_query_is_looked_at_only_for_what_was_seen() -> None:
    assert needs_all("burn", {})
    assert needs_all("id", {"burning": "yes"})
    assert not needs_all("cost", {"state": "serving"})
