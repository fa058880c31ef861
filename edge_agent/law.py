"""The generation law: what an agent does with a directive, given what it has accepted. PURE.

An agent obeys the newest (epoch, generation) that it has seen and nothing older, so a planner that was replaced
can do no harm; and one number stands for one content for ever, so that two agents that both say "generation 7 is
ready" mean the same. The law is decided before anything is stored; only what is accepted is ever written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from circinus.errors import AgainstPolicy, BadDigest, ConflictingDirective, NotRunnable, StaleGeneration, WrongDevice
from circinus.model.device import Device, DeviceId, Digest, SiteId
from circinus.model.directive import Directive, Generation
from circinus.model.pipeline import SOURCE, OperatorId, PipelineId
from circinus.model.policy import Policy
from circinus.model.query import QueryId

#: Sums of shares such as 0.1 + 0.2 must not refuse what fits exactly.
_CORE_TOLERANCE = 1e-6
#: What SQLite can hold.
_MAX_NUMBER = 2**63 - 1


class Decision(StrEnum):
    """ACCEPT: store it and bring it up. KEEP: it is the accepted one; nothing happens."""

    ACCEPT = "accept"
    KEEP = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The newest directive that was ever accepted. ``intact``: its content is still there to boot from."""

    generation: Generation
    digest: Digest
    intact: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A directive that came in, as far as the law looks at it; ``computed`` is the digest of what really came."""

    device_id: DeviceId
    generation: Generation
    digest: str
    computed: str


def decide(offer: Offer, *, own_id: DeviceId, accepted: Accepted | None) -> Decision:
    """What the law says of an offered directive.

    Raises:
        WrongDevice: it is for another device.
        BadDigest: its content is not what its digest says.
        StaleGeneration: a newer one was accepted, or it has no number.
        ConflictingDirective: its number was accepted with other content.
    """
    if offer.device_id != own_id:
        raise WrongDevice(f"the directive is for device {offer.device_id[:80]!r}; this is {own_id!r}")
    if offer.digest != offer.computed:
        raise BadDigest(
            f"the directive says digest {offer.digest[:80]!r}, its content has {offer.computed!r}: send it again"
        )
    if not all(1 <= number <= _MAX_NUMBER for number in (offer.generation.epoch, offer.generation.number)):
        raise StaleGeneration(f"{_name(offer.generation)} is no generation: both numbers are from 1 to {_MAX_NUMBER}")
    if accepted is None or offer.generation > accepted.generation:
        return Decision.ACCEPT
    if offer.generation < accepted.generation:
        raise StaleGeneration(
            f"{_name(offer.generation)} is older than {_name(accepted.generation)}, which is accepted here"
        )
    if offer.digest != accepted.digest:
        raise ConflictingDirective(
            f"{_name(offer.generation)} is accepted here as {accepted.digest}, not as {offer.digest}: "
            "use a new generation"
        )
    return Decision.KEEP if accepted.intact else Decision.ACCEPT


def _name(generation: Generation) -> str:
    return f"generation {generation.epoch}.{generation.number}"


def cores_asked(directive: Directive) -> float:
    """The cores that a directive asks for.

    A stand-by uses those of its query's own operators, which do nothing while it serves.
    """
    cores = math.fsum(entry.replicas * entry.cores for entry in directive.replica_sets)
    for stand_by in directive.stand_bys:
        own = [one for one in directive.replica_sets if {use.query_id for use in one.served} == {stand_by.query_id}]
        wanted = math.fsum(one.replicas * one.cores for one in stand_by.replica_sets)
        cores += max(0.0, wanted - math.fsum(one.replicas * one.cores for one in own))
    return cores


def check_fits(directive: Directive, device: Device) -> None:
    """Whether the device has the cores, memory and accelerators that a directive asks for.

    Raises:
        NotRunnable: it has not.
    """
    cores = cores_asked(directive)
    if cores > device.cores + _CORE_TOLERANCE:
        raise NotRunnable(f"the directive asks for {cores:g} cores; {device.id} has {device.cores:g}")
    everything = directive.all_replica_sets
    memory_bytes = sum(entry.replicas * entry.memory_bytes for entry in everything)
    if memory_bytes > device.memory_bytes:
        raise NotRunnable(
            f"the directive asks for {memory_bytes} bytes of memory; {device.id} has {device.memory_bytes}"
        )
    slots = sum(entry.replicas * entry.accelerator_slots for entry in everything)
    slots_here = sum(accelerator.slots for accelerator in device.accelerators)
    if slots > slots_here:
        raise NotRunnable(f"the directive asks for {slots} accelerator slots; {device.id} has {slots_here}")
    accelerator_bytes = sum(entry.replicas * entry.accelerator_memory_bytes for entry in everything)
    accelerator_bytes_here = device.accelerator_memory_bytes
    if accelerator_bytes_here is not None and accelerator_bytes > accelerator_bytes_here:
        raise NotRunnable(
            f"the directive asks for {accelerator_bytes} bytes of accelerator memory; "
            f"{device.id} has {accelerator_bytes_here}"
        )


def check_policy(directive: Directive, policy: Policy) -> None:
    """Whether the owner of the device allows what a directive asks for; where items go is for check_sites.

    Raises:
        AgainstPolicy: they do not.
    """
    me = directive.device_id
    run = {one.pipeline_id for one in directive.all_replica_sets} | {one.pipeline_id for one in directive.sources}
    for pipeline_id in sorted(run):
        if not policy.allows(pipeline_id):
            allowed = ", ".join(policy.allowed_pipelines)
            raise AgainstPolicy(f"the directive runs pipeline {pipeline_id!r}; {me} allows only {allowed}")
    everything = directive.all_replica_sets
    cores = cores_asked(directive)
    if policy.max_cores and cores > policy.max_cores + _CORE_TOLERANCE:
        raise AgainstPolicy(f"the directive asks for {cores:g} cores; {me} allows {policy.max_cores:g}")
    memory_bytes = sum(entry.replicas * entry.memory_bytes for entry in everything)
    if policy.max_memory_bytes and memory_bytes > policy.max_memory_bytes:
        raise AgainstPolicy(
            f"the directive asks for {memory_bytes} bytes of memory; {me} allows {policy.max_memory_bytes}"
        )


#: Operators of a bundle, to those of their inputs whose items may not leave the site where they are made.
SiteInputs = Mapping[OperatorId, frozenset[OperatorId]]


def check_sites(directive: Directive, site: SiteId, policy: Policy, bundles: Mapping[Digest, SiteInputs]) -> None:
    """Whether items stay at this device's site where they have to: by their pipeline, or by the device's own policy.

    A device whose site was not told counts as one elsewhere.

    Raises:
        AgainstPolicy: a route leads some of them away.
    """
    sites = {peer.device_id: peer.site for peer in (*directive.peers, *directive.dialled_by)}
    sites[directive.device_id] = site
    runs = _runs_of(directive)
    made = {(source.query_id, SOURCE) for source in directive.sources}
    made |= {(use.query_id, use.operator_id) for entry in directive.all_replica_sets for use in entry.served}
    for route in (*directive.routes, *(route for one in directive.stand_bys for route in one.routes)):
        away = sorted(target.device_id for target in route.targets if sites.get(target.device_id) != site)
        if not away:
            continue
        run = next((runs[one] for one in (route.query_id, *route.given_by.values()) if one in runs), None)
        if run is None:
            raise AgainstPolicy(
                f"the directive sends items of query {route.query_id} to {away[0]}, and nothing here makes any: "
                "it can't be told whether they may leave the site"
            )
        pipeline_id, bundle = run
        if pipeline_id in policy.data_stays:
            raise AgainstPolicy(
                f"the directive sends items of {pipeline_id} to {away[0]} at another site than {site}; "
                f"{directive.device_id} keeps them ([policy] data_stays)"
            )
        kept = bundles.get(bundle, {}).get(route.operator_id, frozenset())
        for name in sorted(kept.intersection(route.inputs)):
            if (route.given_by.get(name, route.query_id), name) in made:
                raise AgainstPolicy(
                    f"the directive sends {name!r} of {pipeline_id} to {route.operator_id!r} on {away[0]} at another "
                    f"site than {site}; the pipeline says `data: site`"
                )


def _runs_of(directive: Directive) -> dict[QueryId, tuple[PipelineId, Digest]]:
    """The pipeline and bundle of each query that something runs for here."""
    runs = {
        use.query_id: (entry.pipeline_id, entry.bundle_digest)
        for entry in directive.all_replica_sets
        for use in entry.served
    }
    return runs | {one.query_id: (one.pipeline_id, one.bundle_digest) for one in directive.sources}


def environments_of(directive: Directive) -> frozenset[Digest]:
    """The environments that a directive's processes run in."""
    replicas = frozenset(entry.environment_digest for entry in directive.all_replica_sets)
    return replicas.union(entry.environment_digest for entry in directive.sources)


def bundles_of(directive: Directive) -> frozenset[Digest]:
    """The bundles that a directive's processes load."""
    replicas = frozenset(entry.bundle_digest for entry in directive.all_replica_sets)
    return replicas.union(entry.bundle_digest for entry in directive.sources)
