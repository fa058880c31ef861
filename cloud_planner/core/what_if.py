"""A problem as it would be if things were different. PURE.

Changes are made in the order in which they are given, so that a later one may name what an earlier one added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from math import isfinite
from typing import TypeVar

from circinus.errors import InvalidInput
from circinus.model.query import Query, Slo
from circinus.model.what_if import (
    ALL,
    AddDevices,
    CordonDevice,
    Figure,
    RemoveDevice,
    SetPrice,
    SetRate,
    SetSlo,
    SetWeight,
    SloField,
    WhatIf,
)
from cloud_planner.core.problem import Machine, Problem, QueryProblem
from cloud_planner.core.what_if_devices import Kin, add_devices, remove_device

Q = TypeVar("Q", Query, QueryProblem)

_MOST = 1e12


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A changed problem, and what was done, one line for each change."""

    problem: Problem
    told: tuple[str, ...]


def change_problem(problem: Problem, changes: Sequence[WhatIf], kin: Kin) -> Changed:
    """The problem with these changes.

    Args:
        problem: As things are.
        changes: In order.
        kin: What the problem does not say of its devices and operators.

    Raises:
        InvalidInput: a change names what is not there, or a figure that can't be.
    """
    told: list[str] = []
    for change in changes:
        match change:
            case AddDevices():
                problem, kin, said = add_devices(problem, change, kin)
            case RemoveDevice():
                problem, said = remove_device(problem, change)
            case CordonDevice():
                problem, said = _cordon(problem, change)
            case SetPrice():
                problem, lines = _price(problem, change, kin)
                said = "; ".join(lines)
            case SetRate() | SetWeight() | SetSlo():
                queries, lines = change_queries(problem.queries, [change])
                problem, said = replace(problem, queries=queries), "; ".join(lines)
        told.append(said)
    return Changed(problem=problem, told=tuple(told))


def change_queries(queries: Sequence[Q], changes: Iterable[WhatIf]) -> tuple[tuple[Q, ...], list[str]]:
    """Queries with those of the changes that concern queries, and what was done.

    Raises:
        InvalidInput: a change names a query that is not there, or a figure that can't be.
    """
    found, told = list(queries), []
    for change in changes:
        if not isinstance(change, (SetRate, SetWeight, SetSlo)):
            continue
        known = [query.id for query in found]
        if change.query != ALL and change.query not in known:
            raise InvalidInput(f"there is no query {change.query!r}{_meant(change.query, known)}")
        for number, query in enumerate(found):
            if change.query in (ALL, query.id):
                found[number], said = _changed(query, change)
                told.append(said)
    return tuple(found), told


def concerns_queries(change: WhatIf) -> bool:
    """Whether a change is one of queries, not of devices."""
    return isinstance(change, (SetRate, SetWeight, SetSlo))


def _changed(query: Q, change: SetRate | SetWeight | SetSlo) -> tuple[Q, str]:
    match change:
        case SetRate():
            return _rate(query, change)
        case SetWeight():
            return _weight(query, change)
        case SetSlo():
            return _slo(query, change)


def _rate(query: Q, change: SetRate) -> tuple[Q, str]:
    rate = _figure(f"the rate of {query.id}", change.rate_per_s, query.rate_per_s, above=0.0)
    return replace(query, rate_per_s=rate), f"{query.id}: {query.rate_per_s:g} -> {rate:g} items/s"


def _weight(query: Q, change: SetWeight) -> tuple[Q, str]:
    weight = _figure(f"the weight of {query.id}", change.weight, query.weight, above=0.0)
    return replace(query, weight=weight), f"{query.id}: weight {query.weight:g} -> {weight:g}"


def _slo(query: Q, change: SetSlo) -> tuple[Q, str]:
    value, what = change.value, f"{query.id}: {change.field}"
    if value is not None and not isfinite(value):
        raise InvalidInput(f"{what} {value!r} must be a number, or 'none' for no bound")
    slo: Slo = query.slo
    match change.field:
        case SloField.LATENCY_MS:
            if value is not None and value <= 0.0:
                raise InvalidInput(f"{what} {value:g} must be above 0 ms, or 'none' for no bound")
            before, slo = slo.latency_ms, replace(slo, latency_ms=value)
        case SloField.PERCENTILE:
            if value is None or not 0.0 < value < 1.0:
                raise InvalidInput(f"{what} must be above 0 and below 1")
            before, slo = slo.percentile_ratio, replace(slo, percentile_ratio=value)
        case SloField.ACCURACY:
            before, slo = slo.accuracy_ratio, replace(slo, accuracy_ratio=value)
        case SloField.COST_PER_H:
            if value is not None and value < 0.0:
                raise InvalidInput(f"{what} {value:g} must be at least 0, or 'none' for no bound")
            before, slo = slo.cost_per_h, replace(slo, cost_per_h=value)
    return replace(query, slo=slo), f"{what} {_bound(before)} -> {_bound(value)}"


def _bound(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _price(problem: Problem, change: SetPrice, kin: Kin) -> tuple[Problem, list[str]]:
    named = [machine.id for machine in problem.machines if change.device in (machine.id, kin.class_of(machine.id))]
    if not named:
        known = [name for machine in problem.machines for name in (machine.id, kin.class_of(machine.id))]
        raise InvalidInput(f"there is no device or class {change.device!r}{_meant(change.device, known)}")
    told: list[str] = []

    def priced(machine: Machine) -> Machine:
        price = _figure(f"the price of {machine.id}", change.price_per_h, machine.price_per_h, above=None)
        told.append(f"{machine.id}: {machine.price_per_h:g} -> {price:g} per hour")
        return replace(machine, price_per_h=price)

    return _each(problem, lambda machine: machine.id in named, priced), told


def _cordon(problem: Problem, change: CordonDevice) -> tuple[Problem, str]:
    known = [machine.id for machine in problem.machines]
    if change.device not in known:
        raise InvalidInput(f"there is no device {change.device!r}{_meant(change.device, known)}")
    made = _each(problem, lambda machine: machine.id == change.device, lambda machine: replace(machine, cordoned=True))
    return made, f"{change.device} takes nothing new"


def _each(problem: Problem, which: Callable[[Machine], bool], change: Callable[[Machine], Machine]) -> Problem:
    machines = tuple(change(machine) if which(machine) else machine for machine in problem.machines)
    return replace(problem, machines=machines)


def _figure(what: str, figure: Figure, present: float, *, above: float | None) -> float:
    value = figure.of(present)
    if not isfinite(value) or value > _MOST or value < 0.0 or (above is not None and value <= above):
        least = "above 0" if above is not None else "at least 0"
        raise InvalidInput(f"{what} would be {value:g}, but must be {least} and at most {_MOST:g}")
    return value


def _meant(word: str, known: Sequence[str]) -> str:
    names = sorted({name for name in known if name})
    close = get_close_matches(word, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}" if names else ""
