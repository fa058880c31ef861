"""Devices more or less in a problem. PURE.

A new device is a copy: cores, memory, accelerators and price of the one that it is like, and its ways to run operators.
Its links are those of a device that stands where it is put: of the one that it is like if that is there, else of one of
the same tier; at a site where nothing stands yet, those of the one that it is like to everything outside its own site.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from circinus.errors import InvalidInput
from circinus.model.device import DeviceId, SiteId
from circinus.model.pipeline import OperatorId
from circinus.model.query import QueryId
from circinus.model.what_if import AddDevices, RemoveDevice
from cloud_planner.core.meant import selects
from cloud_planner.core.problem import Candidate, Machine, Option, Problem, QueryProblem, Step, Uplink, Wire

_MOST_DEVICES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Kin:
    """What a problem doesn't say: devices' classes (none: their ids), and which operators may not run elsewhere.

    ``pinned`` None: nobody knows, and an operator that runs on its query's source only is taken to belong there.
    """

    classes: Mapping[DeviceId, str] = field(default_factory=dict)
    pinned: frozenset[tuple[QueryId, OperatorId]] | None = None

    def class_of(self, device: DeviceId) -> str:
        """A device's class."""
        return self.classes.get(device, device)


def add_devices(problem: Problem, change: AddDevices, kin: Kin) -> tuple[Problem, Kin, str]:
    """The problem with more devices, what is known of them, and what was done.

    Raises:
        InvalidInput: there is nothing that they could be like, or as many as anybody may want already.
    """
    if not 1 <= change.count <= _MOST_DEVICES:
        raise InvalidInput(f"{change.count} devices can't be added: it must be 1 to {_MOST_DEVICES:,}")
    like = _like(problem, change, kin)
    site = SiteId(change.site) if change.site else like.site
    if like.count is None and site == like.site:
        raise InvalidInput(f"there are as many machines of {like.id} as anybody may want already")
    if like.count is not None and like.count != 1 and site == like.site:
        grown = replace(like, count=like.count + change.count)
        machines = tuple(grown if machine.id == like.id else machine for machine in problem.machines)
        return replace(problem, machines=machines), kin, f"{like.id}: {like.count} -> {grown.count} machines"
    taken = {machine.id for machine in problem.machines}
    numbers = iter(range(1, len(taken) + change.count + 1))
    names: list[DeviceId] = []
    while len(names) < change.count:
        name = DeviceId(f"{change.like}@{site}+{next(numbers)}")
        if name not in taken:
            names.append(name)
    wires, uplinks = _links(problem, like, site, names)
    news = [_new(like, name, site) for name in names]
    made = replace(
        problem,
        machines=(*problem.machines, *news),
        wires=wires,
        uplinks=uplinks,
        queries=_with_options(problem, like, news, kin),
    )
    classes = {**kin.classes, **dict.fromkeys(names, kin.class_of(like.id))}
    told = f"{', '.join(names[:4])}{', ...' if len(names) > 4 else ''}: new, like {like.id}"
    return made, replace(kin, classes=classes), told


def _new(like: Machine, name: DeviceId, site: SiteId) -> Machine:
    """A machine like another one; its labels are that one's, but for those that say which it is and where."""
    own = {"device": (str(name),), "site": (str(site),)} if like.labels else {}
    return replace(like, id=name, site=site, count=1, cordoned=False, draining=False, labels={**like.labels, **own})


def _like(problem: Problem, change: AddDevices, kin: Kin) -> Machine:
    found = [machine for machine in problem.machines if machine.id == change.like]
    found = found or [machine for machine in problem.machines if kin.class_of(machine.id) == change.like]
    if not found:
        known = {name for machine in problem.machines for name in (machine.id, kin.class_of(machine.id))}
        raise InvalidInput(f"there is no device or class {change.like!r}{_meant(change.like, known)}")
    return min(found, key=lambda machine: (machine.site != change.site, machine.id))


