"""`circinus up` and `circinus down`: a planner and agents on this machine, for a first hour."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from circinus import contexts, first_hour
from circinus.cli import exits
from circinus.cli.output import Output, emit, lines, say
from circinus.cli.plugged import plugged
from circinus.cli.session import OutputOption, is_insecure
from circinus.errors import AlreadyExists, CircinusError, Internal, TimedOut
from circinus.first_hour import Record
from circinus.local_fleet import LocalFleet

_MISSING = "`circinus up` starts a planner: install it with pip install 'circinus[planner]'"
_LOG = "up.log"
_START_TIMEOUT_S = 120.0
_CONNECT_TIMEOUT_S = 30.0
_LOOK_S = 0.1

StateDirOption = Annotated[
    Path | None,
    typer.Option("--state-dir", metavar="DIR", show_default=False, help="Its folder; ~/.local/state/circinus/up."),
]


def up(
    devices: Annotated[
        int, typer.Option("--devices", show_default=False, help="How many; as before, or 1. Of several each is a part.")
    ] = 0,
    secure: Annotated[
        bool, typer.Option("--secure", help="With identities, as between machines: as it is anyhow.")
    ] = False,
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Of the planner; port 0: any.")] = (
        "127.0.0.1:7400"
    ),
    state_dir: StateDirOption = None,
    detach: Annotated[bool, typer.Option("--detach", help="Go on in the background; `circinus down` ends it.")] = False,
    output: OutputOption = Output.TABLE,
) -> int:
    """Starts a planner and agents on this machine, for a first hour; on the same folder it goes on where it was.

    Stays until Ctrl-C, which ends all of it; what it knows stays in its folder. --insecure-loopback: no identities.
    Example: circinus up --devices 2 --detach
    """
    plugged("planner_ready", _MISSING)()
    folder = (state_dir or first_hour.default_state_dir(os.environ)).absolute()
    insecure = is_insecure() and not secure
    count = devices or first_hour.devices_before(folder) or 1
    agents = first_hour.agents(count)
    if detach:
        return _detached(folder, count, listen, output, insecure=insecure)
    with first_hour.held(folder):
        for name in first_hour.end_left_over(folder):
            say(f"{name} of an earlier `circinus up` was still running; it is ended")
        return asyncio.run(_run(folder, agents, listen, output, insecure=insecure))


def down(
    state_dir: StateDirOption = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Longest wait in seconds.")] = 60.0,
    output: OutputOption = Output.TABLE,
) -> int:
    """Ends what `circinus up` started; its state stays, and `circinus up` goes on with it.

    Example: circinus down
    """
    folder = (state_dir or first_hour.default_state_dir(os.environ)).absolute()
    ended = first_hour.end(folder, timeout_s)
    if ended is None:
        raise TimedOut(f"{folder} did not end within {timeout_s:g} s; it goes on ending, try again")
    said = f"ended: {', '.join(ended)}" if ended else f"nothing runs in {folder}"
    emit(output, {"state_dir": str(folder), "ended": ended}, lambda: lines(said))
    return exits.OK


async def _run(folder: Path, agents: dict[str, str], listen: str, output: Output, *, insecure: bool) -> int:
    listen, enrol = first_hour.ports_of(listen)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    fleet = LocalFleet(folder, agents, secure=not insecure)
    fleet.enrol_address = "" if insecure else enrol
    starting = asyncio.ensure_future(_start(fleet, agents, listen))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            return exits.INTERRUPTED
        starting.result()
        name, current = "", True
        if fleet.context is not None:
            name, current = first_hour.add_context(contexts.default_path(os.environ), fleet.context)
        record = first_hour.record_of(folder, fleet, name)
        first_hour.write_record(folder, record)
        _tell(record, output, current=current, detached=False)
        if gone := await first_hour.until_one_ends(fleet, stop):
            raise Internal(f"{gone} ended by itself; the end of its log:\n{fleet.log(gone)[-2000:]}")
        say("stopping ...")
        return exits.OK
    finally:
        for task in (starting, stopping):
            task.cancel()
        await asyncio.wait({starting, stopping})
        await fleet.stop()
        (folder / "up.json").unlink(missing_ok=True)


async def _start(fleet: LocalFleet, agents: dict[str, str], listen: str) -> None:
    """All daemons, and each agent connected."""
    say("starting the planner ...")
    await fleet.start_planner(listen)
    for name in agents:
        await fleet.start_agent(name)
    say(f"starting {', '.join(agents)} ...")
    try:
        async with asyncio.timeout(_CONNECT_TIMEOUT_S), fleet.client() as client:
            while (await client.status()).devices_connected < len(agents):  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        names = ", ".join(f"{name}.log" for name in agents)
        raise TimedOut(
            f"not all agents connected within {_CONNECT_TIMEOUT_S:g} s; their logs say why: {names}"
        ) from None


def _detached(folder: Path, count: int, listen: str, output: Output, *, insecure: bool) -> int:
    """The same in a process of its own, waited for until all is up."""
    if first_hour.is_held(folder) and (record := first_hour.read_record(folder)) is not None:
        say(f"{folder} is up already")
        _tell(record, output, current=_is_current(record.context), detached=True)
        return exits.OK
    first_hour.ports_of(listen)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    how = ["--insecure-loopback"] if insecure else ["--secure"]
    words = ["up", "--devices", str(count), "--listen", listen, "--state-dir", str(folder), *how]
    with (folder / _LOG).open("wb") as log:
        child = subprocess.Popen(
            [sys.executable, "-m", "circinus.cli.main", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    until_s = time.monotonic() + _START_TIMEOUT_S
    try:
        while child.poll() is None and time.monotonic() < until_s:
            record = first_hour.read_record(folder)
            if record is not None and record.pid == child.pid:
                _tell(record, output, current=_is_current(record.context), detached=True)
                return exits.OK
            time.sleep(_LOOK_S)
    except KeyboardInterrupt:
        child.terminate()
        child.wait()
        raise
    said = (folder / _LOG).read_text(errors="replace")[-2000:].strip()
    if child.poll() is None:
        child.terminate()
        child.wait()
        raise TimedOut(f"it was not up within {_START_TIMEOUT_S:g} s; {folder / _LOG} says:\n{said}")
    kind: type[CircinusError] = AlreadyExists if "up already" in said else Internal
    raise kind(f"it did not start; {folder / _LOG} says:\n{said}")


def _is_current(name: str) -> bool:
    return not name or contexts.load(contexts.default_path(os.environ)).current == name


def _tell(record: Record, output: Output, *, current: bool, detached: bool) -> None:
    """What is up, and what to type next."""
    which = "" if not record.secure or current else f" --context {record.context}"
    how = which if record.secure else " --insecure-loopback"
    told = [
        f"up: a planner on {record.planner} and {len(record.devices)} agents ({', '.join(record.devices)})",
        f"  state and logs: {record.state_dir}",
        f"  encrypted, by mutual TLS; you are its admin, by the context {record.context!r}"
        if record.secure
        else "  in the clear, on this machine alone: anybody here may do all",
    ]
    if record.dashboard:
        told.append(f"  dashboard: {record.dashboard}")
        if record.secure:
            told.append(
                f"  to sign in there: circinus{which} person create me --role operator --token  # the token it prints"
            )
    told += [
        "",
        "what to type next:" if detached else "what to type next, in another terminal:",
        f"  circinus{how} status",
        f"  circinus{how} pipeline add FOLDER           # docs/write-a-pipeline.md makes one in 15 minutes",
        f"  circinus{how} query submit --pipeline NAME --content NAME --source {record.devices[0]} --rate 1 --wait",
        f"  circinus{how} plan",
        "",
    ]
    if not current and record.secure:
        told.insert(3, f"  another planner is your current one; to change that: circinus context use {record.context}")
    told.append(f"circinus down --state-dir {record.state_dir}    # ends it" if detached else "Ctrl-C ends it.")
    emit(output, record, lambda: lines(*told))
