"""How SLOs are kept over many queries, of which a part is looked at each time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from circinus.burn_rate import Burning, Count, Spans
from circinus.model.device import DeviceId
from circinus.model.pipeline import PipelineId
from circinus.model.query import Query, QueryId, Slo
from circinus.v1 import planner_pb2
from cloud_planner.dashboard.attainment import Attainment, SeenLines
from cloud_planner.dashboard.query_list import QueryLine, line_of
from cloud_planner.planning_loop import Decision
from cloud_planner.recent import NOTHING_SEEN, Lately
from cloud_planner.services.states import Decided

NOTHING_DECIDED = Decided.of(Decision(summary=planner_pb2.SelectionSummary()), None)


def query(name: str, weight: float = 1.0) -> Query:
    return Query(
        id=QueryId(name),
        pipeline_id=PipelineId("words"),
        content="plain",
        source_device_id=DeviceId("camera"),
        rate_per_s=1.0,
        weight=weight,
        slo=Slo(latency_ms=100.0, percentile_ratio=0.95),
    )


def seen(good: int, ended: int = 100, goodput_per_s: float | None = 1.0) -> Lately:
    count = Count(good=good, ended=ended)
    return Lately(spans=Spans(short=count, long=count, day=count), goodput_per_s=goodput_per_s)


def line(name: str, rate_per_s: float = 1.0) -> QueryLine:
    return line_of(replace(query(name), rate_per_s=rate_per_s), NOTHING_DECIDED)


def names(queries: list[Query]) -> list[str]:
    return [one.id for one in queries]


def test_all_are_looked_at_once_and_then_in_turn() -> None:
    queries = [query(name) for name in "abcde"]
    attainment, turns = Attainment(), []
    for _ in range(4):
        due = attainment.due(queries, 2)
        turns.append(names(due))
        for one in due:
            attainment.look(one, seen(100))
    assert turns == [["a", "b", "c", "d", "e"], ["a", "b"], ["c", "d"], ["e", "a"]]


def test_who_is_new_is_looked_at_at_once_and_who_is_gone_counts_no_more() -> None:
    attainment = Attainment()
    for one in attainment.due([query("a"), query("b")], 0):
        attainment.look(one, seen(100))
    due = attainment.due([query("b"), query("c")], 0)
    assert names(due) == ["c"]
    assert attainment.kept().items == 100


def test_a_look_stands_for_the_last_one_of_a_query() -> None:
    attainment = Attainment()
    attainment.look(query("a", weight=3.0), seen(100, goodput_per_s=2.0))
    attainment.look(query("b"), NOTHING_SEEN)
    first = attainment.kept()
    assert (first.looked_at, first.kept, first.items, first.goodput_per_s) == (1, 1, 100, pytest.approx(6.0))
    attainment.look(query("a", weight=3.0), seen(40, goodput_per_s=0.5))
    then = attainment.kept()
    assert (then.looked_at, then.kept, then.items, then.goodput_per_s) == (1, 0, 100, pytest.approx(1.5))
    assert then.counts == {Burning.FAST: 1, Burning.IDLE: 1}


def test_the_worst_are_told_first_and_no_more_than_fit() -> None:
    attainment = Attainment()
    for number in range(20):
        attainment.look(query(f"q{number:02}"), seen(90 - number))
    worst = attainment.kept().worst
    assert [one.id for one in worst] == [f"q{number:02}" for number in range(19, 11, -1)]
    assert worst[0].attained_ratio == pytest.approx(0.71)


def test_lines_with_what_was_seen_are_made_anew_where_something_changed() -> None:
    attainment, seen_lines = Attainment(), SeenLines()
    lines = [line("a"), line("b"), line("c")]
    for name in "ab":
        attainment.look(query(name, weight=2.0), seen(90))
    first = seen_lines.of(lines, attainment)
    assert [one.goodput_per_s for one in first] == [2.0, 2.0, None]
    assert first[0].burn is not None
    assert first[0].burn.attained_ratio == pytest.approx(0.9)
    attainment.look(query("b"), seen(100))
    changed = [line("a", rate_per_s=3.0), lines[1], lines[2]]
    then = seen_lines.of(changed, attainment)
    assert (then[0].rate_per_s, then[0].goodput_per_s, then[1].goodput_per_s) == (3.0, 2.0, 1.0)
    assert seen_lines.of(changed, attainment)[0] is then[0]
    assert [one.id for one in seen_lines.of(changed[1:], attainment)] == ["b", "c"]


def test_of_nobody_nothing_is_known() -> None:
    kept = Attainment().kept()
    assert (kept.looked_at, kept.goodput_per_s, kept.worst) == (0, None, ())
