"""`circinus query watch`: what the search for a query's plan knows, as it comes to know it."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer

from circinus.cli import exits
from circinus.cli.output import amount, document_of, say
from circinus.cli.plan_table import accuracy_name, interval_text, provisional_text
from circinus.cli.progress import SearchBar
from circinus.cli.session import DEFAULT_ADDRESS, PlannerOption, ask
from circinus.client import Client
from circinus.model.pipeline import Configuration, configuration_key, knobs_text
from circinus.model.plan import Interval
from circinus.model.search import SearchPhase, SearchState, SearchStep
from circinus.reports import QueryState

_CONFIGURATION_CHARS = 60
#: The search's phases in words for people, where they differ.
_PHASE_WORDS = {SearchPhase.UNKNOWN.value: "best known"}


class Form(StrEnum):
    """How lines are printed."""

    TABLE = "table"
    JSON = "json"


def watch(
    query_id: Annotated[str, typer.Argument(metavar="QUERY")],
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Longest wait in seconds.")] = 3_600.0,
    planner: PlannerOption = DEFAULT_ADDRESS,
    output: Annotated[
        Form, typer.Option("--output", "-o", help="Lines for people, or one JSON object a line.")
    ] = Form.TABLE,
) -> int:
    """Shows what the search for a query's plan knows, until it has ended and the plan is served; 3 if it is refused.

    Example: circinus query watch gate --timeout 60
    """

    async def action(client: Client) -> QueryState | None:
        last: QueryState | None = None
        with SearchBar() as bar:
            lines = _Lines(datetime.now(UTC))
            async for last in client.watch_query(query_id, timeout_s):
                now = datetime.now(UTC)
                for line in lines.new(last, now):
                    bar.line(_line_json(line) if output is Form.JSON else _line_text(line))
                if last.search is not None:
                    bar.show(f"searching {query_id}", _note(last.search), lines.elapsed_s(last, now), last.search.eta_s)
        return last

    last = ask(planner, action)
    if last is None or not last.refused:
        return exits.OK
    if last.reason:
        say(f"{query_id}: {last.reason}")
    return exits.INFEASIBLE


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLine:
    """What was known from one moment on. ``phase`` is the query's own where no search is told of."""

    query_id: str
    elapsed_s: float
    phase: str
    configuration: Configuration | None
    accuracy_ratio: Interval | None
    agreement: bool = False
    cost_per_h: float | None
    samples_done: int = 0
    probability_ratio: float | None = None
    eta_s: float | None = None
    finished: bool = False
    stopped: str = ""
    serving: bool = False


class _Lines:
    """Which lines a newly told state is worth: one for each step that is new, and one for what has changed since."""

    def __init__(self, started_at: datetime) -> None:
        self._started_at = started_at
        self._last_at: datetime | None = None
        self._said: tuple[object, ...] = ()

    def elapsed_s(self, state: QueryState, now: datetime) -> float:
        """Seconds since submission, as far as that is known; else since the watch began."""
        if state.search is None or not state.search.history:
            return (now - self._started_at).total_seconds()
        step = state.search.history[-1]
        return step.elapsed_s + max(0.0, (now - step.at).total_seconds())

    def new(self, state: QueryState, now: datetime) -> list[WatchLine]:
        """The lines that have not been given yet."""
        lines = [_line(state, self.elapsed_s(state, now))]
        if state.search is not None and state.search.history:
            history, agreement = state.search.history, state.agreement
            steps = [step for step in history if self._last_at is None or step.at > self._last_at]
            self._last_at = history[-1].at
            told = [_step_line(state.query.id, step, agreement) for step in steps]
            if told and _found(told[-1]) == _found(lines[0]):
                # What is told now and is the newest step is one line, not two.
                lines = [replace(lines[0], elapsed_s=told.pop().elapsed_s)]
            lines = [*told, *lines]
        return [line for line in lines if self._is_news(line)]

    def _is_news(self, line: WatchLine) -> bool:
        before, self._said = self._said, (*_found(line), line.finished, line.stopped, line.serving)
        return self._said != before


