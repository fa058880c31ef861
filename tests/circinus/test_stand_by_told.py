"""What people are told of stand-bys, and what the page about them says."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from circinus.cli.stand_by_table import episode_text, episodes_summary, stand_by_text
from circinus.model.plan import Interval
from circinus.spec.queries import parse_queries
from circinus.stand_by_reports import StandByEpisode, StandByState
from edge_agent.dataplane.pulse import PULSE_S, SILENCE_S
from edge_agent.dataplane.stand_by_lane import MAX_HELD
from edge_agent.stand_by import Patience

TEXT = (Path(__file__).parents[2] / "docs/stand-by.md").read_text()
BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def an_episode(lasted_s: float | None) -> StandByEpisode:
    end = None if lasted_s is None else BEGAN + timedelta(seconds=lasted_s)
    return StandByEpisode(query_id="q", generation=1, start=BEGAN, end=end, reason="cloud out of reach")


def test_the_page_s_example_is_read_as_it_is_described() -> None:
    (found,) = re.findall(r"```yaml queries\n(.*?)```", TEXT, re.DOTALL)
    (query,) = parse_queries(found)
    assert query.stand_by


def test_the_page_s_figures_are_those_of_the_agent() -> None:
    patience = Patience()
    assert f"every {PULSE_S:g} s" in TEXT
    assert f"silent for {SILENCE_S:g} s" in TEXT
    assert f"in reach for {patience.steady_s:g} s in a row" in TEXT
    assert f"up to {patience.most_steady_s / 60:g} minutes" in TEXT
    assert f"{patience.forgive_s / 60:g} quiet minutes" in TEXT
    assert f"{MAX_HELD:,} items" in TEXT


def test_a_stand_by_is_told_with_what_it_promises_and_takes() -> None:
    figure = Interval(value=0.8, low=0.7, high=0.9)
    state = StandByState(
        query_id="q",
        configuration={"read.size": "small"},
        latency_ms=Interval(value=54.3, low=43.7, high=65.0),
        accuracy_ratio=figure,
        cores=0.5,
        memory_bytes=2**28,
        needs=("cloud",),
    )
    text = stand_by_text(state)
    for part in ("without cloud", "read.size=small", "54.3", "0.8", "0.5 cores"):
        assert part in text
    assert stand_by_text(StandByState(query_id="q", reason="no room on box")) == "no stand-by: no room on box"
    assert "needs no stand-by" in stand_by_text(StandByState(query_id="q"))


def test_episodes_are_told_with_their_times() -> None:
    assert "for 60.0 s (cloud out of reach)" in episode_text(an_episode(60.0))
    assert "since 2026-01-02 03:04:05 UTC" in episode_text(an_episode(None))
    assert episodes_summary([an_episode(60.0)]) == "once, 60 s"
    assert episodes_summary([an_episode(None), an_episode(60.0)]) == "2 times, 60 s, and going on"
