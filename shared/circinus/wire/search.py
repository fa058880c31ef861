"""What a candidate search knows of a query."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from circinus.errors import InvalidInput, Violation
from circinus.model.pipeline import Configuration
from circinus.model.plan import Interval
from circinus.model.search import MAX_STEPS, SearchPhase, SearchState, SearchStep
from circinus.v1 import planner_pb2, types_pb2
from circinus.wire import check
from circinus.wire.knobs import configuration_from_message, configuration_to_message
from circinus.wire.plan import interval_to_message

_PHASE_TO_MESSAGE = {
    SearchPhase.UNKNOWN: planner_pb2.SEARCH_PHASE_UNKNOWN,
    SearchPhase.PROVISIONAL: planner_pb2.SEARCH_PHASE_PROVISIONAL,
    SearchPhase.CERTIFIED: planner_pb2.SEARCH_PHASE_CERTIFIED,
    SearchPhase.REFUSED: planner_pb2.SEARCH_PHASE_REFUSED,
}
_PHASE_FROM_MESSAGE = {message: phase for phase, message in _PHASE_TO_MESSAGE.items()}


def search_to_message(search: SearchState) -> planner_pb2.SearchState:
    """A search's message; of its history the newest MAX_STEPS."""
    return planner_pb2.SearchState(
        phase=_PHASE_TO_MESSAGE[search.phase],
        finished=search.finished,
        configuration=_configuration_to_message(search.configuration),
        probability_ratio=search.probability_ratio,
        accuracy_ratio=_interval_to_message(search.accuracy_ratio),
        agreement=search.agreement,
        cost_per_h=search.cost_per_h,
        samples_done=search.samples_done,
        operator_s=search.operator_s,
        profile_cost=search.profile_cost,
        candidates_left=search.candidates_left,
        eta_s=search.eta_s,
        stopped=search.stopped,
        history=[_step_to_message(step) for step in search.history[-MAX_STEPS:]],
    )


def _step_to_message(step: SearchStep) -> planner_pb2.SearchStep:
    at = Timestamp()
    at.FromDatetime(step.at)
    return planner_pb2.SearchStep(
        at=at,
        phase=_PHASE_TO_MESSAGE[step.phase],
        configuration=_configuration_to_message(step.configuration),
        accuracy_ratio=_interval_to_message(step.accuracy_ratio),
        cost_per_h=step.cost_per_h,
        samples_done=step.samples_done,
        elapsed_s=step.elapsed_s,
    )


def search_from_message(message: planner_pb2.SearchState) -> SearchState:
    """The search in a message.

    Raises:
        InvalidInput: a figure is NaN, negative or absurd, a ratio is not 0..1, or a knob is bad.
        TooLarge: there are more than MAX_STEPS steps.
    """
    check.size("search.history", message.history, MAX_STEPS)
    return SearchState(
        phase=_phase(message.phase),
        finished=message.finished,
        configuration=_configuration(message),
        probability_ratio=check.ratio("search.probability_ratio", message.probability_ratio),
        accuracy_ratio=_accuracy("search", message),
        agreement=message.agreement,
        cost_per_h=_optional("search", message, "cost_per_h"),
        samples_done=message.samples_done,
        operator_s=check.number("search.operator_s", message.operator_s),
        profile_cost=check.number("search.profile_cost", message.profile_cost),
        candidates_left=message.candidates_left,
        eta_s=_optional("search", message, "eta_s"),
        stopped=check.text("search.stopped", message.stopped),
        history=tuple(_step_from_message(step) for step in message.history),
    )


def _step_from_message(message: planner_pb2.SearchStep) -> SearchStep:
    return SearchStep(
        at=_moment("search.history.at", message.at),
        phase=_phase(message.phase),
        configuration=_configuration(message),
        accuracy_ratio=_accuracy("search.history", message),
        cost_per_h=_optional("search.history", message, "cost_per_h"),
        samples_done=message.samples_done,
        elapsed_s=check.number("search.history.elapsed_s", message.elapsed_s),
    )


def _phase(message: planner_pb2.SearchPhase) -> SearchPhase:
    return _PHASE_FROM_MESSAGE.get(message, SearchPhase.UNKNOWN)


def _configuration_to_message(configuration: Configuration | None) -> types_pb2.Configuration | None:
    return None if configuration is None else configuration_to_message(configuration)


def _configuration(message: planner_pb2.SearchState | planner_pb2.SearchStep) -> Configuration | None:
    return configuration_from_message(message.configuration) if message.HasField("configuration") else None


def _interval_to_message(interval: Interval | None) -> types_pb2.Interval | None:
    return None if interval is None else interval_to_message(interval)


def _accuracy(field: str, message: planner_pb2.SearchState | planner_pb2.SearchStep) -> Interval | None:
    if not message.HasField("accuracy_ratio"):
        return None
    value, low, high = (
        check.ratio(f"{field}.accuracy_ratio.{name}", getattr(message.accuracy_ratio, name))
        for name in ("value", "low", "high")
    )
    if not low <= high:
        raise InvalidInput(
            f"{field}.accuracy_ratio: from {low!r} to {high!r} is no interval",
            (Violation(field=f"{field}.accuracy_ratio", message="its low end is above its high end"),),
        )
    return Interval(value=value, low=low, high=high)


def _optional(field: str, message: planner_pb2.SearchState | planner_pb2.SearchStep, name: str) -> float | None:
    return check.number(f"{field}.{name}", getattr(message, name)) if message.HasField(name) else None


def _moment(field: str, message: Timestamp) -> datetime:
    try:
        return message.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"{field}: {error}", (Violation(field=field, message="is no moment"),)) from error
