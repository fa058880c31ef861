"""What must be profiled, by whom, and which queries wait for what. PURE.

Two things ask for profiles. A query's search asks for scores of a configuration (live_search.py); they are measured on
the fastest class there is, since accuracy depends on the configuration alone. And a plan that was made with times that
are only believed has them measured, on each class that it uses, before it counts as certified.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from circinus.model.device import Device, DeviceClass, DeviceId, Digest
from circinus.model.pipeline import Configuration, ContentRef, PipelineId, RegisteredPipeline, configuration_key
from circinus.model.plan import Plan
from circinus.model.query import Query, QueryId
from cloud_planner.core.class_speeds import classes_of
from cloud_planner.core.decompose import Fleet, content_of, impossibility
from cloud_planner.core.live_search import Wanted, sample_order
from cloud_planner.core.vicinity import Vicinity

#: Bundle, content, class: what one profile run is about.
ProfileKey = tuple[Digest, Digest, DeviceClass]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfilePolicy:
    """How many samples are taken to verify times, and on how many cores a run goes at most.

    Times are measured side by side, too: a device that serves has several of its cores busy, and a busy neighbour
    takes its share of caches, memory and clock. A lone core looks up to a quarter faster than it will be.
    """

    time_samples: int = 6
    parallelism: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ProfileNeed:
    """A profile run that is missing, the device that is to do it, and the query that it is charged to.

    ``timed``: times are measured as serving will find them. ``memory``: operators' memory is measured, too.
    ``reference``: the configuration whose answers are the labels of content without any.
    """

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
    timed: bool = True
    memory: bool = True
    query_id: QueryId | None = None
    reference: Configuration | None = None

    @property
    def key(self) -> ProfileKey:
        """What the run is about."""
        return (self.bundle_digest, self.content.digest, self.device_class)

    @property
    def work(self) -> tuple[ProfileKey, tuple[str, ...], tuple[int, ...]]:
        """What the run is to do: asked again, it is the same."""
        return (self.key, tuple(configuration_key(one) for one in self.configurations), self.sample_indices)


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What bears on readiness beside the fleet itself.

    ``connected`` are the devices that can be asked now. ``unanswered`` are those that were asked lately whether they
    can run an environment. ``failures`` are runs that ended early, and why; they are not asked for again.
    ``refusals``: queries whose search found no configuration, and why.
    """

    connected: frozenset[DeviceId]
    unanswered: frozenset[tuple[DeviceId, Digest]] = frozenset()
    failures: Mapping[ProfileKey, str] = field(default_factory=dict)
    refusals: Mapping[QueryId, str] = field(default_factory=dict)
    policy: ProfilePolicy = field(default_factory=ProfilePolicy)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """Which queries can be planned now; for the others, why not: profiling, pending or refused."""

    plannable: tuple[Query, ...]
    profiling: Mapping[QueryId, str]
    pending: Mapping[QueryId, str]
    refused: Mapping[QueryId, str]


def assess(fleet: Fleet, queries: Sequence[Query], circumstances: Circumstances) -> Assessment:
    """Sorts queries by what they wait for."""
    plannable: list[Query] = []
    profiling: dict[QueryId, str] = {}
    pending: dict[QueryId, str] = {}
    refused: dict[QueryId, str] = {}
    near = Vicinity(fleet.devices)
    for query in queries:
        registered = fleet.pipelines[query.pipeline_id]
        content = content_of(registered, query.content)
        waits = preparing(fleet, query, circumstances.unanswered, near)
        if fleet.choices.get(query.id):
            plannable.append(query)
        elif waits:
            pending[query.id] = f"its environment is being prepared on {', '.join(waits)}"
        elif impossibility(fleet, query, near):
            # Decomposition says why.
            plannable.append(query)
        elif query.id in circumstances.refusals:
            refused[query.id] = circumstances.refusals[query.id]
        elif profiling_device(fleet, query, circumstances, near) is not None:
            profiling[query.id] = f"{query.pipeline_id} is being profiled on {content.name}"
        else:
            failed = _failure(registered.bundle_digest, content.digest, circumstances)
            if failed:
                refused[query.id] = f"{query.pipeline_id} can't be profiled on {content.name}: {failed}"
            else:
                pending[query.id] = "no device that could profile it is connected"
    return Assessment(plannable=tuple(plannable), profiling=profiling, pending=pending, refused=refused)


def preparing(
    fleet: Fleet, query: Query, unanswered: frozenset[tuple[DeviceId, Digest]], near: Vicinity | None = None
) -> list[DeviceId]:
    """Devices near a query that have not said yet whether they can run its environment.

    ``near``: of the fleet's devices, if known.
    """
    digest = fleet.pipelines[query.pipeline_id].environment_digest
    if not any(asked == digest for _, asked in unanswered):
        return []
    reached = (near or Vicinity(fleet.devices)).reachable(query.source_device_id)
    return [device.id for device in fleet.devices if device.id in reached and (device.id, digest) in unanswered]


