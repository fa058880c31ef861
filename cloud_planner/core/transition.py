"""From what devices run to what they are to run, in steps of which each fits. PURE.

Make before break runs the old and the new side by side: from the moment that a generation is staged until what only
older ones need has ended, a device holds the processes of both. Over its capacity it must not be even then: the shares
of cores that are reserved, memory, accelerator slots and accelerator memory of all processes that either needs count,
each process once. So a change is a sequence of generations. What fits goes first, and what it leaves makes room for the
next. Where queries wait for each other in a circle, one makes a detour: a plan elsewhere for a moment, if there is one
that fits. Where there is none, a query pauses: it is drained, its processes end, the others move, and it starts anew.

Queries that share processes or items move together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from circinus.model.device import Device, DeviceId
from circinus.model.directive import Directive, Generation, Peer, ReplicaSet, Route, SourceSpec, StandBy
from circinus.model.query import QueryId
from cloud_planner.core.directives import dialled_by, sites_told

#: What a step takes: processes start, sources switch, items in flight end, processes stop.
STEP_S: Final = 3.0
_TOLERANCE: Final = 1e-6

#: Cores, bytes of memory, accelerator slots, bytes of accelerator memory.
Amounts = tuple[float, float, float, float]
_NONE: Final[Amounts] = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A full set of directives on the way. ``moved``: queries that have their last plan with it.

    ``detours``: queries that run elsewhere for a moment; ``paused``: queries that aren't served meanwhile, each with
    for how many seconds, as predicted.
    """

    directives: tuple[Directive, ...]
    moved: tuple[QueryId, ...] = ()
    detours: tuple[QueryId, ...] = ()
    paused: Mapping[QueryId, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What some queries need of one device."""

    replica_sets: tuple[ReplicaSet, ...] = ()
    routes: tuple[Route, ...] = ()
    sources: tuple[SourceSpec, ...] = ()
    stand_bys: tuple[StandBy, ...] = ()


#: What some queries need, by device.
Parts = Mapping[DeviceId, Part]
#: For a group of queries: other directives of it, any of which may serve it for a moment.
Detours = Callable[[frozenset[QueryId]], Iterable[Sequence[Directive]]]


def no_detours(group: frozenset[QueryId]) -> Iterable[Sequence[Directive]]:
    """Nothing runs anywhere else."""
    return ()


def capacities(devices: Iterable[Device]) -> dict[DeviceId, Amounts]:
    """What devices have; accelerator memory that nobody knows is no bound."""
    found: dict[DeviceId, Amounts] = {}
    for device in devices:
        accelerator_bytes = device.accelerator_memory_bytes
        found[device.id] = (
            device.cores,
            float(device.memory_bytes),
            float(sum(one.slots for one in device.accelerators)),
            float("inf") if accelerator_bytes is None else float(accelerator_bytes),
        )
    return found


def transition(
    before: Sequence[Directive],
    after: Sequence[Directive],
    have: Mapping[DeviceId, Amounts],
    *,
    beside: Sequence[Directive] = (),
    detours: Detours = no_detours,
) -> tuple[Step, ...]:
    """The steps from one set of directives to another; the last one's are ``after``. One step where all fits at once.

    ``beside``: directives of which processes may still be there during the first step. A device that ``have`` doesn't
    name is lost: nobody waits for it on the way, so queries that need it are served again by their last plan only.
    O(steps x queries).
    """
    way = _Way(before, after, have, detours)
    if way.fits_beside(chain(before, beside), after):
        return (Step(directives=tuple(after), moved=tuple(sorted(way.changed)), paused={}),)
    steps: list[Step] = []
    more: Sequence[Directive] = (*before, *beside)
    while way.left:
        steps.append(way.step(tuple(more)))
        more = ()
    # Peers that only the way needed go with the last step, and so does all that is equal.
    if not steps:
        return (Step(directives=tuple(after), paused={}),)
    steps[-1] = replace(steps[-1], directives=tuple(after))
    return tuple(_with_gaps(steps))


def union_use(directives: Iterable[Directive]) -> dict[DeviceId, Amounts]:
    """What the processes of all these directives take on each device, each process once."""
    found: dict[DeviceId, dict[str, Amounts]] = defaultdict(dict)
    for directive in directives:
        for one in _processes(directive.replica_sets, directive.stand_bys):
            # The cores and the memory of a shared process change with who shares it: the most of them counts.
            known = found[directive.device_id].get(one.key, _NONE)
            found[directive.device_id][one.key] = _most(known, _amounts(one))
    return {device_id: _sum(keys.values()) for device_id, keys in found.items()}


def over_capacity(directives: Iterable[Directive], have: Mapping[DeviceId, Amounts]) -> tuple[DeviceId, ...]:
    """The devices that could not hold the processes of all these directives side by side."""
    return tuple(
        device_id
        for device_id, used in sorted(union_use(directives).items())
        if device_id in have and not _within(used, have[device_id])
    )


def _within(used: Amounts, have: Amounts) -> bool:
    return all(mine <= there * (1.0 + _TOLERANCE) + _TOLERANCE for mine, there in zip(used, have, strict=True))


def _amounts(one: ReplicaSet) -> Amounts:
    count = float(one.replicas)
    return (
        count * one.cores,
        count * one.memory_bytes,
        count * one.accelerator_slots,
        count * one.accelerator_memory_bytes,
    )


def _most(one: Amounts, other: Amounts) -> Amounts:
    return (max(one[0], other[0]), max(one[1], other[1]), max(one[2], other[2]), max(one[3], other[3]))


def _beyond(one: Amounts, other: Amounts) -> Amounts:
    """What one has more than the other."""
    most = _most(one, other)
    return (most[0] - other[0], most[1] - other[1], most[2] - other[2], most[3] - other[3])


def _sum(amounts: Iterable[Amounts]) -> Amounts:
    total = _NONE
    for one in amounts:
        total = _plus(total, one)
    return total


def _plus(one: Amounts, other: Amounts) -> Amounts:
    return (one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3])


def _processes(replica_sets: Sequence[ReplicaSet], stand_bys: Sequence[StandBy]) -> Iterator[ReplicaSet]:
    yield from replica_sets
    for stand_by in stand_bys:
        yield from stand_by.replica_sets


class _Held:
    """The processes on devices while a step is made, each once, with the most that it is to have meanwhile."""

    def __init__(self, have: Mapping[DeviceId, Amounts]) -> None:
        self._have = have
        self._held: dict[DeviceId, dict[str, Amounts]] = defaultdict(dict)
        self._used: dict[DeviceId, Amounts] = defaultdict(lambda: _NONE)

    def take(self, parts: Parts) -> None:
        """Adds processes, whether they fit or not."""
        for device_id, added in self._added(parts).items():
            self._used[device_id] = _plus(self._used[device_id], _sum(added.values()))
            known = self._held[device_id]
            known |= {key: _plus(known.get(key, _NONE), more) for key, more in added.items()}

    def fits(self, parts: Parts) -> bool:
        """Whether they could be added to what is there."""
        return all(
            device_id not in self._have
            or not added
            or _within(_plus(self._used[device_id], _sum(added.values())), self._have[device_id])
            for device_id, added in self._added(parts).items()
        )

    def tightness(self, parts: Parts) -> float:
        """The largest part of a device that they would take more."""
        return max(
            (
                amount / there
                for device_id, added in self._added(parts).items()
                if device_id in self._have
                for amount, there in zip(_sum(added.values()), self._have[device_id], strict=True)
                if there > 0.0 and amount > 0.0
            ),
            default=0.0,
        )

    def _added(self, parts: Parts) -> dict[DeviceId, dict[str, Amounts]]:
        """What they would take more, by device and process: a shared one grows with who shares it."""
        found: dict[DeviceId, dict[str, Amounts]] = {}
        for device_id, part in parts.items():
            known, added = self._held[device_id], found.setdefault(device_id, {})
            for one in _processes(part.replica_sets, part.stand_bys):
                more = _beyond(_amounts(one), known.get(one.key, _NONE))
                if more != _NONE:
                    added[one.key] = _most(more, added.get(one.key, _NONE))
        return found


class _Way:
    """Where each group of queries is, and where it is to go."""

    def __init__(
        self,
        before: Sequence[Directive],
        after: Sequence[Directive],
        have: Mapping[DeviceId, Amounts],
        detours: Detours,
    ) -> None:
        self._have = have
        self._detours = detours
        self._generation = after[0].generation if after else Generation(epoch=0, number=0)
        groups = _groups((*before, *after))
        old, new = _parts(before, groups), _parts(after, groups)
        self._now: dict[frozenset[QueryId], Parts] = {
            group: old[group] if group in old and old[group].keys() <= have.keys() else {} for group in groups.values()
        }
        self._last: dict[frozenset[QueryId], Parts] = {group: new.get(group, {}) for group in groups.values()}
        there = [
            replace(one, peers=tuple(peer for peer in one.peers if peer.device_id in have))
            for one in before
            if one.device_id in have
        ]
        self._peers = _all_peers(there, after)
        self._sites = sites_told((*before, *after))
        self._rate = {
            source.query_id: source.weight * source.rate_per_s
            for directive in (*before, *after)
            for source in directive.sources
        }
        self.left = {group for group, parts in self._last.items() if self._now[group] != parts}
        self.changed = frozenset(query_id for group in self.left for query_id in group)
        self._detoured: set[frozenset[QueryId]] = set()

    def fits_beside(self, one: Iterable[Directive], other: Iterable[Directive]) -> bool:
        """Whether all processes of both fit at once."""
        return not over_capacity(chain(one, other), self._have)

    def step(self, beside: tuple[Directive, ...]) -> Step:
        """The next step; whatever it takes, it brings the way nearer to its end."""
        held = self._held(beside)
        moved = self._moves(held)
        if moved:
            return self._made(moved=moved)
        detour = self._detour(beside)
        if detour is not None:
            return self._made(detours=(detour,))
        return self._made(paused=self._pause())

    def _held(self, beside: Sequence[Directive], instead: Mapping[frozenset[QueryId], Parts] | None = None) -> _Held:
        held = _Held(self._have)
        for group, parts in self._now.items():
            held.take((instead or {}).get(group, parts))
        for directive in beside:
            held.take({directive.device_id: Part(replica_sets=directive.replica_sets, stand_bys=directive.stand_bys)})
        return held

    def _moves(self, held: _Held) -> list[frozenset[QueryId]]:
        """As many groups as fit side by side with all that is there, the smallest first."""
        moved = []
        for group in sorted(self.left, key=lambda one: (held.tightness(self._last[one]), sorted(one))):
            if held.fits(self._last[group]):
                held.take(self._last[group])
                moved.append(group)
        for group in moved:
            self._now[group] = self._last[group]
        self.left.difference_update(moved)
        return moved

    def _detour(self, beside: Sequence[Directive]) -> frozenset[QueryId] | None:
        """A group that can run elsewhere for a moment, so that another one fits afterwards; once each."""
        for group in sorted(self.left - self._detoured, key=lambda one: (self._worth(one), sorted(one))):
            for others in self._detours(group):
                there = _parts(others, dict.fromkeys(group, group)).get(group, {})
                if not there or not self._held(beside).fits(there):
                    continue
                then = self._held((), {group: there})
                if any(then.fits(self._last[other]) for other in self.left):
                    self._peers = _merged_peers(self._peers, others)
                    self._sites |= sites_told(others)
                    self._now[group] = there
                    self._detoured.add(group)
                    return group
        return None

    def _pause(self) -> frozenset[QueryId]:
        """The group that is missed the least of those after whose end something fits; it ends."""
        ordered = sorted(
            (group for group in self.left if self._now[group]), key=lambda one: (self._worth(one), sorted(one))
        )
        if not ordered:
            # What is to run doesn't fit even alone: nothing is gained by waiting.
            group = min(self.left, key=sorted)
            self.left.discard(group)
            self._now[group] = self._last[group]
            return frozenset()
        for group in ordered:
            then = self._held((), {group: {}})
            if any(then.fits(self._last[other]) for other in self.left):
                break
        else:
            group = ordered[0]
        self._now[group] = {}
        return group

    def _worth(self, group: frozenset[QueryId]) -> float:
        return sum(self._rate.get(query_id, 0.0) for query_id in group)

    def _made(
        self,
        *,
        moved: Collection[frozenset[QueryId]] = (),
        detours: Collection[frozenset[QueryId]] = (),
        paused: frozenset[QueryId] = frozenset(),
    ) -> Step:
        return Step(
            directives=self._directives(),
            moved=tuple(sorted(query_id for group in moved for query_id in group)),
            detours=tuple(sorted(query_id for group in detours for query_id in group)),
            paused=dict.fromkeys(sorted(paused), STEP_S),
        )

    def _directives(self) -> tuple[Directive, ...]:
        by_device: dict[DeviceId, list[Part]] = defaultdict(list)
        for group in sorted(self._now, key=sorted):
            for device_id, part in self._now[group].items():
                by_device[device_id].append(part)
        callers = dialled_by(self._peers, self._sites)
        return tuple(
            Directive(
                device_id=device_id,
                generation=self._generation,
                replica_sets=tuple(one for part in by_device[device_id] for one in part.replica_sets),
                routes=tuple(one for part in by_device[device_id] for one in part.routes),
                sources=tuple(one for part in by_device[device_id] for one in part.sources),
                peers=self._peers.get(device_id, ()),
                stand_bys=tuple(one for part in by_device[device_id] for one in part.stand_bys),
                dialled_by=callers.get(device_id, ()),
            )
            for device_id in sorted({*by_device, *self._peers, *callers})
        )


def _with_gaps(steps: Sequence[Step]) -> Iterator[Step]:
    """Each pause with how long it is until its query is served again."""
    for index, one in enumerate(steps):
        gaps = {}
        for query_id in one.paused:
            back = next((later for later in range(index + 1, len(steps)) if query_id in steps[later].moved), len(steps))
            gaps[query_id] = STEP_S * (back - index)
        yield replace(one, paused=gaps)


def _groups(directives: Iterable[Directive]) -> dict[QueryId, frozenset[QueryId]]:
    """Queries by what they move together with: whoever shares processes or items."""
    leader: dict[QueryId, QueryId] = {}

    def find(query_id: QueryId) -> QueryId:
        leader.setdefault(query_id, query_id)
        while leader[query_id] != query_id:
            leader[query_id] = leader[leader[query_id]]
            query_id = leader[query_id]
        return query_id

    for directive in directives:
        for one in _processes(directive.replica_sets, directive.stand_bys):
            for use in one.served:
                leader[find(use.query_id)] = find(one.query_id)
        for route in directive.routes:
            find(route.query_id)
            for giver in getattr(route, "given_by", {}).values():
                leader[find(giver)] = find(route.query_id)
        for source in directive.sources:
            find(source.query_id)
            if source.leader_query_id:
                leader[find(source.leader_query_id)] = find(source.query_id)
    members: dict[QueryId, set[QueryId]] = defaultdict(set)
    for query_id in list(leader):
        members[find(query_id)].add(query_id)
    return {query_id: frozenset(members[find(query_id)]) for query_id in sorted(leader)}


def _parts(
    directives: Sequence[Directive], groups: Mapping[QueryId, frozenset[QueryId]]
) -> dict[frozenset[QueryId], dict[DeviceId, Part]]:
    """Directives by group and device."""
    found: dict[frozenset[QueryId], dict[DeviceId, Part]] = defaultdict(dict)
    for directive in directives:
        mine: dict[frozenset[QueryId], tuple[list[ReplicaSet], list[Route], list[SourceSpec], list[StandBy]]]
        mine = defaultdict(lambda: ([], [], [], []))
        for one in directive.replica_sets:
            mine[groups[one.query_id]][0].append(one)
        for route in directive.routes:
            mine[groups[route.query_id]][1].append(route)
        for source in directive.sources:
            mine[groups[source.query_id]][2].append(source)
        for stand_by in directive.stand_bys:
            mine[groups[stand_by.query_id]][3].append(stand_by)
        for group, (replica_sets, routes, sources, stand_bys) in mine.items():
            found[group][directive.device_id] = Part(
                replica_sets=tuple(replica_sets),
                routes=tuple(routes),
                sources=tuple(sources),
                stand_bys=tuple(stand_bys),
            )
    return found


def _all_peers(before: Sequence[Directive], after: Sequence[Directive]) -> dict[DeviceId, tuple[Peer, ...]]:
    """Whom each device dials on the way: all that either end needs, each pair from one side."""
    found = {directive.device_id: directive.peers for directive in after if directive.peers}
    return _merged_peers(found, before)


def _merged_peers(
    known: Mapping[DeviceId, tuple[Peer, ...]], directives: Iterable[Directive]
) -> dict[DeviceId, tuple[Peer, ...]]:
    pairs = {frozenset((device_id, peer.device_id)) for device_id, peers in known.items() for peer in peers}
    found = dict(known)
    for directive in directives:
        more = [peer for peer in directive.peers if frozenset((directive.device_id, peer.device_id)) not in pairs]
        pairs.update(frozenset((directive.device_id, peer.device_id)) for peer in more)
        if more:
            peers = (*found.get(directive.device_id, ()), *more)
            found[directive.device_id] = tuple(sorted(peers, key=lambda peer: peer.device_id))
    return found