def _line(state: QueryState, elapsed_s: float) -> WatchLine:
    search, plan = state.search, state.plan
    if search is None:
        return WatchLine(
            query_id=state.query.id,
            elapsed_s=elapsed_s,
            phase=state.phase.value,
            configuration=plan.configuration if plan else None,
            accuracy_ratio=plan.accuracy_ratio if plan else None,
            cost_per_h=plan.cost_per_h if plan else None,
            serving=state.serving,
        )
    return WatchLine(
        query_id=state.query.id,
        elapsed_s=elapsed_s,
        phase=search.phase.value,
        configuration=search.configuration,
        accuracy_ratio=search.accuracy_ratio,
        agreement=search.agreement,
        cost_per_h=search.cost_per_h,
        samples_done=search.samples_done,
        probability_ratio=search.probability_ratio,
        eta_s=search.eta_s,
        finished=search.finished,
        stopped=search.stopped,
        serving=state.serving,
    )


def _step_line(query_id: str, step: SearchStep, agreement: bool) -> WatchLine:
    return WatchLine(
        query_id=query_id,
        elapsed_s=step.elapsed_s,
        phase=step.phase.value,
        configuration=step.configuration,
        accuracy_ratio=step.accuracy_ratio,
        agreement=agreement,
        cost_per_h=step.cost_per_h,
        samples_done=step.samples_done,
    )


def _found(line: WatchLine) -> tuple[object, ...]:
    """What has been found by a line: an interval only as far as it can be seen to change."""
    accuracy = interval_text(line.accuracy_ratio, 2) if line.accuracy_ratio else ""
    configuration = configuration_key(line.configuration) if line.configuration is not None else ""
    return (line.phase, configuration, accuracy, line.cost_per_h)


def _line_json(line: WatchLine) -> str:
    return json.dumps(document_of(line), ensure_ascii=False)


def _line_text(line: WatchLine) -> str:
    phase = _PHASE_WORDS.get(line.phase, line.phase)
    if line.phase == SearchPhase.PROVISIONAL and line.probability_ratio is not None:
        phase = provisional_text(line.probability_ratio)
    parts = [f"{line.elapsed_s:8.1f} s  {phase:<21}"]
    if line.configuration is not None:
        parts.append(configuration_text(line.configuration))
    if line.accuracy_ratio is not None:
        parts.append(f"{accuracy_name(line.agreement)} {interval_text(line.accuracy_ratio)}")
    if line.cost_per_h is not None:
        parts.append(f"cost {amount(line.cost_per_h)}/h")
    parts.append(f"{line.samples_done:,} samples")
    if line.eta_s is not None and not line.finished:
        parts.append(f"about {line.eta_s:.0f} s to go")
    if line.finished:
        parts.append(f"stopped: {line.stopped}" if line.stopped else "finished")
    if line.serving:
        parts.append("serving")
    return "  ".join(parts)


def configuration_text(configuration: Configuration) -> str:
    """A configuration on one short line: operators' names only where two have a knob of the same name."""
    short = [name.split(".", 1)[-1] for name in configuration]
    text = knobs_text(
        {
            name if short.count(knob) > 1 else knob: value
            for (name, value), knob in zip(configuration.items(), short, strict=True)
        }
    )
    return text if len(text) <= _CONFIGURATION_CHARS else text[: _CONFIGURATION_CHARS - 1] + "…"


def search_text(search: SearchState) -> str:
    """Where a search stands, on one line."""
    phase = _PHASE_WORDS.get(search.phase.value, search.phase.value)
    end = f"stopped: {search.stopped}" if search.stopped else "finished" if search.finished else "goes on"
    spent = f"{amount(search.operator_s)} s of operators, cost {amount(search.profile_cost)}"
    return f"search: {phase}, {_note(search)}, {spent}; {end}"


def _note(search: SearchState) -> str:
    text = f"{search.samples_done:,} samples"
    return text if search.finished else f"{text}, {search.candidates_left:,} candidates left"
