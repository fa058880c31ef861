"""Fleet, registered pipelines, profile tables and queries -> a planning problem. PURE.

Each device is a machine of its own (count 1), paid by the share that is used. A query's candidates are what its search
chose (live_search.py); each step's options are the devices that can be reached from its source and whose environment
is ready, at each core share that they have. Times are measured, or believed (believed_times.py).

Service time on a share s < 1 of a core is 1/s of that on a whole one, and its variance 1/s^2: a replica's share is
enforced by pacing. More than one core gains nothing, since operators are single-threaded: replicas do that.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import hypot
from typing import Final

from circinus.model.device import Device, DeviceClass, DeviceId, Digest
from circinus.model.pipeline import (
    SOURCE,
    Configuration,
    ContentRef,
    OperatorSpec,
    PipelineId,
    RegisteredPipeline,
    configuration_key,
)
from circinus.model.pipeline import State as OperatorState
from circinus.model.plan import Interval, Plan
from circinus.model.profile import ProfileTable
from circinus.model.query import Query, QueryId, Slo
from circinus.model.selector import labels_of
from cloud_planner.core.accelerators import accelerator_take
from cloud_planner.core.as_found import as_found, stretched
from cloud_planner.core.believed_times import believed_times, relative_error
from cloud_planner.core.caution import cautious, runs_as_measured
from cloud_planner.core.class_speeds import Classes, classes_of
from cloud_planner.core.local_policy import inputs_at_site, refusal
from cloud_planner.core.meant import at_source, may_run, unselected
from cloud_planner.core.problem import Candidate, Delay, Machine, Option, Problem, QueryProblem, Step
from cloud_planner.core.profiles import ClassStatistics, ServiceStatistics, stage_correlation_ratio
from cloud_planner.core.revisions import NOTHING_REVISED, Revisions
from cloud_planner.core.shareable import share_key, shareable, stream_text
from cloud_planner.core.vicinity import Vicinity, environment_ready, wires

#: Core shares that a replica may have.
CORE_SHARES: Final = (0.25, 0.5, 1.0)
#: A larger share is not tried where it could save no more than this part of the latency bound, and one replica on the
#: smaller one is busy for less than EASE_RATIO of the time: each share that is tried multiplies the routes.
NEGLIGIBLE_RATIO: Final = 0.05
EASE_RATIO: Final = 0.5
#: Serving is not profiling: with the same operator on the same machine, CPU time per item moved by up to 16% between
#: the two, as the machine's other guests came and went. One relative standard deviation of that.
CONDITIONS_RATIO: Final = 0.10
#: A replica's memory limit over what was measured, as a factor and on top, rounded up to a multiple of the step so
#: that another measurement of the same thing does not change the directive.
MEMORY_FACTOR: Final = 1.3
MEMORY_MARGIN_BYTES: Final = 64 * 2**20
MEMORY_STEP_BYTES: Final = 64 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A configuration that a query may be planned with; ``probability_ratio``: that it meets the accuracy bound.

    Not ``certified``: it is believed to, not proven.
    """

    configuration: Configuration
    accuracy: Interval
    certified: bool = True
    probability_ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Devices to plan with, and what is known of pipelines. Tables are by bundle and content digest.

    ``absent`` says of devices that are known, but not planned with, why. ``choices``: what each query's search chose.
    ``cordoned`` devices take nothing new, and what runs on ``draining`` ones goes elsewhere.
    ``revisions``: what was found to be otherwise; of these only service times are applied by decomposition.
    ``classes``: what is known of classes, those of devices that are away among them; empty: what the devices say.
    """

    devices: tuple[Device, ...]
    pipelines: Mapping[PipelineId, RegisteredPipeline]
    tables: Mapping[tuple[Digest, Digest], ProfileTable]
    absent: Mapping[DeviceId, str] = field(default_factory=dict)
    choices: Mapping[QueryId, tuple[Choice, ...]] = field(default_factory=dict)
    revisions: Revisions = NOTHING_REVISED
    classes: Classes = field(default_factory=Classes)
    cordoned: frozenset[DeviceId] = frozenset()
    draining: frozenset[DeviceId] = frozenset()

    def table(self, registered: RegisteredPipeline, content: ContentRef) -> ProfileTable | None:
        """What was measured of a pipeline on a content; None: nothing."""
        return self.tables.get((registered.bundle_digest, content.digest))

    def device(self, device_id: DeviceId) -> Device | None:
        """The device with this id; None: it is not in the fleet."""
        return next((device for device in self.devices if device.id == device_id), None)


def decompose(fleet: Fleet, queries: Sequence[Query], running: tuple[Plan, ...] = ()) -> Problem:
    """The planning problem of these queries on this fleet."""
    devices = tuple(sorted(fleet.devices, key=lambda device: device.id))
    work = _Decomposition(fleet=fleet, near=Vicinity(devices), running={plan.query_id: plan for plan in running})
    problems = [_query_problem(work, query) for query in sorted(queries, key=lambda query: query.id)]
    wanted = {query.id for query in queries}
    labelled = any(query.selector for query in queries)
    problem = Problem(
        machines=tuple(_machine(device, fleet, labelled) for device in devices),
        wires=tuple(wires(devices)),
        queries=tuple(problems),
        running=tuple(plan for plan in running if plan.query_id in wanted),
    )
    return shareable(problem)


def reachable(devices: Sequence[Device], source: DeviceId) -> frozenset[DeviceId]:
    """The devices that items from a source can reach over any number of links, itself included."""
    return Vicinity(devices).reachable(source)


def memory_limit_bytes(measured_bytes: int) -> int:
    """A replica's memory limit from what a profile measured."""
    needed = int(measured_bytes * MEMORY_FACTOR) + MEMORY_MARGIN_BYTES
    return -(-needed // MEMORY_STEP_BYTES) * MEMORY_STEP_BYTES


def _machine(device: Device, fleet: Fleet, labelled: bool = False) -> Machine:
    return Machine(
        id=device.id,
        tier=device.tier,
        site=device.site,
        cores=device.cores,
        memory_bytes=device.memory_bytes,
        accelerator_slots=sum(accelerator.slots for accelerator in device.accelerators),
        accelerator_memory_bytes=sum(one.memory_bytes for one in device.accelerators if not one.unified),
        price_per_h=device.price_per_h,
        cordoned=device.id in fleet.cordoned or device.id in fleet.draining,
        draining=device.id in fleet.draining,
        labels=labels_of(device) if labelled else {},
    )


def problem_of_choices(
    fleet: Fleet,
    query: Query,
    choices: tuple[Choice, ...],
    statistics: Mapping[DeviceClass, ClassStatistics],
    *,
    time_ratio: float = 1.0,
) -> Problem:
    """One query alone, with one candidate for each choice, in their order; its bound on accuracy is left out.

    ``time_ratio``: all service times are taken as so many times as long.
    """
    devices = tuple(sorted(fleet.devices, key=lambda device: device.id))
    registered = fleet.pipelines[query.pipeline_id]
    bound = {query.source_device_id, *(operator.pinned for operator in registered.pipeline.operators)}
    near = Vicinity([one for one in devices if one.id not in fleet.draining or one.id in bound])
    usable = near.usable(query.source_device_id, registered.environment_digest, query.pipeline_id)
    meant = near.meant.of(query.selector)
    if time_ratio != 1.0:
        statistics = {device_class: stretched(known, time_ratio) for device_class, known in statistics.items()}
    problem = QueryProblem(
        id=query.id,
        rate_per_s=query.rate_per_s,
        weight=query.weight,
        slo=replace(query.slo, accuracy_ratio=None),
        source=query.source_device_id,
        candidates=tuple(_candidate(registered, choice, statistics, usable, query, meant) for choice in choices),
    )
    machines = tuple(_machine(device, fleet) for device in devices)
    return Problem(machines=machines, wires=tuple(wires(devices)), queries=(problem,))


def content_of(registered: RegisteredPipeline, name: str) -> ContentRef:
    """A pipeline's content by its name.

    Raises:
        KeyError: there is none.
    """
    for content in registered.contents:
        if content.name == name:
            return content
    raise KeyError(name)


#: Statistics by what they are of, with the tables that they were made from.
StatisticsMemo = dict[object, tuple[tuple[ProfileTable | None, ...], dict[DeviceClass, ClassStatistics]]]


def content_statistics(
    fleet: Fleet, query: Query, memo: StatisticsMemo | None = None
) -> dict[DeviceClass, ClassStatistics]:
    """Times of every configuration on every class of the fleet, on a query's content; empty: nothing is known.

    ``memo`` keeps them as long as the very same tables come again.
    """
    registered = fleet.pipelines[query.pipeline_id]
    content = content_of(registered, query.content)
    others = [
        fleet.tables[registered.bundle_digest, other.digest]
        for other in registered.contents
        if other.digest != content.digest and (registered.bundle_digest, other.digest) in fleet.tables
    ]
    here = {device.device_class for device in fleet.devices}
    known_classes = fleet.classes if here <= fleet.classes.speed_ratio.keys() else classes_of(fleet.devices)
    speeds = {device_class: known_classes.speed_ratio[device_class] for device_class in sorted(here)}
    own = fleet.table(registered, content)
    seen = tuple(
        (name, speed, known_classes.accelerator_kinds[name]) for name, speed in known_classes.speed_ratio.items()
    )
    key, tables = (registered.bundle_digest, content.digest, tuple(speeds), seen), (own, *others)
    known = memo.get(key) if memo is not None else None
    if known is not None and [id(one) for one in known[0]] == [id(one) for one in tables]:
        return known[1]
    found = believed_times(
        registered.pipeline, tuple(registered.pipeline.configurations()), own, others, speeds, known_classes
    )
    if memo is not None:
        memo[key] = (tables, found)
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decomposition:
    """What the queries of one decomposition have in common: statistics by bundle and content, candidates."""

    fleet: Fleet
    near: Vicinity
    running: Mapping[QueryId, Plan]
    statistics: dict[tuple[Digest, Digest], dict[DeviceClass, ClassStatistics]] = field(default_factory=dict)
    candidates: dict[Hashable, tuple[Candidate, ...]] = field(default_factory=dict)


def _query_problem(work: _Decomposition, query: Query) -> QueryProblem:
    """A query's part. What is only believed accurate enough is planned without a bound on accuracy (planning.py)."""
    candidates: tuple[Candidate, ...] = ()
    fleet = work.fleet
    registered = fleet.pipelines[query.pipeline_id]
    impossible = _impossible(fleet, work.near, query, registered)
    choices = fleet.choices.get(query.id, ())
    if not impossible and choices:
        candidates = _candidates(work, query, registered, choices)
    if not impossible and not candidates:
        impossible = f"no configuration of {query.pipeline_id} is known to meet its SLO on {query.content}"
    certified = all(choice.certified for choice in choices)
    return QueryProblem(
        id=query.id,
        rate_per_s=query.rate_per_s,
        weight=query.weight,
        slo=_promised(query) if certified else replace(query.slo, accuracy_ratio=None),
        source=query.source_device_id,
        candidates=candidates,
        stream=stream_text(query, registered),
        selector=query.selector,
        at_source=at_source(registered) if query.selector else frozenset(),
        impossible=impossible,
    )


def _candidates(
    work: _Decomposition, query: Query, registered: RegisteredPipeline, choices: tuple[Choice, ...]
) -> tuple[Candidate, ...]:
    """What a query could be served with; the very same for queries that do not differ in what it depends on."""
    content = content_of(registered, query.content)
    usable = work.near.usable(query.source_device_id, registered.environment_digest, query.pipeline_id)
    pinned = any(operator.pinned == SOURCE for operator in registered.pipeline.operators)
    meant = work.near.meant.of(query.selector)
    measured = (registered.bundle_digest, content.digest)
    if measured not in work.statistics:
        work.statistics[measured] = content_statistics(work.fleet, query)
    statistics = work.statistics[measured]
    classes = {device.id: device.device_class for device in usable}
    plan = work.running.get(query.id)
    settled = plan is not None and runs_as_measured(registered.pipeline, plan, classes, statistics)
    key = (
        query.pipeline_id,
        content.digest,
        tuple((configuration_key(choice.configuration), choice.accuracy) for choice in choices),
        tuple(device.id for device in usable),
        query.source_device_id if pinned else None,
        meant,
        query.rate_per_s,
        query.slo.latency_ms,
        settled,
    )
    if key in work.candidates:
        return work.candidates[key]
    if settled:
        statistics = {device_class: cautious(known) for device_class, known in statistics.items()}
    table = work.fleet.table(registered, content)
    profiles = [profile for ones in (table.times.values() if table is not None else ()) for profile in ones]
    made = [
        replace(
            _candidate(registered, choice, statistics, usable, query, meant),
            stage_correlation_ratio=stage_correlation_ratio(profiles, choice.configuration),
        )
        for choice in choices
    ]
    made = [as_found(one, query.pipeline_id, work.fleet.revisions) for one in made]
    work.candidates[key] = tuple(one for one in made if all(step.options for step in one.steps))
    return work.candidates[key]


def _promised(query: Query) -> Slo:
    """The SLO that a plan is held to: with a margin, an accuracy that is lower by it is as good."""
    bound = query.slo.accuracy_ratio
    return query.slo if bound is None else replace(query.slo, accuracy_ratio=bound - query.slo.accuracy_margin_ratio)


def impossibility(fleet: Fleet, query: Query, near: Vicinity | None = None) -> str:
    """Why a query can't be planned whatever its SLO; empty if it can. ``near``: of the fleet's devices, if known."""
    return _impossible(fleet, near or Vicinity(fleet.devices), query, fleet.pipelines[query.pipeline_id])


def _impossible(fleet: Fleet, near: Vicinity, query: Query, registered: RegisteredPipeline) -> str:
    """Why a query can't be planned whatever its SLO; empty if it can."""
    source = near.by_id.get(query.source_device_id)
    if source is None:
        why = fleet.absent.get(query.source_device_id, "it is not known here")
        return f"its source device {query.source_device_id} can't be planned with: {why}"
    if not environment_ready(source, registered.environment_digest):
        return f"its source can't run on {source.id}: {environment_reason(source, registered.environment_digest)}"
    if why := refusal(source, query.pipeline_id):
        return why
    usable = near.usable(source.id, registered.environment_digest, query.pipeline_id)
    meant = near.meant.of(query.selector)
    for operator in registered.pipeline.operators:
        if not any(may_run(operator, device.id, query, meant) for device in usable):
            if why := unselected(operator, usable, query):
                return why
            where = f" (pinned to {operator.pinned})" if operator.pinned else ""
            return f"no reachable device can run operator {operator.id}{where}"
    return ""


def environment_reason(device: Device, digest: Digest) -> str:
    """What a device says of an environment that is not ready."""
    said = next((environment for environment in device.environments if environment.digest == digest), None)
    return (said.reason or "it is not ready") if said is not None else "its environment is not known there"


def _candidate(
    registered: RegisteredPipeline,
    choice: Choice,
    statistics: Mapping[DeviceClass, ClassStatistics],
    usable: tuple[Device, ...],
    query: Query,
    meant: frozenset[DeviceId] | None,
) -> Candidate:
    pipeline, configuration = registered.pipeline, choice.configuration
    return Candidate(
        configuration=configuration,
        accuracy=choice.accuracy,
        steps=tuple(
            _step(registered, operator, configuration, statistics, usable, query, meant)
            for operator in pipeline.operators
        ),
        source_bytes=max((known.source_bytes for known in statistics.values()), default=0.0),
        outputs=pipeline.outputs,
        latency_uncertainty_ratio=_latency_uncertainty(registered, configuration, statistics),
    )


def _latency_uncertainty(
    registered: RegisteredPipeline, configuration: Configuration, statistics: Mapping[DeviceClass, ClassStatistics]
) -> float:
    """How far the summed mean service time may be off, relative: standard error where it was measured, and conditions.

    That times which are only believed may be further off is no part of it: what a plan rests on is measured before
    it counts as certified, and until then nothing is promised.
    """
    worst = 0.0
    for known in statistics.values():
        services = [
            known.service(registered.pipeline, step.id, configuration) for step in registered.pipeline.operators
        ]
        measured = [service for service in services if service is not None]
        total_ms = sum(service.mean_ms for service in measured)
        if total_ms > 0.0 and not any(service.believed for service in measured):
            error_ms = sum((relative_error(service) * service.mean_ms) ** 2 for service in measured) ** 0.5
            worst = max(worst, error_ms / total_ms)
    return hypot(worst, CONDITIONS_RATIO)


def _step(
    registered: RegisteredPipeline,
    operator: OperatorSpec,
    configuration: Configuration,
    statistics: Mapping[DeviceClass, ClassStatistics],
    usable: tuple[Device, ...],
    query: Query,
    meant: frozenset[DeviceId] | None,
) -> Step:
    services = {
        device_class: service
        for device_class, known in sorted(statistics.items())
        if (service := known.service(registered.pipeline, operator.id, configuration)) is not None
    }
    options: list[Option] = []
    for device in usable:
        service = services.get(device.device_class)
        if service is not None and may_run(operator, device.id, query, meant):
            options.extend(_options(operator, device, service, query))
    # Output does not depend on the class: the most often measured figure is the best.
    most = max(services.values(), key=lambda service: service.samples, default=None)
    return Step(
        operator_id=operator.id,
        inputs=operator.inputs,
        output_bytes=most.output_bytes if most is not None else 0.0,
        options=tuple(options),
        single=operator.state is OperatorState.PER_SOURCE,
        site_inputs=inputs_at_site(operator, usable, query.pipeline_id),
        share_key=share_key(
            f"{registered.bundle_digest} {registered.environment_digest} {operator.entry_point}",
            operator.id,
            configuration,
        ),
    )


def _options(operator: OperatorSpec, device: Device, service: ServiceStatistics, query: Query) -> list[Option]:
    taken = accelerator_take(operator, device, service)
    found = []
    for cores in CORE_SHARES:
        if cores > device.cores:
            break
        mean_ms = max(service.mean_ms / cores, 1e-3)
        capacity_per_s = 1000.0 / mean_ms
        found.append(
            Option(
                machine=device.id,
                cores=cores,
                service=Delay(mean_ms=mean_ms, variance_ms2=service.variance_ms2 / cores**2),
                capacity_per_s=capacity_per_s,
                memory_bytes=memory_limit_bytes(service.memory_bytes) + taken.common_bytes,
                accelerator_slots=taken.slots,
                accelerator_memory_bytes=taken.memory_bytes,
            )
        )
        at_ease = query.rate_per_s <= EASE_RATIO * capacity_per_s
        if query.slo.latency_ms is not None and at_ease and mean_ms <= NEGLIGIBLE_RATIO * query.slo.latency_ms:
            break
    return found
