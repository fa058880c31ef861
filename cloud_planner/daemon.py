"""The planner as a process: its parts, put together, until a signal."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from circinus import service_manager
from circinus.clock import Clock, SystemClock
from circinus.events import event
from circinus.model.device import DeviceId
from circinus.v1 import control_pb2, control_pb2_grpc, planner_pb2_grpc
from cloud_planner.accounts import Accounts
from cloud_planner.background import Background
from cloud_planner.bell import Bell
from cloud_planner.catalog import Catalog
from cloud_planner.chronicle import Chronicle
from cloud_planner.core.live_search import SearchStepResult, SearchTask
from cloud_planner.core.needs import ProfilePolicy
from cloud_planner.core.search_terms import (
    QUICK,
    THOROUGH,
    SearchPolicy,
)
from cloud_planner.dashboard.place import Place, bound, missing
from cloud_planner.departures import Departures
from cloud_planner.doors import Doors, DoorSettings, doors
from cloud_planner.identity.office import ADDRESS_FILE, ENROL_ADDRESS_FILE, IdentityOffice
from cloud_planner.identity.registrar import CERTIFICATE_LIFE, RENEWAL_GRACE
from cloud_planner.looking import Looking
from cloud_planner.marks import Marks
from cloud_planner.metrics.fleet_totals import FleetTotals
from cloud_planner.metrics.serving import serving_metrics
from cloud_planner.orders import unsigned
from cloud_planner.overview import Overview
from cloud_planner.planning_loop import LoopTimes, PlanningLoop
from cloud_planner.profiling import Profiling
from cloud_planner.recent import Recent
from cloud_planner.registry import Registry
from cloud_planner.rollout import Rollout, RolloutTimes
from cloud_planner.searching import Searching
from cloud_planner.services.control import ControlService
from cloud_planner.services.identities import Identities
from cloud_planner.services.planner import PlannerService
from cloud_planner.solving import Offloaded, Planning, PlanningProcess, SearchProcess
from cloud_planner.state_lock import state_lock
from cloud_planner.store import BlobStore, SqliteStore
from cloud_planner.surroundings import Surroundings
from cloud_planner.telemetry import TelemetryWriter
from cloud_planner.trials import Trials
from cloud_planner.watching import Watching

if TYPE_CHECKING:
    import grpc.aio

_STOP_GRACE_S = 3.0
#: Where the dashboard is, for whoever looks.
DASHBOARD_ADDRESS_FILE = "dashboard-address"
METRICS_ADDRESS_FILE = "metrics-address"
#: A page of a thousand queries has a megabyte.
METRICS_QUERIES = 1_000
#: Each ask takes a way to the device and back: rather a few samples more than an ask more.
LIVE_QUICK = replace(QUICK, least_batch=4)
LIVE_THOROUGH = replace(THOROUGH, least_batch=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a planner runs. ``unseen_s``: how long a device that is out of sight keeps its part of the plan.

    ``insecure_loopback``: in the clear, on loopback only, and nobody is asked who they are. ``enrol_listen`` empty: the
    same host, the next port. ``dashboard`` None: there is none. ``metrics_listen`` empty: Prometheus finds nothing;
    at most ``metrics_queries`` queries have series of their own.
    """

    listen: str
    state_dir: Path
    insecure_loopback: bool = False
    enrol_listen: str = ""
    certificate_life: timedelta = CERTIFICATE_LIFE
    renewal_grace: timedelta = RENEWAL_GRACE
    profile_policy: ProfilePolicy = field(default_factory=ProfilePolicy)
    profile_parallelism: int = 1
    unseen_s: float = 60.0
    heartbeat_period_s: float = 5.0
    solver_s: float = 20.0
    search_policy: SearchPolicy = LIVE_QUICK
    loop_times: LoopTimes = field(default_factory=LoopTimes)
    rollout_times: RolloutTimes = field(default_factory=RolloutTimes)
    dashboard: Place | None = None
    metrics_listen: str = ""
    metrics_queries: int = METRICS_QUERIES


@asynccontextmanager
async def running(
    settings: Settings,
    clock: Clock,
    planning: Planning | None = None,
    steps: Offloaded[SearchTask, SearchStepResult] | None = None,
) -> AsyncIterator[tuple[str, Overview]]:
    """A planner at work: its address and its parts. ``planning`` and ``steps`` other than processes are for tests.

    Raises:
        InvalidInput: the address is not on loopback.
        Unreachable: the port is taken.
    """
    settings.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    how = DoorSettings(
        listen=settings.listen,
        state_dir=settings.state_dir,
        enrol_listen=settings.enrol_listen,
        insecure_loopback=settings.insecure_loopback,
        certificate_life=settings.certificate_life,
        renewal_grace=settings.renewal_grace,
    )
    # First of all: a second planner on the same state must find the port taken before it touches anything.
    with state_lock(settings.state_dir):
        async with doors(how, clock) as opened:
            with _dashboard_socket(settings) as listening:
                async with _behind(opened, listening, settings, clock, planning, steps) as overview:
                    yield opened.address, overview


