"""A planner and agents on one machine for a first hour: what `circinus up` keeps in a folder and says of itself.

The folder has what LocalFleet puts there (state and a log of each daemon), and `up.json`: who runs it, with the pids of
the daemons. Whoever holds the lock on `up.lock` runs it; that goes with the process, however it ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from circinus import contexts
from circinus.channel import check_address, is_loopback
from circinus.contexts import Context
from circinus.errors import AlreadyExists, InvalidInput, Unreachable
from circinus.local_fleet import LocalFleet

CONTEXT_NAME = "local"
MAX_DEVICES = 16
_RECORD, _LOCK = "up.json", "up.lock"
_EDGE, _CLOUD = "edge", "cloud-1"
_STOP_TIMEOUT_S = 20.0
#: A process id is somebody else's by now if it began at another moment.
_SAME_START_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """A process by its name. ``began_s``: since 1970, so that another one with its id is not taken for it."""

    name: str
    pid: int
    began_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What runs in a folder. ``context``: under which name the planner is found; empty: in the clear."""

    pid: int
    began_at: datetime
    state_dir: str
    planner: str
    enrol: str
    dashboard: str
    secure: bool
    context: str
    devices: tuple[str, ...]
    processes: tuple[Process, ...] = ()


def default_state_dir(environ: Mapping[str, str]) -> Path:
    """Where `circinus up` keeps its state: circinus/up in ~/.local/state."""
    home = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".local" / "state")
    return Path(home) / "circinus" / "up"


def agents(count: int) -> dict[str, str]:
    """Configurations of so many devices, by id: one is all of this machine; of several each is a part of it.

    Of several the last is in the cloud, with a link of 20 Mbit/s and 20 ms from the others.

    Raises:
        InvalidInput: so many can't be.
    """
    if not 1 <= count <= MAX_DEVICES:
        raise InvalidInput(f"--devices {count} is not between 1 and {MAX_DEVICES}")
    names = [f"{_EDGE}-{number}" for number in range(1, count + (count == 1))]
    if count == 1:
        return {names[0]: _agent(names[0], tier="edge", site="home", price_per_h=0.04)}
    part = {
        "cores": max(0.5, int(4 * (os.cpu_count() or 1) / count) / 4),
        "memory_bytes": psutil.virtual_memory().total // (2 * count),
    }
    found = {name: _agent(name, tier="edge", site="home", price_per_h=0.04, peers=[_CLOUD], **part) for name in names}
    return found | {_CLOUD: _agent(_CLOUD, tier="cloud", site="cloud", price_per_h=0.4, peers=names, **part)}


