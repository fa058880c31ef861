"""Directives and their digests."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping

from circinus.errors import InvalidInput
from circinus.knobs import set_knobs
from circinus.model.device import DeviceId, Digest, SiteId
from circinus.model.directive import Directive, Generation, Peer, ReplicaSet, Route, SourceSpec, StandBy, Target, Use
from circinus.model.pipeline import OperatorId, PipelineId
from circinus.model.plan import Interval
from circinus.model.query import QueryId
from circinus.v1 import types_pb2
from circinus.wire import check
from circinus.wire.feed import feed_from_message, feed_to_message
from circinus.wire.knobs import configuration_from_message, configuration_to_message, knobs_from_map
from circinus.wire.plan import interval_to_message

_MAX_REPLICAS = 1_000
_SHARE_TOLERANCE = 1e-6
_MAX_FIELD_NAME_CHARS = 200


def directive_digest(message: types_pb2.Directive) -> str:
    """The digest that a directive's message must carry: over its deterministic bytes with an empty digest."""
    copy = types_pb2.Directive()
    copy.CopyFrom(message)
    copy.digest = ""
    return "sha256:" + hashlib.sha256(copy.SerializeToString(deterministic=True)).hexdigest()


def orders_of(message: types_pb2.Directive) -> types_pb2.Directive:
    """What a directive orders: without its generation, and without what it only predicts.

    Predictions move with every sample that is measured: by themselves they are no reason for another generation.
    """
    copy = types_pb2.Directive()
    copy.CopyFrom(message)
    for field in ("epoch", "generation", "digest"):
        copy.ClearField(field)
    for stand_by in copy.stand_bys:
        stand_by.ClearField("latency_ms")
        stand_by.ClearField("accuracy_ratio")
    for replica_sets in (copy.replica_sets, *(stand_by.replica_sets for stand_by in copy.stand_bys)):
        for replica_set in replica_sets:
            for use in replica_set.uses:
                use.ClearField("after_ms")
    return copy


def generation_of(message: types_pb2.Directive) -> Generation:
    """The generation that a directive's message is of."""
    return Generation(epoch=message.epoch, number=message.generation)


def _replica_set_to_message(replica_set: ReplicaSet) -> types_pb2.ReplicaSet:
    message = types_pb2.ReplicaSet(
        key=replica_set.key,
        query_id=replica_set.query_id,
        pipeline_id=replica_set.pipeline_id,
        operator_id=replica_set.operator_id,
        bundle_digest=replica_set.bundle_digest,
        environment_digest=replica_set.environment_digest,
        entry_point=replica_set.entry_point,
        replicas=replica_set.replicas,
        cores=replica_set.cores,
        accelerator_slots=replica_set.accelerator_slots,
        accelerator_memory_bytes=replica_set.accelerator_memory_bytes,
        memory_bytes=replica_set.memory_bytes,
        batch=replica_set.batch,
        hang_ms=replica_set.hang_ms,
        inputs=replica_set.inputs,
        uses=[
            types_pb2.Use(
                query_id=use.query_id,
                operator_id=use.operator_id,
                inputs=use.inputs,
                rate_per_s=use.rate_per_s,
                weight=use.weight,
                after_ms=use.after_ms,
                deadline_ms=use.deadline_ms,
                cores=use.cores,
                replicas=use.replicas,
            )
            for use in replica_set.uses
        ],
        split_by=replica_set.split_by,
        each=replica_set.each,
    )
    set_knobs(message.knobs, replica_set.knobs)
    return message


def _operator_ids(field: str, values: list[str]) -> tuple[OperatorId, ...]:
    check.size(field, values, 1_000)
    return tuple(OperatorId(check.name(field, value)) for value in values)