def _failure(bundle_digest: Digest, content_digest: Digest, circumstances: Circumstances) -> str:
    for key, reason in sorted(circumstances.failures.items()):
        if key[:2] == (bundle_digest, content_digest):
            return reason
    return ""


def profiling_device(
    fleet: Fleet, query: Query, circumstances: Circumstances, near: Vicinity | None = None
) -> Device | None:
    """The device that scores a query's configurations: of the fastest class that can; None: there is none now."""
    registered = fleet.pipelines[query.pipeline_id]
    content = content_of(registered, query.content)
    speeds = (fleet.classes if fleet.classes.speed_ratio else classes_of(fleet.devices)).speed_ratio
    return min(
        _able(near or Vicinity(fleet.devices), query, registered, content, circumstances),
        key=lambda device: (-speeds.get(device.device_class, device.speed_ratio), -device.cores, device.id),
        default=None,
    )


def _able(
    near: Vicinity, query: Query, registered: RegisteredPipeline, content: ContentRef, circumstances: Circumstances
) -> list[Device]:
    """The devices that could profile for a query now: near, connected, and nothing failed on their class."""
    return [
        device
        for device in near.usable(query.source_device_id, registered.environment_digest, query.pipeline_id)
        if device.id in circumstances.connected
        and (registered.bundle_digest, content.digest, device.device_class) not in circumstances.failures
    ]


def search_need(fleet: Fleet, query: Query, wanted: Wanted, circumstances: Circumstances) -> ProfileNeed | None:
    """The run that a query's search asks for; None: no device can do it now."""
    device = profiling_device(fleet, query, circumstances)
    if device is None:
        return None
    registered = fleet.pipelines[query.pipeline_id]
    return _need(
        registered,
        content_of(registered, query.content),
        device,
        wanted.configurations,
        wanted.sample_indices,
        circumstances.policy,
        query_id=query.id,
        score=True,
        timed=wanted.timed,
        memory=wanted.memory,
    )


def verification_needs(
    fleet: Fleet, queries: Mapping[QueryId, Query], plans: Sequence[Plan], circumstances: Circumstances
) -> tuple[ProfileNeed, ...]:
    """The runs that measure what plans rest on: their configurations' times on each class that they use."""
    found: dict[object, ProfileNeed] = {}
    near = Vicinity(fleet.devices)
    for plan in plans:
        query = queries.get(plan.query_id)
        if query is None:
            continue
        registered = fleet.pipelines[query.pipeline_id]
        content = content_of(registered, query.content)
        able = _able(near, query, registered, content, circumstances)
        for device_class, missing in unmeasured(fleet, query, plan, circumstances.policy).items():
            of_class = [device for device in able if device.device_class == device_class]
            if of_class:
                device = min(of_class, key=lambda one: (-one.cores, one.id))
                need = _need(
                    registered, content, device, (plan.configuration,), missing, circumstances.policy, query_id=query.id
                )
                found.setdefault(need.work, need)
    return tuple(found.values())


def unmeasured(fleet: Fleet, query: Query, plan: Plan, policy: ProfilePolicy) -> dict[DeviceClass, tuple[int, ...]]:
    """The samples on which a plan's times are still to be measured, by each class that it uses and that lacks some."""
    registered = fleet.pipelines[query.pipeline_id]
    content = content_of(registered, query.content)
    table = fleet.table(registered, content)
    wanted = sample_order(content)[: policy.time_samples]
    key = configuration_key(plan.configuration)
    operators = {operator.id for operator in registered.pipeline.operators}
    classes = {device.id: device.device_class for device in fleet.devices}
    found = {}
    for device_class in sorted({classes[one.device_id] for one in plan.operators if one.device_id in classes}):
        measured = {
            sample.sample_index
            for profile in (table.times.get(device_class, ()) if table is not None else ())
            if configuration_key(profile.configuration) == key
            for sample in profile.samples
            if operators <= {one.operator_id for one in sample.operators if not one.hurried}
        }
        missing = tuple(index for index in wanted if index not in measured)
        if missing:
            found[device_class] = missing
    return found


def _need(
    registered: RegisteredPipeline,
    content: ContentRef,
    device: Device,
    configurations: tuple[Configuration, ...],
    sample_indices: tuple[int, ...],
    policy: ProfilePolicy,
    *,
    query_id: QueryId,
    score: bool = False,
    timed: bool = True,
    memory: bool = True,
) -> ProfileNeed:
    return ProfileNeed(
        pipeline_id=registered.pipeline.id,
        bundle_digest=registered.bundle_digest,
        environment_digest=registered.environment_digest,
        content=content,
        device_class=device.device_class,
        device_id=device.id,
        configurations=configurations,
        sample_indices=sample_indices,
        score=score,
        parallelism=max(1, min(policy.parallelism, int(device.cores))),
        timed=timed,
        memory=memory,
        query_id=query_id,
        reference=registered.pipeline.content(content.name).reference if score else None,
    )
