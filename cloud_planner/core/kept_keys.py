"""Processes that go on under the key that they have. PURE.

The key of processes that several may share says how far they are shared (process_groups.py), and that changes with
queries that run elsewhere. What serves the same with the same code is the same process all the same: a new key would
start a second one beside it, and on a full device somebody would have to pause for that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from circinus import wire
from circinus.model.device import DeviceId
from circinus.model.directive import Directive, ReplicaSet
from circinus.model.pipeline import PipelineId
from circinus.model.query import QueryId
from circinus.v1 import types_pb2


def kept_keys(told: Sequence[Directive], before: Mapping[DeviceId, types_pb2.Directive]) -> tuple[Directive, ...]:
    """Directives of which each replica set that is there already has the key that it has there.

    ``before``: the directives in force. Only what may be shared keeps a key: all else is as its key says.
    """
    return tuple(
        _kept(directive, before[directive.device_id]) if directive.device_id in before else directive
        for directive in told
    )


def _kept(directive: Directive, message: types_pb2.Directive) -> Directive:
    keys, known = {one.key for one in directive.replica_sets}, {one.key for one in message.replica_sets}
    new = [one for one in directive.replica_sets if one.key not in known and _may_be_shared(one)]
    if not new:
        return directive
    there = wire.directive_from_message(message).replica_sets
    leaving = [one for one in there if one.key not in keys and _may_be_shared(one)]
    alike = sorted(
        (len(_served(old) ^ _served(one)), one.key, old.key)
        for one in new
        for old in leaving
        if _what(old) == _what(one) and _served(old) & _served(one)
    )
    names: dict[str, str] = {}
    for _, key, old_key in alike:
        if key not in names and old_key not in names.values():
            names[key] = old_key
    sets = tuple(replace(one, key=names.get(one.key, one.key)) for one in directive.replica_sets)
    return replace(directive, replica_sets=sets) if names else directive


def _may_be_shared(one: ReplicaSet) -> bool:
    """Whether it says of each use what that has of it, as only such processes do."""
    return bool(one.uses) and all(use.cores > 0.0 for use in one.uses)


def _served(one: ReplicaSet) -> set[tuple[str, str]]:
    return {(use.query_id, use.operator_id) for use in one.uses}


def _what(one: ReplicaSet) -> ReplicaSet:
    """What a process is, whoever's it is and whatever part of a core it has."""
    return replace(one, key="", query_id=QueryId(""), pipeline_id=PipelineId(""), cores=0.0, memory_bytes=0, uses=())


__all__ = ["kept_keys"]
