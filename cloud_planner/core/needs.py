"""What must be profiled before queries can be planned, and which queries wait for what. PURE.

Accuracy is measured once for a pipeline's content, on the fastest class there is (it depends on the configuration
alone); the same run gives that class its times. Then every other class that a query could use needs times of a few
samples, of those configurations that are accurate enough for one of the queries. Only what is missing is asked for, so
a profile that was broken off goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field

from circinus.model.device import Device, DeviceClass, DeviceId, Digest
from circinus.model.pipeline import Configuration, ContentRef, PipelineId, RegisteredPipeline, configuration_key
from circinus.model.profile import ProfileTable
from circinus.model.query import Query, QueryId
from cloud_planner.core.decompose import Fleet, reachable, usable_devices
from cloud_planner.core.profiles import accuracy

#: Bundle, content, class: what one profile run is about.
ProfileKey = tuple[Digest, Digest, DeviceClass]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePolicy:
    """How many samples are taken for accuracy and for times, and on how many cores a run goes at most.

    Times are measured side by side, too: a device that serves has several of its cores busy, and a busy neighbour
    takes its share of caches, memory and clock. A lone core looks up to a quarter faster than it will be.
    """

    score_samples: int = 24
    time_samples: int = 6
    parallelism: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileNeed:
    """A profile run that is missing, and the device that is to do it."""

    pipeline_id: PipelineId
    bundle_digest: Digest
    environment_digest: Digest
    content: ContentRef
    device_class: DeviceClass
    device_id: DeviceId
    configurations: tuple[Configuration, ...]
    sample_indices: tuple[int, ...]
    score: bool
    parallelism: int

    @property
    def key(self) -> ProfileKey:
        """What the run is about."""
        return (self.bundle_digest, self.content.digest, self.device_class)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What bears on readiness beside the fleet itself.

    ``connected`` are the devices that can be asked now. ``unanswered`` are those that were asked lately whether they
    can run an environment. ``failures`` are runs that ended early, and why; they are not asked for again.
    """

    connected: frozenset[DeviceId]
    unanswered: frozenset[tuple[DeviceId, Digest]] = frozenset()
    failures: Mapping[ProfileKey, str] = field(default_factory=dict)
    running: frozenset[QueryId] = frozenset()
    policy: ProfilePolicy = field(default_factory=ProfilePolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """Which queries can be planned now; for the others, why not: profiling, pending or refused."""

    plannable: tuple[Query, ...]
    profiling: Mapping[QueryId, str]
    pending: Mapping[QueryId, str]
    refused: Mapping[QueryId, str]
    needs: tuple[ProfileNeed, ...]


def assess(fleet: Fleet, queries: Sequence[Query], circumstances: Circumstances) -> Assessment:
    """Sorts queries by what they wait for, and lists the missing profiles, in the order in which to run them.

    A query that is being served stays plannable while classes that it doesn't use yet are profiled.
    """
    needs = _needs(fleet, queries, circumstances)
    plannable: list[Query] = []
    profiling: dict[QueryId, str] = {}
    pending: dict[QueryId, str] = {}
    refused: dict[QueryId, str] = {}
    for query in queries:
        registered, content = bound(fleet, query)
        table = fleet.tables.get((registered.bundle_digest, content.digest))
        has_scores = table is not None and bool(table.scores)
        if query.id in circumstances.running and has_scores:
            plannable.append(query)
            continue
        preparing = _preparing(fleet, query, registered, circumstances)
        usable = usable_devices(fleet.devices, query, registered)
        classes = {device.device_class for device in usable}
        missing = [
            need
            for need in needs
            if need.key[:2] == (registered.bundle_digest, content.digest)
            and (need.score or need.device_class in classes)
        ]
        if preparing:
            pending[query.id] = f"its environment is being prepared on {', '.join(preparing)}"
        elif missing:
            profiling[query.id] = f"{query.pipeline_id} is being profiled on {content.name}"
        elif has_scores or not usable or fleet.device(query.source_device_id) is None:
            plannable.append(query)
        else:
            failed = _failure(registered.bundle_digest, content.digest, circumstances)
            if failed:
                refused[query.id] = f"{query.pipeline_id} can't be profiled on {content.name}: {failed}"
            else:
                pending[query.id] = "no device that could profile it is connected"
    return Assessment(plannable=tuple(plannable), profiling=profiling, pending=pending, refused=refused, needs=needs)


def bound(fleet: Fleet, query: Query) -> tuple[RegisteredPipeline, ContentRef]:
    """A query's pipeline and content.

    Raises:
        KeyError: one of them is not there.
    """
    registered = fleet.pipelines[query.pipeline_id]
    for content in registered.contents:
        if content.name == query.content:
            return registered, content
    raise KeyError(query.content)


def _preparing(
    fleet: Fleet, query: Query, registered: RegisteredPipeline, circumstances: Circumstances
) -> list[DeviceId]:
    near = reachable(fleet.devices, query.source_device_id)
    return [
        device.id
        for device in fleet.devices
        if device.id in near and (device.id, registered.environment_digest) in circumstances.unanswered
    ]


def _failure(bundle_digest: Digest, content_digest: Digest, circumstances: Circumstances) -> str:
    for key, reason in sorted(circumstances.failures.items()):
        if key[:2] == (bundle_digest, content_digest):
            return reason
    return ""


def _needs(fleet: Fleet, queries: Sequence[Query], circumstances: Circumstances) -> tuple[ProfileNeed, ...]:
    usable: dict[tuple[PipelineId, str], dict[DeviceId, Device]] = {}
    least_ratio: dict[tuple[PipelineId, str], float] = {}
    order: list[Query] = []
    for query in queries:
        registered, _ = bound(fleet, query)
        # Until all have said whether they can, the fastest class isn't known.
        if _preparing(fleet, query, registered, circumstances):
            continue
        key = (query.pipeline_id, query.content)
        if key not in usable:
            usable[key] = {}
            order.append(query)
        bound_ratio = query.slo.accuracy_ratio or 0.0
        least_ratio[key] = min(least_ratio.get(key, bound_ratio), bound_ratio)
        usable[key].update((device.id, device) for device in usable_devices(fleet.devices, query, registered))
    found: list[ProfileNeed] = []
    for query in order:
        registered, content = bound(fleet, query)
        candidates = [
            device
            for device in usable[query.pipeline_id, query.content].values()
            if device.id in circumstances.connected
            and (registered.bundle_digest, content.digest, device.device_class) not in circumstances.failures
        ]
        least = least_ratio[query.pipeline_id, query.content]
        found.extend(_content_needs(fleet, registered, content, candidates, least, circumstances.policy))
    # Accuracy first: nothing can be planned without, and its run gives the times of one class, too.
    return tuple(sorted(found, key=lambda need: not need.score))


def _content_needs(
    fleet: Fleet,
    registered: RegisteredPipeline,
    content: ContentRef,
    devices: Sequence[Device],
    least_ratio: float,
    policy: ProfilePolicy,
) -> list[ProfileNeed]:
    """The missing runs for one content, each on the first device of its class by speed, cores and id.

    ``least_ratio``: the lowest accuracy bound of its queries.
    """
    ranked = sorted(devices, key=lambda device: (-device.speed_ratio, -device.cores, device.id))
    by_class: dict[DeviceClass, Device] = {}
    for device in ranked:
        by_class.setdefault(device.device_class, device)
    if not ranked:
        return []
    table = fleet.tables.get((registered.bundle_digest, content.digest))
    missing = _missing_scores(registered, table, range(min(policy.score_samples, content.samples)))
    if missing is not None:
        # What is worth timing elsewhere shows when all have scores.
        return [_need(registered, content, ranked[0], missing, policy, score=True)]
    worth = _accurate(registered, table, least_ratio)
    found = []
    for device_class, device in sorted(by_class.items()):
        wanted = range(min(policy.time_samples, content.samples))
        missing = _missing_times(registered, table, device_class, worth, wanted)
        if missing is not None:
            found.append(_need(registered, content, device, missing, policy, score=False))
    return found


def _accurate(registered: RegisteredPipeline, table: ProfileTable | None, least_ratio: float) -> frozenset[str]:
    """Keys of the configurations whose accuracy is surely at the bound or above it: no other one is ever planned."""
    scores = table.scores if table is not None else {}
    count = registered.pipeline.configuration_count
    return frozenset(
        key
        for key, by_sample in scores.items()
        if by_sample and accuracy(by_sample, configurations=count).bounds.low >= least_ratio
    )


Missing = tuple[tuple[Configuration, ...], tuple[int, ...]]


def _need(
    registered: RegisteredPipeline,
    content: ContentRef,
    device: Device,
    missing: Missing,
    policy: ProfilePolicy,
    *,
    score: bool,
) -> ProfileNeed:
    return ProfileNeed(
        pipeline_id=registered.pipeline.id,
        bundle_digest=registered.bundle_digest,
        environment_digest=registered.environment_digest,
        content=content,
        device_class=device.device_class,
        device_id=device.id,
        configurations=missing[0],
        sample_indices=missing[1],
        score=score,
        parallelism=max(1, min(policy.parallelism, int(device.cores))),
    )


def _missing_scores(
    registered: RegisteredPipeline, table: ProfileTable | None, wanted: Sequence[int]
) -> Missing | None:
    scores = table.scores if table is not None else {}
    return _missing(registered, {key: set(by_sample) for key, by_sample in scores.items()}, None, wanted)


def _missing_times(
    registered: RegisteredPipeline,
    table: ProfileTable | None,
    device_class: DeviceClass,
    worth: Set[str],
    wanted: Sequence[int],
) -> Missing | None:
    profiles = table.times.get(device_class, ()) if table is not None else ()
    operators = {operator.id for operator in registered.pipeline.operators}
    measured = {
        configuration_key(profile.configuration): {
            sample.sample_index
            for sample in profile.samples
            if operators <= {measured.operator_id for measured in sample.operators}
        }
        for profile in profiles
    }
    return _missing(registered, measured, worth, wanted)


def _missing(
    registered: RegisteredPipeline, there: Mapping[str, set[int]], worth: Set[str] | None, wanted: Sequence[int]
) -> Missing | None:
    """Configurations that lack a sample, and every sample that one of them lacks; None: all is there.

    ``worth`` are the keys of those that count, None for all.
    """
    configurations: list[Configuration] = []
    indices: set[int] = set()
    for configuration in registered.pipeline.configurations():
        key = configuration_key(configuration)
        if worth is not None and key not in worth:
            continue
        lacking = set(wanted) - there.get(key, set())
        if lacking:
            configurations.append(configuration)
            indices |= lacking
    return (tuple(configurations), tuple(sorted(indices))) if configurations else None
