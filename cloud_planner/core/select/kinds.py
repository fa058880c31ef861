"""Queries of one kind: the same but for the names of machines, so that one template serves them all. PURE.

A query's form numbers the machines that its items can reach: the source first, the others by what they are, how they
are linked and what runs there. Two queries whose forms, rate, SLO and tight resources agree have the same template
once these numbers stand for names. Machines that look alike are numbered by name; where that hides that two queries are
alike, each is a kind of its own: no harm but time.

Never shared are templates of queries that name others or share with them: split ones, those that must stay apart, and
those with steps that others may share.

Complexity: machines^2 + options for each tuple of candidates and source; a look-up for each query.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

from circinus.model.device import DeviceId
from cloud_planner.core.network import Network
from cloud_planner.core.problem import Candidate, Machine, Option, Problem, QueryProblem, Sharing, Step
from cloud_planner.core.resources import Resource

#: Resources that name one machine, right after their kind, and no query.
_OF_MACHINES = frozenset({"cores", "memory", "slots", "accelerator_memory", "on", "machines", "shape"})
_KNOWN = _OF_MACHINES | {"bits", "uplink", "apart", "process"}
#: By number of the machine: where its options stand among those of a step.
Places = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Form:
    """A query without names.

    ``ends``: the source, if there is one, then all machines that can run something, in their canonical order;
    ``first``: how many ends come before the first machine that can. ``links`` between them and ``uplinks`` that these
    are part of, in order of appearance. ``steps``: all different ones of the candidates; ``places``: of each. ``key``:
    equal for queries that differ in names only.
    """

    ends: tuple[DeviceId, ...]
    first: int
    links: tuple[tuple[DeviceId, DeviceId], ...]
    uplinks: tuple[str, ...]
    steps: tuple[Step, ...]
    places: tuple[Places, ...]
    key: int

    @property
    def machines(self) -> tuple[DeviceId, ...]:
        """The machines that can run something."""
        return self.ends[self.first :]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """What a tuple of candidates is. ``groups``: by machine and step, the code of its options there."""

    candidates: tuple[Candidate, ...]
    code: int
    steps: tuple[Step, ...]
    groups: Mapping[DeviceId, tuple[int, ...]]


class Forms:
    """Forms of a problem's queries; what queries have in common is looked at once."""

    def __init__(self, network: Network, problem: Problem) -> None:
        self._network = network
        self._onward: dict[DeviceId, list[DeviceId]] = defaultdict(list)
        for source, target in network.wires:
            self._onward[source].append(target)
        self._sharing = problem.sharing is not Sharing.NONE
        self._apart = {name for query in problem.queries if query.apart_from for name in (query.id, *query.apart_from)}
        self._codes: dict[Hashable, int] = {}
        self._ways: dict[tuple[DeviceId | None, DeviceId], int] = {}
        #: By identity; the tables hold what is looked up, so that an id stays taken.
        self._steps: dict[int, tuple[Step, Mapping[DeviceId, tuple[int, ...]], Mapping[DeviceId, int]]] = {}
        self._tables: dict[int, _Table] = {}
        self._keys: dict[int, tuple[tuple[Candidate, ...], bool]] = {}
        self._forms: dict[tuple[int, DeviceId | None], Form] = {}

    def shares(self, query: QueryProblem) -> bool:
        """Whether its template may be another's, too."""
        sharing = self._sharing and self._keyed(query)
        return not (sharing or query.splittable or query.impossible or query.id in self._apart)

    def _keyed(self, query: QueryProblem) -> bool:
        """Whether it has a step that others may share."""
        known = self._keys.get(id(query.candidates))
        if known is None:
            keyed = any(step.share_key for candidate in query.candidates for step in candidate.steps)
            known = self._keys[id(query.candidates)] = (query.candidates, keyed)
        return known[1]

    def form(self, query: QueryProblem) -> Form:
        """The form of a query."""
        key = (id(query.candidates), query.source)
        if key not in self._forms:
            self._forms[key] = self._made(self._table(query.candidates), query.source)
        return self._forms[key]

    def _code(self, value: Hashable) -> int:
        return self._codes.setdefault(value, len(self._codes))

    def _table(self, candidates: tuple[Candidate, ...]) -> _Table:
        known = self._tables.get(id(candidates))
        if known is not None:
            return known
        numbers: dict[int, int] = {}
        steps: list[Step] = []
        rows = []
        for candidate in candidates:
            for step in candidate.steps:
                if id(step) not in numbers:
                    numbers[id(step)] = len(steps)
                    steps.append(step)
            rows.append(
                (
                    candidate.accuracy,
                    candidate.source_bytes,
                    candidate.outputs,
                    candidate.latency_uncertainty_ratio,
                    candidate.stage_correlation_ratio,
                    tuple(numbers[id(step)] for step in candidate.steps),
                )
            )
        groups: dict[DeviceId, list[int]] = {}
        for place, step in enumerate(steps):
            for machine, code in self._step(step)[2].items():
                groups.setdefault(machine, [-1] * len(steps))[place] = code
        made = _Table(
            candidates=candidates,
            code=self._code((tuple(rows), tuple(step_key(step) for step in steps))),
            steps=tuple(steps),
            groups={machine: tuple(codes) for machine, codes in groups.items()},
        )
        self._tables[id(candidates)] = made
        return made

    def _step(self, step: Step) -> tuple[Step, Mapping[DeviceId, tuple[int, ...]], Mapping[DeviceId, int]]:
        """By machine: where its options stand, and what they are as one code."""
        known = self._steps.get(id(step))
        if known is None:
            places: dict[DeviceId, list[int]] = defaultdict(list)
            for index, option in enumerate(step.options):
                if option.machine in self._network.machines:
                    places[option.machine].append(index)
            codes = {
                machine: self._code(tuple(option_key(step.options[index]) for index in indices))
                for machine, indices in places.items()
            }
            known = (step, {machine: tuple(indices) for machine, indices in places.items()}, codes)
            self._steps[id(step)] = known
        return known

    def _reached(self, table: _Table, source: DeviceId | None) -> list[DeviceId]:
        """The machines that items can come to, each way leading over machines that can run something."""
        if source is None:
            return sorted(table.groups)
        seen, frontier = {source}, [source]
        while frontier:
            for target in self._onward.get(frontier.pop(), ()):
                if target not in seen and target in table.groups:
                    seen.add(target)
                    frontier.append(target)
        return sorted(seen & table.groups.keys())

    def _way(self, source: DeviceId | None, target: DeviceId) -> int:
        """What a way is but for names."""
        if (source, target) not in self._ways:
            hop = self._network.hop(source, target)
            said = (
                None
                if hop is None
                else (
                    hop.delay_ms,
                    hop.ms_per_byte,
                    hop.back_ms,
                    hop.price_per_byte,
                    None if hop.wire is None else ("wire", hop.wire.bandwidth_bit_per_s),
                    tuple(uplink.bandwidth_bit_per_s for uplink in hop.uplinks),
                    self._network.same_site(source, target),
                )
            )
            self._ways[source, target] = self._code(said)
        return self._ways[source, target]

    def _made(self, table: _Table, source: DeviceId | None) -> Form:
        reached = self._reached(table, source)
        looks: dict[DeviceId, tuple[object, ...]] = {}
        for name in reached:
            back = -1 if source is None else self._way(name, source)
            own = self._code(machine_key(self._network.machines[name]))
            looks[name] = (name != source, own, self._way(source, name), back, table.groups[name])
        # Names only part machines that look alike.
        machines = sorted(reached, key=lambda name: (looks[name], name))
        first = 1 if source is not None and source not in looks else 0
        ends = (source, *machines) if first and source is not None else tuple(machines)
        uplinks: dict[str, int] = {}
        pairs = [(a, b) for a in ends for b in machines]
        passed = tuple(
            uplinks.setdefault(uplink.id, len(uplinks))
            for ends_of in pairs
            for uplink in self._network.uplinks.get(ends_of, ())
        )
        ways = tuple(self._way(a, b) for a, b in pairs)
        key = (table.code, source is None, first, tuple(looks[name] for name in machines), ways, passed)
        places = tuple(tuple(self._step(step)[1].get(name, ()) for name in machines) for step in table.steps)
        return Form(
            ends=ends,
            first=first,
            links=tuple(ends_of for ends_of in pairs if ends_of in self._network.wires),
            uplinks=tuple(uplinks),
            steps=table.steps,
            places=places,
            key=self._code(key),
        )