def _agent(name: str, *, peers: Sequence[str] = (), **values: str | float) -> str:
    settings = {"device_id": name, "data_listen": "127.0.0.1:0", **values}
    lines = [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    for peer in peers:
        link = {"peer": peer, "bandwidth_mbit_per_s": 20, "rtt_ms": 20, "emulated": True}
        lines += ["", "[[links]]", *(f"{key} = {json.dumps(value)}" for key, value in link.items())]
    return "\n".join([*lines, ""])


def devices_before(folder: Path) -> int:
    """How many devices a folder was used with; 0: it is new."""
    return len(list(folder.glob(f"{_EDGE}-*.toml"))) + (folder / f"{_CLOUD}.toml").exists()


def ports_of(listen: str) -> tuple[str, str]:
    """Where the planner listens, and where for those who enrol: the next port.

    Raises:
        InvalidInput: it is not HOST:PORT of this machine.
        Unreachable: one of the ports is taken.
    """
    host = check_address(listen)
    if not is_loopback(listen):
        raise InvalidInput(
            f"--listen {listen} is not on this machine alone: `circinus up` is for a first hour on one machine; "
            "docs/run.md and docs/install-a-fleet.md have what others may reach"
        )
    port = int(listen.rpartition(":")[2])
    enrol = f"{host}:{port + 1 if port else 0}"
    for address in (listen, enrol) if port else ():
        _check_free(address)
    return listen, enrol


def _check_free(address: str) -> None:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the planner will: what only waits for the end of old connections is no hindrance.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise Unreachable(f"can't listen on {address}: {error.strerror}; name another with --listen") from error
            raise Unreachable(
                f"port {port} is taken: stop what has it (ss -ltnp 'sport = :{port}'), or name another with --listen "
                "127.0.0.1:PORT (0: any)"
            ) from error


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Runs a folder: nobody else may meanwhile.

    Raises:
        AlreadyExists: somebody does.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            found = read_record(folder)
            who = f" since {found.began_at:%Y-%m-%d %H:%M} UTC, by process {found.pid}" if found else ""
            raise AlreadyExists(
                f"{folder} is up already{who}: use it (circinus status), end it (circinus down), or name another "
                "folder with --state-dir"
            ) from error
        yield
    finally:
        os.close(descriptor)


def is_held(folder: Path) -> bool:
    """Whether somebody runs a folder."""
    try:
        descriptor = os.open(folder / _LOCK, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_record(folder: Path) -> Record | None:
    """What a folder's record says, whether that still runs or not; None: there is none."""
    try:
        document: dict[str, Any] = json.loads((folder / _RECORD).read_text())
        return Record(
            **document
            | {
                "began_at": datetime.fromisoformat(document["began_at"]),
                "devices": tuple(document["devices"]),
                "processes": tuple(Process(**one) for one in document["processes"]),
            }
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_record(folder: Path, record: Record) -> None:
    """Keeps a record, at once or not at all."""
    beside = folder / f"{_RECORD}.new"
    beside.write_text(json.dumps(asdict(record) | {"began_at": record.began_at.isoformat()}, indent=2) + "\n")
    beside.chmod(0o600)
    os.replace(beside, folder / _RECORD)


def record_of(folder: Path, fleet: LocalFleet, context: str) -> Record:
    """The record of a fleet that was just started by this process."""
    names = fleet.running()
    dashboard = folder / "planner" / "dashboard-address"
    return Record(
        pid=os.getpid(),
        began_at=datetime.now(UTC),
        state_dir=str(folder),
        planner=fleet.planner_address,
        enrol=fleet.enrol_address,
        dashboard=dashboard.read_text().strip() if dashboard.exists() else "",
        secure=fleet.context is not None,
        context=context,
        devices=tuple(name for name in names if name != "planner"),
        processes=tuple(
            Process(name=name, pid=fleet.pid(name), began_s=psutil.Process(fleet.pid(name)).create_time())
            for name in names
        ),
    )


def end_left_over(folder: Path) -> list[str]:
    """Ends daemons that outlived who ran them (killed, say), and removes the record; gives their names. Blocks."""
    record = read_record(folder)
    found = [(one.name, process) for one in (record.processes if record else ()) if (process := _alive(one))]
    # Agents first: their operators go with them.
    found.sort(key=lambda one: one[0] == "planner")
    for _, process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs([process for _, process in found], timeout=_STOP_TIMEOUT_S)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    (folder / _RECORD).unlink(missing_ok=True)
    return [name for name, _ in found]


def _alive(one: Process) -> psutil.Process | None:
    try:
        process = psutil.Process(one.pid)
        return process if abs(process.create_time() - one.began_s) < _SAME_START_S else None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None


def end(folder: Path, timeout_s: float) -> list[str] | None:
    """Ends what runs a folder, and all of its daemons; gives their names. None: it does not end in time. Blocks."""
    record = read_record(folder)
    if record is not None and is_held(folder):
        names = [one.name for one in record.processes]
        try:
            process = psutil.Process(record.pid)
            process.terminate()
            process.wait(timeout_s)
        except psutil.NoSuchProcess:
            pass
        except psutil.TimeoutExpired:
            return None
        return names
    return end_left_over(folder)


def add_context(path: Path, context: Context) -> tuple[str, bool]:
    """Puts a planner of this machine into a person's context file; gives its name there, and whether it is current.

    What is somebody else's is left alone: another planner's context of the same name, and which one is current.
    """
    known = contexts.load(path)
    taken = {one.name: one for one in known.contexts}
    name, number = CONTEXT_NAME, 1
    while name in taken and taken[name].root.strip() != context.root.strip() and not is_loopback(taken[name].planner):
        number += 1
        name = f"{CONTEXT_NAME}-{number}"
    changed = known.plus(replace(context, name=name))
    if changed != known:
        contexts.save(path, changed)
    return name, changed.current == name


async def until_one_ends(fleet: LocalFleet, stop: asyncio.Event, look_s: float = 0.5) -> str:
    """Waits for the word to stop, or for a daemon to end by itself; gives its name then."""
    names = set(fleet.running())
    while not stop.is_set():
        if gone := names - set(fleet.running()):
            return min(gone)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(look_s):
                await stop.wait()
    return ""