@asynccontextmanager
async def _behind(
    opened: Doors,
    listening: socket.socket | None,
    settings: Settings,
    clock: Clock,
    planning: Planning | None,
    steps: Offloaded[SearchTask, SearchStepResult] | None,
) -> AsyncIterator[Overview]:
    """All that stands behind the ports, which are opened when it does."""
    server, office = opened.server, opened.office
    store = await SqliteStore.open(settings.state_dir / "planner.sqlite3")
    planner = planning if planning is not None else PlanningProcess(solver_s=settings.solver_s)
    # A second one, which is started only where there is much to plan.
    thorough = planning if planning is not None else PlanningProcess(solver_s=settings.solver_s)
    stepper = steps if steps is not None else SearchProcess()
    try:
        # A first query needn't wait for it.
        await stepper.start()
        overview = await assemble(settings, clock, store, planner, thorough, stepper, office)
        epoch = overview.rollout.epoch
        identities = Identities(overview.registry, clock, office, bind=overview.marks.bind)
        control = ControlService(
            overview.registry,
            overview.profiling,
            overview.telemetry,
            overview.blobs,
            clock,
            epoch=epoch,
            heartbeat_period_s=settings.heartbeat_period_s,
            identities=identities,
        )
        control.overview = overview
        # The generated code has no types.
        control_pb2_grpc.add_ControlServiceServicer_to_server(control, server)  # type: ignore[no-untyped-call]
        people = PlannerService(overview, started_at=clock.now())
        planner_pb2_grpc.add_PlannerServiceServicer_to_server(people, server)  # type: ignore[no-untyped-call]
        async with asyncio.TaskGroup() as tasks:
            parts = [
                tasks.create_task(overview.rollout.run(), name="rollout"),
                tasks.create_task(overview.searching.run(), name="searching"),
                tasks.create_task(overview.loop.run(), name="planning"),
                tasks.create_task(overview.background.run(), name="background"),
                tasks.create_task(overview.telemetry.run(), name="telemetry"),
                tasks.create_task(overview.accounts.run(), name="ledger"),
                tasks.create_task(overview.watching.run(), name="drift"),
                tasks.create_task(identities.watch(), name="identities"),
                tasks.create_task(overview.departures.run(), name="departures"),
                tasks.create_task(overview.chronicle.run(), name="events"),
            ]
            try:
                # Before there are calls: what the dashboard is made with takes half a second to load.
                async with (
                    _dashboard(listening, settings, overview, people, tasks),
                    serving_metrics(settings.metrics_listen, settings.metrics_queries, overview) as metrics_address,
                ):
                    await server.start()
                    if metrics_address:
                        _write_address(settings.state_dir / METRICS_ADDRESS_FILE, metrics_address)
                    else:
                        (settings.state_dir / METRICS_ADDRESS_FILE).unlink(missing_ok=True)
                    if opened.enrol_address:
                        _write_address(settings.state_dir / ENROL_ADDRESS_FILE, opened.enrol_address)
                    # Last: whoever waits for it finds the others, too.
                    _write_address(settings.state_dir / ADDRESS_FILE, opened.address)
                    yield overview
            finally:
                await _stop_server(server, overview)
                for part in parts:
                    part.cancel()
        await overview.telemetry.flush()
    finally:
        await planner.close()
        await thorough.close()
        await stepper.close()
        await store.close()


@contextmanager
def _dashboard_socket(settings: Settings) -> Iterator[socket.socket | None]:
    """Where the dashboard listens; None: there is to be none, or its packages are not installed."""
    # Of a planner before this one.
    (settings.state_dir / DASHBOARD_ADDRESS_FILE).unlink(missing_ok=True)
    if settings.dashboard is None:
        yield None
    elif lacking := missing():
        event("dashboard_left_out", missing=",".join(lacking), cure="pip install 'circinus[web]'")
        yield None
    else:
        with bound(settings.dashboard, loopback_only=settings.insecure_loopback) as listening:
            yield listening