def step_key(step: Step) -> Hashable:
    """A step without its options."""
    return (
        step.operator_id,
        step.inputs,
        step.output_bytes,
        step.items_per_item,
        step.single,
        step.site_inputs,
        step.share_key,
        step.pooled,
    )


def option_key(option: Option) -> Hashable:
    """An option without its machine."""
    return (
        option.cores,
        option.service.mean_ms,
        option.service.variance_ms2,
        option.capacity_per_s,
        option.memory_bytes,
        option.accelerator_slots,
        option.accelerator_memory_bytes,
        option.batch,
        option.replicas_most,
    )


def machine_key(machine: Machine) -> Hashable:
    """A machine without its name and site; whether two are at one site is said of the way between them.

    What cordons, drains and selectors do to a query stands in its options.
    """
    return (
        machine.tier,
        machine.cores,
        machine.memory_bytes,
        machine.accelerator_slots,
        machine.accelerator_memory_bytes,
        machine.price_per_h,
        machine.billing,
        -1 if machine.count is None else machine.count,
        machine.exclusive,
    )


class Tight:
    """What is tight, by what it is of."""

    def __init__(self, left: Mapping[Resource, float]) -> None:
        self.known = all(resource[0] in _KNOWN for resource in left)
        self._left = left
        self._of_machine: dict[object, list[tuple[Resource, float]]] = defaultdict(list)
        for resource, amount in left.items():
            # Shapes that have an owner are replicas of a split query.
            if resource[0] in _OF_MACHINES and not (resource[0] == "shape" and resource[2] != ""):
                self._of_machine[resource[1]].append((resource, amount))
        self._codes: dict[object, Hashable] = {}
        self._keys: dict[int, tuple[Form, Hashable]] = {}

    def key(self, form: Form) -> Hashable:
        """What is tight for a query and how much there is of it, without names."""
        known = self._keys.get(id(form))
        if known is None:
            left = self._left
            bits = tuple(left.get(("bits", a, b)) for a, b in form.links)
            uplinks = tuple(left.get(("uplink", name)) for name in form.uplinks)
            known = (form, (tuple(self._machine(name) for name in form.machines), bits, uplinks))
            self._keys[id(form)] = known
        return known[1]

    def _machine(self, name: DeviceId) -> Hashable:
        if name not in self._codes:
            mine = self._of_machine[name]
            self._codes[name] = frozenset(((resource[0], *resource[2:]), amount) for resource, amount in mine)
        return self._codes[name]

    def of(self, form: Form) -> dict[Resource, float]:
        """What is tight for a query."""
        found = {resource: amount for name in form.machines for resource, amount in self._of_machine[name]}
        links: list[Resource] = [("bits", a, b) for a, b in form.links]
        links += [("uplink", name) for name in form.uplinks]
        return found | {link: self._left[link] for link in links if link in self._left}


