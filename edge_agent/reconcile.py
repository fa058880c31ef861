"""PURE. What must run and what runs -> what to start, stop and keep.

A process is known by its kind and the key that the directives give it: equal keys in two generations are the
same process, which stays as it is (make before break: while two generations are kept, what either of them needs
runs). Nothing here knows of processes; runtime.py alone starts and stops them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from circinus.model.directive import Directive, Generation, ReplicaSet, SourceSpec


class UnitKind(StrEnum):
    """What kind of thing runs."""

    REPLICA_SET = "replica_set"
    SOURCE = "source"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Unit:
    """A replica set or a source, by its key in the directives."""

    kind: UnitKind
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What has to happen. The three are disjoint; specs are those of the newest generation that has the key."""

    start_replica_sets: tuple[ReplicaSet, ...]
    start_sources: tuple[SourceSpec, ...]
    stop: tuple[Unit, ...]
    keep: tuple[Unit, ...]


def units_of(directive: Directive) -> tuple[Unit, ...]:
    """Everything that a directive has run, in its order, each once."""
    units = [Unit(kind=UnitKind.REPLICA_SET, key=replica_set.key) for replica_set in directive.all_replica_sets]
    units += [Unit(kind=UnitKind.SOURCE, key=source.key) for source in directive.sources]
    return tuple(dict.fromkeys(units))


def reconcile(kept: Iterable[Directive], running: Collection[Unit]) -> Changes:
    """The way from what runs to what the kept generations need. Applied twice, the second changes nothing."""
    directives = sorted(kept, key=lambda one: one.generation)
    replica_sets = {Unit(kind=UnitKind.REPLICA_SET, key=key): spec for key, spec in joint_specs(directives).items()}
    sources: dict[Unit, SourceSpec] = {}
    for directive in directives:
        for source in directive.sources:
            sources[Unit(kind=UnitKind.SOURCE, key=source.key)] = source
    present = set(running)
    desired = replica_sets.keys() | sources.keys()
    return Changes(
        start_replica_sets=tuple(spec for unit, spec in sorted(replica_sets.items(), key=_unit) if unit not in present),
        start_sources=tuple(spec for unit, spec in sorted(sources.items(), key=_unit) if unit not in present),
        stop=tuple(sorted(present - desired)),
        keep=tuple(sorted(present & desired)),
    )


def joint_specs(kept: Iterable[Directive]) -> dict[str, ReplicaSet]:
    """By key, what the processes of the kept generations are: the newest's words, and all that any has them serve.

    While a query comes or goes its processes have the cores and the memory of the generation that gives them most.
    """
    found: dict[str, ReplicaSet] = {}
    for directive in sorted(kept, key=lambda one: one.generation):
        for spec in directive.all_replica_sets:
            older = found.get(spec.key)
            found[spec.key] = spec if older is None or older == spec else _joint(older, spec)
    return found


def _joint(older: ReplicaSet, newer: ReplicaSet) -> ReplicaSet:
    known = {(use.query_id, use.operator_id) for use in newer.served}
    more = tuple(use for use in older.served if (use.query_id, use.operator_id) not in known)
    return replace(
        newer,
        uses=(*newer.served, *more) if more else newer.uses,
        cores=max(older.cores, newer.cores),
        memory_bytes=max(older.memory_bytes, newer.memory_bytes),
    )


def superseded(
    generations: Collection[Generation], active: Generation | None, seen: Collection[Generation]
) -> tuple[Generation, ...]:
    """Generations that nothing needs any more, before the planner says so.

    A newer one supersedes those that were staged and never activated, unless items came in under them (another
    device was activated first). Before anything is active (boot) all stay, since any may be activated next.
    """
    if active is None or not generations:
        return ()
    newest = max(generations)
    return tuple(sorted(one for one in generations if active < one < newest and one not in seen))


def _unit(entry: tuple[Unit, object]) -> Unit:
    return entry[0]