@asynccontextmanager
async def _dashboard(
    listening: socket.socket | None,
    settings: Settings,
    overview: Overview,
    people: PlannerService,
    tasks: asyncio.TaskGroup,
) -> AsyncIterator[None]:
    """The dashboard, at work, if there is to be one."""
    if listening is None:
        yield
        return
    from cloud_planner.dashboard.server import serving

    async with serving(listening, overview, people, tasks) as address:
        _write_address(settings.state_dir / DASHBOARD_ADDRESS_FILE, address)
        yield


async def assemble(
    settings: Settings,
    clock: Clock,
    store: SqliteStore,
    planning: Planning,
    thorough: Planning,
    steps: Offloaded[SearchTask, SearchStepResult],
    office: IdentityOffice | None,
) -> Overview:
    """The planner's parts, with all that the store has; none of them runs yet."""
    # Whatever may change a plan may change a search; what was profiled concerns searches alone, until a choice changes.
    searchable, progressed, watched = Bell(), Bell(), Bell()
    replan = Bell(also=searchable)
    registry = Registry(store, clock, replan=replan, progressed=progressed, unseen_s=settings.unseen_s)
    catalog = Catalog(store)
    profiling = Profiling(store, registry, clock, searchable, watched, parallelism=settings.profile_parallelism)
    rollout = Rollout(
        store,
        registry,
        clock,
        changed=progressed,
        replan=replan,
        watched=watched,
        times=settings.rollout_times,
        order=office.authority.order if office is not None else unsigned,
    )
    marks = Marks(store, clock, replan=replan, watched=watched)
    surroundings = Surroundings(
        registry,
        rollout,
        catalog,
        clock,
        settings.profile_policy,
        environment_s=settings.loop_times.environment_s,
        marks=marks,
    )
    searching = Searching(
        store,
        catalog,
        profiling,
        surroundings,
        steps,
        clock,
        changed=searchable,
        replan=replan,
        watched=watched,
        policy=settings.search_policy,
    )
    background = Background(thorough, replan)
    accounts = Accounts(store, clock, profiling.disturbances)
    watching = Watching(
        store,
        catalog,
        registry,
        rollout,
        clock,
        replan=replan,
        watched=watched,
        disturbances=profiling.disturbances,
    )
    loop = PlanningLoop(
        store,
        catalog,
        profiling,
        searching,
        surroundings,
        rollout,
        planning,
        clock,
        changed=replan,
        watched=watched,
        background=background,
        accounts=accounts,
        watching=watching,
        times=settings.loop_times,
    )
    for part in (registry, marks, catalog, rollout, searching, accounts, watching, loop):
        await part.load()
    recent, totals = Recent(clock), FleetTotals(catalog)

    def heard(device_id: DeviceId, message: control_pb2.Telemetry) -> None:
        watching.put(device_id, message)
        recent.put(device_id, message)
        totals.put(device_id, message)

    telemetry = TelemetryWriter(store, clock, rollout.epoch, heard)
    return Overview(
        store=store,
        blobs=BlobStore(settings.state_dir / "blobs"),
        registry=registry,
        catalog=catalog,
        profiling=profiling,
        searching=searching,
        rollout=rollout,
        loop=loop,
        accounts=accounts,
        watching=watching,
        marks=marks,
        departures=Departures(
            registry,
            marks,
            catalog,
            loop,
            rollout,
            clock,
            watched=watched,
            flush=telemetry.flush,
            revoke=office.registrar.leave if office is not None else None,
        ),
        chronicle=Chronicle(store, clock),
        background=background,
        trials=Trials(loop, catalog, searching, rollout, clock),
        telemetry=telemetry,
        looking=Looking(registry, clock),
        recent=recent,
        totals=totals,
        clock=clock,
        replan=replan,
        watched=watched,
        office=office,
    )


async def _stop_server(server: grpc.aio.Server, overview: Overview) -> None:
    """Hangs up on agents, which carry on and come back, then lets calls in progress end."""
    for record in overview.registry.records():
        if record.session is not None:
            record.session.ended.set()
    await server.stop(_STOP_GRACE_S)


def _write_address(path: Path, address: str) -> None:
    """Written beside and renamed: whoever waits for the file reads the whole of it."""
    beside = path.with_name(f"{path.name}.new")
    beside.write_text(f"{address}\n")
    os.replace(beside, path)


async def serve(settings: Settings) -> None:
    """Runs a planner until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running(settings, SystemClock()) as (address, _):
        event("listening_on", address=address, state_dir=settings.state_dir)
        async with asyncio.TaskGroup() as group:
            watchdog = group.create_task(service_manager.feed_watchdog(SystemClock()))
            service_manager.tell(service_manager.READY)
            await stop.wait()
            watchdog.cancel()
        service_manager.tell(service_manager.STOPPING)
        event("stopping")
    event("stopped")