def _meant(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = get_close_matches(word, names, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(names[:12])}{', ...' if len(names) > 12 else ''}"


def _links(
    problem: Problem, like: Machine, site: SiteId, names: list[DeviceId]
) -> tuple[tuple[Wire, ...], tuple[Uplink, ...]]:
    """All links and uplinks, with those of the new devices."""
    there = [machine for machine in problem.machines if machine.site == site and machine.tier is like.tier]
    model = like if like.site == site else min(there, key=lambda machine: machine.id, default=None)
    sites = {machine.id: machine.site for machine in problem.machines}
    by_ends = {(wire.source, wire.target): wire for wire in problem.wires}
    copied: list[tuple[Wire, Wire]] = []
    for wire in problem.wires:
        source, target = wire.source, wire.target
        if source == target:
            continue
        base = model.id if model is not None else like.id
        other = target if source == base else source
        if base not in (source, target) or (model is None and sites.get(other) == like.site):
            continue
        for name in names:
            new_wire = replace(wire, source=name) if source == base else replace(wire, target=name)
            copied.append((wire, new_wire))
    if model is not None:
        copied += _between(model, names, by_ends, sites)
    new: dict[tuple[DeviceId, DeviceId], Wire] = {(wire.source, wire.target): wire for _, wire in copied}
    # Where nothing stands yet there is no uplink to share, but those of the other side stay shared.
    shared = [
        uplink
        for uplink in problem.uplinks
        if model is not None or any(like.site not in (sites.get(a), sites.get(b)) for a, b in uplink.wires)
    ]
    uplinks = tuple(_with_wires(uplink, copied) if uplink in shared else uplink for uplink in problem.uplinks)
    return (*problem.wires, *new.values()), uplinks


def _with_wires(uplink: Uplink, copied: list[tuple[Wire, Wire]]) -> Uplink:
    old = set(uplink.wires)
    more = [(wire.source, wire.target) for pattern, wire in copied if (pattern.source, pattern.target) in old]
    return replace(uplink, wires=(*uplink.wires, *more))


def _between(
    model: Machine,
    names: list[DeviceId],
    wires: Mapping[tuple[DeviceId, DeviceId], Wire],
    sites: Mapping[DeviceId, SiteId],
) -> list[tuple[Wire, Wire]]:
    """Links among the new devices and with the one whose links they have: like its link to a neighbour."""
    pattern = wires.get((model.id, model.id)) or min(
        (w for (a, b), w in wires.items() if a == model.id and b != model.id and sites.get(b) == model.site),
        key=lambda wire: wire.target,
        default=None,
    )
    if pattern is None:
        return []
    group = [model.id, *names]
    return [(pattern, replace(pattern, source=a, target=b)) for a in group for b in group if a != b]


def _with_options(problem: Problem, like: Machine, news: list[Machine], kin: Kin) -> tuple[QueryProblem, ...]:
    """The queries, which may run on the new devices all that they may run on others of the class."""
    kind = kin.class_of(like.id)
    same = {machine.id for machine in problem.machines if kin.class_of(machine.id) == kind}
    elsewhere: dict[tuple[object, ...], tuple[Option, ...]] = {}
    for query in problem.queries:
        for candidate in query.candidates:
            for step in candidate.steps:
                if ways := _ways(step, like.id, same):
                    elsewhere.setdefault(_what_runs(candidate, step), ways)
    steps: dict[tuple[object, ...], Step] = {}
    pins: dict[QueryId, set[OperatorId]] | None = None if kin.pinned is None else {}
    for query_id, operator in kin.pinned or ():
        if pins is not None:
            pins.setdefault(query_id, set()).add(operator)
    found = []
    for query in problem.queries:
        pinned = _at_source(query) if pins is None else pins.get(query.id, set())
        found.append(_extended(query, like.id, news, same, elsewhere, pinned, steps))
    return tuple(found)


def _ways(step: Step, like: DeviceId, same: set[DeviceId]) -> tuple[Option, ...]:
    """The options of the device itself, else of the first of its class that has any."""
    machines = sorted({option.machine for option in step.options if option.machine in same})
    if not machines:
        return ()
    chosen = like if like in machines else machines[0]
    return tuple(option for option in step.options if option.machine == chosen)


def _what_runs(candidate: Candidate, step: Step) -> tuple[object, ...]:
    configuration = tuple(sorted((name, repr(value)) for name, value in candidate.configuration.items()))
    return (step.operator_id, step.inputs, step.items_per_item, step.output_bytes, configuration)


def _extended(
    query: QueryProblem,
    like: DeviceId,
    news: list[Machine],
    same: set[DeviceId],
    elsewhere: Mapping[tuple[object, ...], tuple[Option, ...]],
    pinned: set[OperatorId],
    known: dict[tuple[object, ...], Step],
) -> QueryProblem:
    candidates = []
    for candidate in query.candidates:
        steps = []
        for step in candidate.steps:
            if step.operator_id in pinned:
                steps.append(step)
                continue
            ways = _ways(step, like, same) or elsewhere.get(_what_runs(candidate, step), ())
            key = (id(step), ways, query.selector)
            if key not in known:
                more = tuple(
                    replace(way, machine=new.id, replicas_most=None)
                    for new in news
                    if selects(query, step.operator_id, new)
                    for way in ways
                )
                known[key] = replace(step, options=(*step.options, *more)) if more else step
            steps.append(known[key])
        candidates.append(replace(candidate, steps=tuple(steps)))
    return replace(query, candidates=tuple(candidates))


def _at_source(query: QueryProblem) -> set[OperatorId]:
    """The operators that run on the query's source only."""
    on: dict[OperatorId, set[DeviceId]] = {}
    for candidate in query.candidates:
        for step in candidate.steps:
            on.setdefault(step.operator_id, set()).update(option.machine for option in step.options)
    return {operator for operator, machines in on.items() if query.source is not None and machines == {query.source}}


def remove_device(problem: Problem, change: RemoveDevice) -> tuple[Problem, str]:
    """The problem without a device, or with fewer machines of a type, and what was done.

    Raises:
        InvalidInput: there is no such device, or there are fewer machines of it.
    """
    machine = next((machine for machine in problem.machines if machine.id == change.device), None)
    if machine is None:
        known = {machine.id for machine in problem.machines}
        raise InvalidInput(f"there is no device {change.device!r}{_meant(change.device, known)}")
    if change.count is not None and machine.count is None:
        raise InvalidInput(f"there are as many machines of {machine.id} as anybody may want; remove all of it, or none")
    if change.count is not None and machine.count is not None:
        if not 1 <= change.count <= machine.count:
            raise InvalidInput(f"{change.count} machines of {machine.id} can't be removed: there are {machine.count}")
        if change.count < machine.count:
            less = replace(machine, count=machine.count - change.count)
            machines = tuple(less if one.id == machine.id else one for one in problem.machines)
            return replace(problem, machines=machines), f"{machine.id}: {machine.count} -> {less.count} machines"
    gone = machine.id
    return (
        replace(
            problem,
            machines=tuple(one for one in problem.machines if one.id != gone),
            wires=tuple(wire for wire in problem.wires if gone not in (wire.source, wire.target)),
            uplinks=tuple(
                replace(uplink, wires=tuple(ends for ends in uplink.wires if gone not in ends))
                for uplink in problem.uplinks
            ),
            queries=tuple(_without(query, gone) for query in problem.queries),
            running=tuple(
                plan for plan in problem.running if all(operator.device_id != gone for operator in plan.operators)
            ),
        ),
        f"{gone} is gone",
    )


def _without(query: QueryProblem, gone: DeviceId) -> QueryProblem:
    if query.source == gone:
        return replace(query, candidates=(), impossible=f"its source {gone} is gone")
    candidates, lost = [], ""
    for candidate in query.candidates:
        steps = tuple(
            replace(step, options=tuple(option for option in step.options if option.machine != gone))
            if any(option.machine == gone for option in step.options)
            else step
            for step in candidate.steps
        )
        empty = next((step.operator_id for step in steps if not step.options), None)
        if empty is None:
            candidates.append(replace(candidate, steps=steps))
        else:
            lost = lost or empty
    impossible = query.impossible
    if query.candidates and not candidates:
        impossible = f"without {gone} nothing can run its operator {lost}"
    return replace(query, candidates=tuple(candidates), impossible=impossible)