def _replica_set_from_message(message: types_pb2.ReplicaSet) -> ReplicaSet:
    check.size("replica_sets.uses", message.uses)
    return ReplicaSet(
        key=check.name("replica_sets.key", message.key),
        query_id=QueryId(check.name("replica_sets.query_id", message.query_id)),
        pipeline_id=PipelineId(check.name("replica_sets.pipeline_id", message.pipeline_id)),
        operator_id=OperatorId(check.name("replica_sets.operator_id", message.operator_id)),
        bundle_digest=Digest(check.digest("replica_sets.bundle_digest", message.bundle_digest)),
        environment_digest=Digest(check.digest("replica_sets.environment_digest", message.environment_digest)),
        entry_point=check.name("replica_sets.entry_point", message.entry_point),
        knobs=knobs_from_map(message.knobs),
        replicas=int(check.number("replica_sets.replicas", message.replicas, low=1, high=_MAX_REPLICAS)),
        cores=check.number("replica_sets.cores", message.cores, low=1e-3, high=1e4),
        accelerator_slots=int(check.number("replica_sets.accelerator_slots", message.accelerator_slots, high=1024)),
        accelerator_memory_bytes=message.accelerator_memory_bytes,
        memory_bytes=message.memory_bytes,
        batch=int(check.number("replica_sets.batch", message.batch, low=1, high=10_000)),
        hang_ms=check.number("replica_sets.hang_ms", message.hang_ms, low=1, high=1e9),
        inputs=_operator_ids("replica_sets.inputs", list(message.inputs)),
        uses=tuple(_use_from_message(use) for use in message.uses),
        split_by=_field_name("replica_sets.split_by", message.split_by),
        each=message.each,
    )


def _field_name(field: str, value: str) -> str:
    """The name of a payload's field, which may be any text."""
    if len(value) > _MAX_FIELD_NAME_CHARS:
        raise InvalidInput(f"{field} has {len(value)} characters, at most {_MAX_FIELD_NAME_CHARS} may be")
    return value


def _use_from_message(message: types_pb2.Use) -> Use:
    field = "replica_sets.uses"
    return Use(
        query_id=QueryId(check.name(f"{field}.query_id", message.query_id)),
        operator_id=OperatorId(check.name(f"{field}.operator_id", message.operator_id)),
        inputs=_operator_ids(f"{field}.inputs", list(message.inputs)),
        rate_per_s=check.number(f"{field}.rate_per_s", message.rate_per_s, high=1e9),
        weight=check.number(f"{field}.weight", message.weight or 1.0, low=1e-6, high=1e6),
        after_ms=check.number(f"{field}.after_ms", message.after_ms, high=1e9),
        deadline_ms=check.number(f"{field}.deadline_ms", message.deadline_ms, high=1e9),
        cores=check.number(f"{field}.cores", message.cores, high=1e4),
        replicas=max(1, int(check.number(f"{field}.replicas", message.replicas, high=_MAX_REPLICAS))),
    )


def _route_to_message(route: Route) -> types_pb2.Route:
    return types_pb2.Route(
        query_id=route.query_id,
        operator_id=route.operator_id,
        inputs=route.inputs,
        targets=[
            types_pb2.Target(device_id=target.device_id, share_ratio=target.share_ratio) for target in route.targets
        ],
        given_by={str(name): str(query_id) for name, query_id in route.given_by.items()},
        earlier_ms=route.earlier_ms,
        each=route.each,
    )


def _route_from_message(message: types_pb2.Route) -> Route:
    check.size("routes.targets", message.targets, _MAX_REPLICAS)
    targets = tuple(
        Target(
            device_id=DeviceId(check.name("routes.targets.device_id", target.device_id)),
            share_ratio=check.ratio("routes.targets.share_ratio", target.share_ratio),
        )
        for target in message.targets
    )
    total = math.fsum(target.share_ratio for target in targets)
    if abs(total - 1.0) > _SHARE_TOLERANCE:
        raise InvalidInput(f"routes.targets: shares of operator {message.operator_id!r} sum to {total:g}, not to 1")
    return Route(
        query_id=QueryId(check.name("routes.query_id", message.query_id)),
        operator_id=OperatorId(check.name("routes.operator_id", message.operator_id)),
        inputs=_operator_ids("routes.inputs", list(message.inputs)),
        targets=targets,
        given_by=_given_by("routes.given_by", message.given_by),
        earlier_ms=check.number("routes.earlier_ms", message.earlier_ms, high=1e9),
        each=message.each,
    )