class Renaming:
    """From the names of one form to those of another with the same key."""

    def __init__(self, source: Form, target: Form) -> None:
        self._machines: dict[object, DeviceId] = dict(zip(source.ends, target.ends, strict=True))
        self._uplinks: dict[object, str] = dict(zip(source.uplinks, target.uplinks, strict=True))
        self._known: dict[Resource, Resource] = {}
        #: By step: its options' places in the other's. None: all stay.
        self.options: Mapping[int, Mapping[int, int]] | None = None
        if source.places != target.places:
            self.options = {
                id(step): {a: b for mine, theirs in zip(*both, strict=True) for a, b in zip(mine, theirs, strict=True)}
                for step, *both in zip(source.steps, source.places, target.places, strict=True)
            }

    def resource(self, resource: Resource) -> Resource:
        """A resource's name there."""
        if resource not in self._known:
            self._known[resource] = self._named(resource)
        return self._known[resource]

    def _named(self, resource: Resource) -> Resource:
        if resource[0] == "uplink":
            return ("uplink", self._uplinks[resource[1]])
        if resource[0] == "bits":
            return ("bits", self._machines[resource[1]], self._machines[resource[2]])
        return (resource[0], self._machines[resource[1]], *resource[2:])


def reduced(query: QueryProblem, form: Form) -> tuple[QueryProblem, Form]:
    """The query with those options only that its items can reach, and its form."""
    kept = [sorted(index for places in step for index in places) for step in form.places]
    if all(len(mine) == len(step.options) for step, mine in zip(form.steps, kept, strict=True)):
        return query, form
    steps = {
        id(step): replace(step, options=tuple(step.options[index] for index in mine))
        for step, mine in zip(form.steps, kept, strict=True)
    }
    places = tuple(
        tuple(tuple(mine.index(index) for index in machine) for machine in step)
        for step, mine in zip(form.places, kept, strict=True)
    )
    candidates = tuple(
        replace(candidate, steps=tuple(steps[id(step)] for step in candidate.steps)) for candidate in query.candidates
    )
    made = tuple(steps[id(step)] for step in form.steps)
    return replace(query, candidates=candidates), replace(form, steps=made, places=places)


__all__ = ["Form", "Forms", "Renaming", "Tight", "machine_key", "option_key", "reduced", "step_key"]
