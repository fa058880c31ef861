"""Which devices the selector of a query lets its operators run on. PURE.

What a pipeline pins to the source runs there whatever the selector says: that is no choice of a device. Everything else
runs on devices that are meant, the source device included only if it is one of them. A source emits where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from circinus.model.device import Device, DeviceId
from circinus.model.pipeline import SOURCE, OperatorId, OperatorSpec, RegisteredPipeline
from circinus.model.query import Query
from circinus.model.selector import labels_of, parse_selector
from cloud_planner.core.problem import Candidate, Machine, QueryProblem, Step

#: Devices that a message names.
_NAMED = 5


class Meant:
    """The devices of a fleet by selector; each selector is looked at once."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._devices = devices
        self._labels: dict[DeviceId, Mapping[str, tuple[str, ...]]] = {}
        self._found: dict[str, frozenset[DeviceId] | None] = {"": None}

    def of(self, selector: str) -> frozenset[DeviceId] | None:
        """The devices that a selector means; None: all."""
        if selector not in self._found:
            if not self._labels:
                self._labels = {device.id: labels_of(device) for device in self._devices}
            parsed = parse_selector(selector)
            self._found[selector] = frozenset(name for name, labels in self._labels.items() if parsed.matches(labels))
        return self._found[selector]


def may_run(operator: OperatorSpec, device: DeviceId, query: Query, meant: frozenset[DeviceId] | None) -> bool:
    """Whether an operator of a query may run on a device: as its pipeline pins it and its selector lets it."""
    if operator.pinned == SOURCE:
        return device == query.source_device_id
    return (not operator.pinned or device == operator.pinned) and (meant is None or device in meant)


def unselected(operator: OperatorSpec, usable: Iterable[Device], query: Query) -> str:
    """Why no device that could run an operator may, if it is the selector's doing; empty: it is not."""
    if not query.selector:
        return ""
    names = sorted(device.id for device in usable if may_run(operator, device.id, query, None))
    return _left_out(query.selector, operator.id, names) if names else ""


def _left_out(selector: str, operator_id: OperatorId, names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return (
        f"its selector {selector!r} leaves out every device that could run operator {operator_id} "
        f"({', '.join(names[:_NAMED])}{more}): drop the selector, or give one of them the labels"
    )


def at_source(registered: RegisteredPipeline) -> frozenset[OperatorId]:
    """The operators that a pipeline pins to the source."""
    return frozenset(operator.id for operator in registered.pipeline.operators if operator.pinned == SOURCE)


def widest(query: QueryProblem) -> QueryProblem:
    """A query as if it had no selector, as far as that is known."""
    if not query.freely:
        return query
    return replace(query, candidates=query.freely, freely=(), selector="", impossible="")


def selects(query: QueryProblem, operator_id: OperatorId, machine: Machine) -> bool:
    """Whether a query's selector lets an operator run on a machine."""
    if not query.selector or (operator_id in query.at_source and machine.id == query.source):
        return True
    return parse_selector(query.selector).matches(machine.labels)


class Narrowing:
    """Queries with options on the machines alone that their selectors mean. What is shared stays shared."""

    def __init__(self, machines: Iterable[Machine]) -> None:
        self._machines = {machine.id: machine for machine in machines}
        self._steps: dict[tuple[int, str, DeviceId | None], Step] = {}
        #: Holds what is looked up by its id, so that the id stays taken.
        self._candidates: dict[
            tuple[int, str, DeviceId | None], tuple[tuple[Candidate, ...], tuple[Candidate, ...]]
        ] = {}

    def of(self, query: QueryProblem) -> QueryProblem:
        """A query with what its selector lets it have; if that is nothing, it is said why."""
        if not query.selector or not query.candidates:
            return query
        key = (id(query.candidates), query.selector, query.source if query.at_source else None)
        if key not in self._candidates:
            made = tuple(
                replace(candidate, steps=tuple(self._step(step, query) for step in candidate.steps))
                for candidate in query.candidates
            )
            left = tuple(one for one in made if all(step.options for step in one.steps))
            self._candidates[key] = (query.candidates, left)
        left = self._candidates[key][1]
        why = "" if left else self._why(query)
        return replace(query, candidates=left, freely=query.candidates, impossible=query.impossible or why)

    def _step(self, step: Step, query: QueryProblem) -> Step:
        key = (id(step), query.selector, query.source if step.operator_id in query.at_source else None)
        if key not in self._steps:
            options = tuple(
                option for option in step.options if selects(query, step.operator_id, self._machines[option.machine])
            )
            self._steps[key] = replace(step, options=options) if len(options) < len(step.options) else step
        return self._steps[key]

    def _why(self, query: QueryProblem) -> str:
        candidate = query.candidates[0]
        for step in candidate.steps:
            if not self._step(step, query).options:
                names = sorted({option.machine for option in step.options})
                return _left_out(query.selector, step.operator_id, names)
        return f"its selector {query.selector!r} leaves no configuration a machine for each of its operators"


__all__ = ["Meant", "Narrowing", "at_source", "may_run", "selects", "unselected", "widest"]