def _given_by(field: str, values: Mapping[str, str]) -> dict[OperatorId, QueryId]:
    check.size(field, values, 1_000)
    return {
        OperatorId(check.name(field, name)): QueryId(check.name(field, query_id))
        for name, query_id in sorted(values.items())
    }


def _source_to_message(source: SourceSpec) -> types_pb2.SourceSpec:
    return types_pb2.SourceSpec(
        key=source.key,
        query_id=source.query_id,
        pipeline_id=source.pipeline_id,
        bundle_digest=source.bundle_digest,
        environment_digest=source.environment_digest,
        entry_point=source.entry_point,
        scorer_entry_point=source.scorer_entry_point,
        content=source.content,
        seed=source.seed,
        rate_per_s=source.rate_per_s,
        deadline_ms=source.deadline_ms,
        output_operator_ids=source.output_operator_ids,
        clip=source.clip,
        input=source.input,
        leader_query_id=source.leader_query_id,
        weight=source.weight,
        reference=configuration_to_message(source.reference) if source.reference else None,
        given_by={str(name): str(query_id) for name, query_id in source.given_by.items()},
        feed=feed_to_message(source.feed) if source.feed is not None else None,
        sink=source.sink,
    )


def _source_from_message(message: types_pb2.SourceSpec) -> SourceSpec:
    return SourceSpec(
        key=check.name("sources.key", message.key),
        query_id=QueryId(check.name("sources.query_id", message.query_id)),
        pipeline_id=PipelineId(check.name("sources.pipeline_id", message.pipeline_id)),
        bundle_digest=Digest(check.digest("sources.bundle_digest", message.bundle_digest)),
        environment_digest=Digest(check.digest("sources.environment_digest", message.environment_digest)),
        entry_point=check.name("sources.entry_point", message.entry_point),
        scorer_entry_point=check.name("sources.scorer_entry_point", message.scorer_entry_point, empty=True),
        content=check.name("sources.content", message.content),
        seed=message.seed,
        rate_per_s=check.number("sources.rate_per_s", message.rate_per_s, low=1e-6, high=1e6),
        deadline_ms=check.number("sources.deadline_ms", message.deadline_ms, high=1e9),
        output_operator_ids=_operator_ids("sources.output_operator_ids", list(message.output_operator_ids)),
        clip=max(1, int(check.number("sources.clip", message.clip, high=1_000))),
        input=check.uri("sources.input", message.input),
        leader_query_id=QueryId(check.name("sources.leader_query_id", message.leader_query_id, empty=True)),
        weight=check.number("sources.weight", message.weight or 1.0, low=1e-6, high=1e6),
        reference=configuration_from_message(message.reference) if message.HasField("reference") else {},
        given_by=_given_by("sources.given_by", message.given_by),
        feed=feed_from_message(message.feed) if message.HasField("feed") else None,
        sink=check.sink("sources.sink", message.sink),
    )


def stand_by_to_message(stand_by: StandBy) -> types_pb2.StandBy:
    """A stand-by's message."""
    return types_pb2.StandBy(
        query_id=stand_by.query_id,
        configuration=configuration_to_message(stand_by.configuration),
        replica_sets=[_replica_set_to_message(replica_set) for replica_set in stand_by.replica_sets],
        routes=[_route_to_message(route) for route in stand_by.routes],
        needs_device_ids=stand_by.needs,
        latency_ms=interval_to_message(stand_by.latency_ms),
        accuracy_ratio=interval_to_message(stand_by.accuracy_ratio),
    )


