"""`circinus doctor`: what is wrong with a planner and its fleet, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import circinus
from circinus.cli import doctor_connection, exits
from circinus.cli.output import Output, ago, emit, table
from circinus.cli.session import DEFAULT_ADDRESS, OutputOption, PlannerOption, ask, connect
from circinus.client import Client
from circinus.errors import CircinusError, NotAllowed, NotKnown
from circinus.model.diagnosis import Diagnosis, Grade, failed, warned, well
from circinus.reports import DeviceState, PlannerStatus, QueryPhase, QueryState

_COLUMNS = ("STATE", "CHECK", "FOUND", "CURE")
_STUCK = "stuck"
_FAILED_PHASE = "failed"

Fleet = tuple[PlannerStatus, tuple[DeviceState, ...], tuple[QueryState, ...]]


def doctor(planner: PlannerOption = DEFAULT_ADDRESS, output: OutputOption = Output.TABLE) -> int:
    """Finds what is wrong with the planner, its devices and queries, each with its cure; 1 if anything doesn't work.

    What keeps an agent from working is found on its own box: edge-agent check --config FILE.
    Example: circinus doctor -o json
    """
    found = examine(planner)
    emit(output, found, lambda: table(_COLUMNS, [(one.grade, one.subject, one.said, one.cure) for one in found]))
    return exits.ERROR if any(one.grade is Grade.FAILED for one in found) else exits.OK


def examine(address: str) -> tuple[Diagnosis, ...]:
    """All that is found from here; the first that keeps the planner from being asked is the last."""
    try:
        client = connect(address)
    except CircinusError as error:
        return (failed("context", error.message, "circinus context ls shows what is there"),)
    found = [*doctor_connection.own(client, datetime.now(UTC))]
    if any(one.grade is Grade.FAILED for one in found):
        return tuple(found)
    reached = doctor_connection.reached(client)
    found += reached
    if any(one.grade is Grade.FAILED for one in reached):
        return tuple(found)

    async def action(client: Client) -> Fleet:
        return await client.status(), tuple(await client.devices()), tuple(await client.queries())

    try:
        fleet = ask(address, action)
        found += doctor_connection.clock(fleet[0].clock_ahead_s)
        found += diagnoses(*fleet, now=datetime.now(UTC))
        found += ask(address, doctor_connection.identities)
    except (NotKnown, NotAllowed) as error:
        found.append(failed("access", error.message, "ask an admin of the planner: circinus person create"))
    except CircinusError as error:
        cure = f"start it (cloud-planner run --listen {client.address} ...), or name another with --planner"
        found.append(failed("planner", error.message, cure))
    return tuple(found)


def diagnoses(
    status: PlannerStatus, devices: tuple[DeviceState, ...], queries: tuple[QueryState, ...], *, now: datetime
) -> Iterator[Diagnosis]:
    """What these say."""
    yield from _planner(status)
    yield from _devices(status, devices, now)
    yield from _queries(queries)


def _planner(status: PlannerStatus) -> Iterator[Diagnosis]:
    if status.activity.startswith(_STUCK):
        cure = "the reason names what; its log (event planning_failed or generation_stuck) has more"
        yield failed("planner", status.activity, cure)
    else:
        yield well("planner", f"version {status.version}, {status.activity or 'idle'}")
    if status.version != circinus.__version__:
        said = f"it has version {status.version}, this command {circinus.__version__}"
        yield warned("planner", said, f"pip install circinus=={status.version}")


def _devices(status: PlannerStatus, devices: tuple[DeviceState, ...], now: datetime) -> Iterator[Diagnosis]:
    if not devices:
        yield warned("devices", "no agent has ever connected", "on a box: edge-agent run --config FILE")
    for state in devices:
        name = f"device {state.device.id}"
        faults = 0
        if not state.connected:
            said, cure = f"away, last seen {ago(state.last_seen_at, now)}", "on it: edge-agent check --config FILE"
            yield warned(name, said, cure)
            faults += 1
        if state.generation_phase == _FAILED_PHASE:
            said = f"it can't carry out its directive: {state.reason}"
            yield failed(name, said, "on it: edge-agent check --config FILE; its log names the process")
            faults += 1
        for trouble in state.troubles:
            yield warned(name, trouble, "on it: edge-agent check --config FILE; it serves on meanwhile")
            faults += 1
        for environment in state.device.environments:
            if not environment.ready and environment.reason:
                yield warned(
                    name, f"an environment is not ready: {environment.reason}", "do as it says, on that device"
                )
                faults += 1
        if low := doctor_connection.disk_text(state.device.disk_free_bytes):
            yield warned(name, low, "on it: free some; bundles and environments take 1 GiB")
            faults += 1
        if state.connected and state.device.agent_version != status.version:
            said = f"its agent has version {state.device.agent_version}, the planner {status.version}"
            yield warned(name, said, f"on it: pip install circinus=={status.version}")
            faults += 1
        if not faults:
            yield well(name, f"connected, generation {state.active_generation}")


def _queries(queries: tuple[QueryState, ...]) -> Iterator[Diagnosis]:
    placed = 0
    for state in queries:
        if state.phase is QueryPhase.UNPLACED:
            yield warned(f"query {state.query.id}", f"unplaced: {state.reason}", f"circinus explain {state.query.id}")
        elif state.phase is QueryPhase.PLACED and not state.serving:
            cure = "circinus watch tells what the rollout waits for"
            yield warned(f"query {state.query.id}", "planned, but not served yet", cure)
        else:
            placed += state.phase is QueryPhase.PLACED
    yield well("queries", f"{placed} of {len(queries)} are served")
