"""A selection -> what each device must run. PURE.

A directive is complete and says nothing that another one doesn't agree with: routes stand on every device that
sends to an operator, and each pair of devices that exchange items has exactly one side that dials. The keys of
processes leave out the generation: what doesn't change keeps its processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from circinus.model.device import Device, DeviceId, SiteId, Tier
from circinus.model.directive import NO_SITE, Directive, Generation, Peer, Route, SourceSpec, Target
from circinus.model.pipeline import SOURCE, OperatorId, OperatorSpec, RegisteredPipeline, knobs_of
from circinus.model.plan import OperatorPlan, Plan
from circinus.model.query import Query, QueryId, is_fed
from cloud_planner.core.decompose import Fleet
from cloud_planner.core.process_groups import Run, process_key, replica_sets
from cloud_planner.core.shareable import stream_text
from cloud_planner.core.shared_runs import SharedRuns
from cloud_planner.core.shares import NOTHING_SHARED, Shares

Hosts = Mapping[OperatorId, tuple[OperatorPlan, ...]]


def directives(
    fleet: Fleet,
    queries: Sequence[Query],
    plans: Sequence[Plan],
    generation: Generation,
    shares: Shares = NOTHING_SHARED,
) -> tuple[Directive, ...]:
    """One directive for each device that runs anything under these plans, ordered by device.

    Raises:
        KeyError: a plan is for a query or pipeline that is not given.
    """
    by_id = {query.id: query for query in queries}
    told = [by_id[plan.query_id] for plan in sorted(plans, key=lambda plan: plan.query_id)]
    shared = SharedRuns.of(told, fleet.pipelines, shares)
    runs: dict[DeviceId, list[Run]] = {}
    routes: dict[DeviceId, list[Route]] = {}
    sources: dict[DeviceId, list[SourceSpec]] = {}
    pairs: set[tuple[DeviceId, DeviceId]] = set()
    for plan, query in zip(sorted(plans, key=lambda plan: plan.query_id), told, strict=True):
        registered = fleet.pipelines[query.pipeline_id]
        hosts: dict[OperatorId, tuple[OperatorPlan, ...]] = {}
        for placed in plan.operators:
            hosts[placed.operator_id] = (*hosts.get(placed.operator_id, ()), placed)
        sources.setdefault(query.source_device_id, []).append(_source(query, registered, shared))
        own = [operator for operator in registered.pipeline.operators if shared.runs(query.id, operator.id) == query.id]
        for operator in own:
            for placed in hosts[operator.id]:
                run = Run(
                    query=query,
                    registered=registered,
                    operator=operator,
                    placed=placed,
                    knobs=knobs_of(plan.configuration, operator.id),
                    use=shared.use(query, operator, placed),
                    pooled=(query.id, operator.id) in shares.pooled,
                )
                runs.setdefault(placed.device_id, []).append(run)
            route = _route(query.id, operator, hosts, shared)
            for sender in _senders(operator, query.source_device_id, hosts):
                routes.setdefault(sender, []).append(route)
                pairs.update(_pair(sender, target.device_id) for target in route.targets if target.device_id != sender)
        outputs = [name for name in registered.pipeline.outputs if shared.runs(query.id, name) == query.id]
        for host in _answerers(outputs, hosts):
            routes.setdefault(host, []).append(_answer_route(query, registered))
    peers = _peers(fleet, pairs)
    callers = dialled_by(peers, {device.id: device.site for device in fleet.devices})
    return tuple(
        Directive(
            device_id=device_id,
            generation=generation,
            replica_sets=replica_sets(runs.get(device_id, ())),
            routes=tuple(routes.get(device_id, ())),
            sources=tuple(sources.get(device_id, ())),
            peers=tuple(sorted(peers.get(device_id, ()), key=lambda peer: peer.device_id)),
            dialled_by=callers.get(device_id, ()),
        )
        for device_id in sorted({*runs, *routes, *sources, *peers, *callers})
    )


def empty(device_id: DeviceId, generation: Generation) -> Directive:
    """A directive for a device that runs nothing under a generation."""
    return Directive(device_id=device_id, generation=generation, replica_sets=(), routes=(), sources=(), peers=())


def _source(query: Query, registered: RegisteredPipeline, shared: SharedRuns) -> SourceSpec:
    """Its key leaves out whose it is where others could read the same: the process stays when the leader goes."""
    pipeline = registered.pipeline
    stream = stream_text(query, registered)
    owner = stream or query.id
    seed = serving_seed(owner)
    deadline_ms = query.slo.latency_ms or 0.0
    clip = pipeline.content(query.content).clip
    feed = pipeline.feed if is_fed(query.input) else None
    return SourceSpec(
        key=process_key(
            "source",
            owner,
            pipeline.id,
            registered.bundle_digest,
            registered.environment_digest,
            pipeline.source,
            pipeline.scorer,
            query.content,
            seed,
            0.0 if stream else deadline_ms,
            list(pipeline.outputs),
            clip,
            *((query.input, str(feed)) if query.input else ()),
        ),
        query_id=query.id,
        pipeline_id=pipeline.id,
        bundle_digest=registered.bundle_digest,
        environment_digest=registered.environment_digest,
        entry_point=pipeline.source,
        scorer_entry_point=pipeline.scorer,
        content=query.content,
        seed=seed,
        rate_per_s=query.rate_per_s,
        deadline_ms=deadline_ms,
        output_operator_ids=pipeline.outputs,
        clip=clip,
        input=query.input,
        leader_query_id=shared.leader(query.id),
        weight=query.weight,
        given_by=shared.done_by_others(query.id, pipeline.operators),
        feed=feed,
        sink=query.sink,
    )


def serving_seed(owner: str) -> int:
    """The seed of the live items of a query, or of all who read the same; 2**30..2**31: no sample set has such."""
    return int.from_bytes(hashlib.sha256(owner.encode()).digest()[:4], "big") % 2**30 + 2**30


def _route(query_id: QueryId, operator: OperatorSpec, hosts: Hosts, shared: SharedRuns) -> Route:
    shares: dict[DeviceId, float] = {}
    for placed in hosts[operator.id]:
        shares[placed.device_id] = shares.get(placed.device_id, 0.0) + placed.share_ratio
    return Route(
        query_id=query_id,
        operator_id=operator.id,
        inputs=operator.inputs,
        targets=tuple(Target(device_id=device_id, share_ratio=share) for device_id, share in sorted(shares.items())),
        given_by=shared.given(query_id, operator),
        earlier_ms=shared.earlier_ms(query_id, operator.id),
        each=operator.each,
    )


def _answer_route(query: Query, registered: RegisteredPipeline) -> Route:
    """Whose outputs are the answer: an output may be read by other operators, too, so routes alone don't tell.

    It adds no pair that dials: outcomes go back the way their items came.
    """
    return Route(
        query_id=query.id,
        operator_id=SOURCE,
        inputs=registered.pipeline.outputs,
        targets=(Target(device_id=query.source_device_id, share_ratio=1.0),),
    )


def _answerers(outputs: Sequence[OperatorId], hosts: Hosts) -> list[DeviceId]:
    """The devices on which a part of the answer comes into being."""
    return sorted({placed.device_id for operator_id in outputs for placed in hosts[operator_id]})


def _senders(operator: OperatorSpec, source: DeviceId, hosts: Hosts) -> list[DeviceId]:
    """The devices on which an input of the operator comes into being."""
    found: set[DeviceId] = set()
    for name in operator.inputs:
        found.update([source] if name == SOURCE else [placed.device_id for placed in hosts[name]])
    return sorted(found)


def _pair(one: DeviceId, other: DeviceId) -> tuple[DeviceId, DeviceId]:
    return (one, other) if one < other else (other, one)


def _peers(fleet: Fleet, pairs: set[tuple[DeviceId, DeviceId]]) -> dict[DeviceId, list[Peer]]:
    """Whom each device dials."""
    found: dict[DeviceId, list[Peer]] = {}
    for one_id, other_id in sorted(pairs):
        one, other = fleet.device(one_id), fleet.device(other_id)
        if one is None or other is None:
            continue
        dialler, dialled = (one, other) if _dials(one, other) else (other, one)
        if dialled.data_address:
            peer = Peer(device_id=dialled.id, address=dialled.data_address, site=dialled.site)
            found.setdefault(dialler.id, []).append(peer)
    return found


def dialled_by(
    peers: Mapping[DeviceId, Sequence[Peer]], sites: Mapping[DeviceId, SiteId]
) -> dict[DeviceId, tuple[Peer, ...]]:
    """Who dials each device, as a device lets in nobody else. ``peers``: whom each device dials."""
    found: dict[DeviceId, list[Peer]] = {}
    for dialler, dialled in sorted(peers.items()):
        for peer in dialled:
            caller = Peer(device_id=dialler, address="", site=sites.get(dialler, NO_SITE))
            found.setdefault(peer.device_id, []).append(caller)
    return {device_id: tuple(callers) for device_id, callers in found.items()}


def sites_told(directives: Iterable[Directive]) -> dict[DeviceId, SiteId]:
    """Where devices stand, as directives say."""
    return {peer.device_id: peer.site for one in directives for peer in (*one.peers, *one.dialled_by)}


def _dials(one: Device, other: Device) -> bool:
    """Whether the first dials the second: who can be dialled is; else edge dials cloud, else the smaller id dials."""
    if bool(one.data_address) != bool(other.data_address):
        return bool(other.data_address)
    if one.tier is not other.tier:
        return one.tier is Tier.EDGE
    return one.id < other.id