def stand_by_from_message(message: types_pb2.StandBy) -> StandBy:
    """The stand-by in a message.

    Raises:
        InvalidInput: a field is bad.
        TooLarge: a list is too long.
    """
    for field, values in (
        ("stand_bys.replica_sets", message.replica_sets),
        ("stand_bys.routes", message.routes),
        ("stand_bys.needs_device_ids", message.needs_device_ids),
    ):
        check.size(field, values)
    return StandBy(
        query_id=QueryId(check.name("stand_bys.query_id", message.query_id)),
        configuration=configuration_from_message(message.configuration),
        replica_sets=tuple(_replica_set_from_message(replica_set) for replica_set in message.replica_sets),
        routes=tuple(_route_from_message(route) for route in message.routes),
        needs=tuple(DeviceId(check.name("stand_bys.needs_device_ids", one)) for one in message.needs_device_ids),
        latency_ms=_interval("stand_bys.latency_ms", message.latency_ms, 1e9),
        accuracy_ratio=_interval("stand_bys.accuracy_ratio", message.accuracy_ratio, 1.0),
    )


def _interval(field: str, message: types_pb2.Interval, high: float) -> Interval:
    return Interval(
        value=check.number(field, message.value, high=high),
        low=check.number(field, message.low, high=high),
        high=check.number(field, message.high, high=high),
    )


def _peer_to_message(peer: Peer) -> types_pb2.Peer:
    return types_pb2.Peer(device_id=peer.device_id, address=peer.address, site=peer.site)


def _peer_from_message(field: str, message: types_pb2.Peer) -> Peer:
    return Peer(
        device_id=DeviceId(check.name(f"{field}.device_id", message.device_id)),
        address=check.name(f"{field}.address", message.address, empty=field == "dialled_by"),
        site=SiteId(check.name(f"{field}.site", message.site, empty=True)),
    )


def directive_to_message(directive: Directive) -> types_pb2.Directive:
    """A directive's message, with its digest."""
    message = types_pb2.Directive(
        device_id=directive.device_id,
        epoch=directive.generation.epoch,
        generation=directive.generation.number,
        replica_sets=[_replica_set_to_message(replica_set) for replica_set in directive.replica_sets],
        routes=[_route_to_message(route) for route in directive.routes],
        sources=[_source_to_message(source) for source in directive.sources],
        peers=[_peer_to_message(peer) for peer in directive.peers],
        dialled_by=[_peer_to_message(peer) for peer in directive.dialled_by],
        stand_bys=[stand_by_to_message(stand_by) for stand_by in directive.stand_bys],
    )
    message.digest = directive_digest(message)
    return message


def directive_from_message(message: types_pb2.Directive) -> Directive:
    """The directive in a message. Its digest is checked by whoever holds it to the generation law.

    Raises:
        InvalidInput: a field is bad.
        TooLarge: a list is too long.
    """
    for field, values in (
        ("replica_sets", message.replica_sets),
        ("routes", message.routes),
        ("sources", message.sources),
        ("peers", message.peers),
        ("dialled_by", message.dialled_by),
        ("stand_bys", message.stand_bys),
    ):
        check.size(field, values)
    return Directive(
        device_id=DeviceId(check.name("device_id", message.device_id)),
        generation=generation_of(message),
        replica_sets=tuple(_replica_set_from_message(replica_set) for replica_set in message.replica_sets),
        routes=tuple(_route_from_message(route) for route in message.routes),
        sources=tuple(_source_from_message(source) for source in message.sources),
        peers=tuple(_peer_from_message("peers", peer) for peer in message.peers),
        dialled_by=tuple(_peer_from_message("dialled_by", peer) for peer in message.dialled_by),
        stand_bys=tuple(stand_by_from_message(stand_by) for stand_by in message.stand_bys),
    )
