"""Stand-bys as text: what would serve, or why nothing would, and when it did."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING

from circinus.cli.output import amount, size, table
from circinus.cli.plan_table import interval_text
from circinus.model.pipeline import knobs_text
from circinus.stand_by_reports import StandByEpisode, StandByState

if TYPE_CHECKING:
    from rich.console import RenderableType


def stand_by_text(state: StandByState) -> str:
    """A stand-by on one line."""
    if state.configuration is None:
        if state.reason:
            return f"no stand-by: {state.reason}"
        return "needs no stand-by: its plan is all on its source device"
    figures = [
        f"latency {interval_text(state.latency_ms)} ms" if state.latency_ms is not None else "",
        f"accuracy {interval_text(state.accuracy_ratio)}" if state.accuracy_ratio is not None else "",
    ]
    reserved = f"{amount(state.cores)} cores, {size(state.memory_bytes)}"
    return (
        f"stand-by without {', '.join(state.needs)}: {knobs_text(state.configuration)}; "
        f"predicted {', '.join(figure for figure in figures if figure)}; {reserved}"
    )


def episode_text(episode: StandByEpisode) -> str:
    """An episode on one line."""
    began = f"{episode.start.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    if episode.end is None:
        return f"served by its stand-by since {began} ({episode.reason})"
    lasted_s = (episode.end - episode.start).total_seconds()
    return f"served by its stand-by from {began} for {lasted_s:.1f} s ({episode.reason})"


def episodes_summary(episodes: Sequence[StandByEpisode]) -> str:
    """How often and how long, on one line."""
    lasted_s = sum((one.end - one.start).total_seconds() for one in episodes if one.end is not None)
    going_on = any(one.end is None for one in episodes)
    times = "once" if len(episodes) == 1 else f"{len(episodes)} times"
    return f"{times}, {lasted_s:.0f} s" + (", and going on" if going_on else "")


def stand_bys_view(states: Sequence[StandByState]) -> RenderableType:
    """The stand-bys of a selection as a table."""
    return table(("QUERY", "STAND-BY"), [(state.query_id, stand_by_text(state)) for state in states])
