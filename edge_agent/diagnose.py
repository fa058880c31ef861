"""``edge-agent check``: what on this box would keep its agent from working, each with its cure.

Looks only: nothing is left behind, and an agent that runs here is not disturbed.
"""

from __future__ import annotations

import fcntl
import importlib
import importlib.util
import os
import resource
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryFile

import circinus
from circinus.model.diagnosis import Diagnosis, failed, warned, well
from edge_agent import diagnose_identity
from edge_agent.cgroups import detect
from edge_agent.config import AgentConfig
from edge_agent.fingerprint.cgroup import read_limits
from edge_agent.fingerprint.memory import read_memory_bytes
from edge_agent.fingerprint.nvidia import TRACES, find_nvidia
from edge_agent.isolation.facts import SANDBOX_CURE, facts_here, in_force, sandbox_fault, weaknesses

_MIB = 2**20
_LEAST_DISK_BYTES = 64 * _MIB
_WISHED_DISK_BYTES = 1024 * _MIB
_WISHED_MEMORY_BYTES = 512 * _MIB
_WISHED_FILES = 1024
_S_PER_DAY = 86_400.0
#: What every agent imports.
_MODULES = ("grpc", "google.protobuf", "psutil", "pynvml", "aiosqlite")
_VOLATILE = ("tmpfs", "ramfs")


def diagnose(config: AgentConfig) -> list[Diagnosis]:
    """Every check of the box, in the order in which an agent needs what they look at. Blocks for seconds."""
    runs = agent_runs(config)
    checks: list[Callable[[], Iterator[Diagnosis]]] = [
        lambda: software(),
        lambda: clock(time.time(), Path(circinus.__file__)),
        lambda: state(config.state_dir),
        lambda: directives(config.state_dir, runs=runs),
        lambda: agent(runs),
        lambda: diagnose_identity.identity(config, datetime.now(UTC)),
        lambda: diagnose_identity.connection(config, datetime.now(UTC)),
        lambda: ports(config, runs=runs),
        lambda: processes(),
        lambda: isolation(config, runs=runs),
        lambda: memory(config),
        lambda: accelerators(config),
        lambda: environments(config),
        lambda: inputs(config),
    ]
    return [found for check in checks for found in check()]


def software() -> Iterator[Diagnosis]:
    """The interpreter, and what an agent imports."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    yield well("python", f"{version}, circinus {circinus.__version__}")
    for name in _MODULES:
        try:
            importlib.import_module(name)
        except Exception as error:  # missing, or broken in whatever way
            yield failed("python", f"{name} can't be imported: {error}", "pip install --force-reinstall circinus")
    from google.protobuf.internal import api_implementation

    if api_implementation.Type() == "python":
        yield warned(
            "python",
            "protobuf runs in its slow pure form",
            "pip install --force-reinstall --only-binary :all: protobuf",
        )


def clock(now_s: float, code: Path) -> Iterator[Diagnosis]:
    """A clock that stands before this software was made is wrong. ``code``: a file of it."""
    told = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")
    if now_s < code.stat().st_mtime - _S_PER_DAY:
        yield failed("clock", f"it says {told}, which is before this software came here", "timedatectl set-ntp true")
    else:
        yield well("clock", told)


def state(state_dir: Path, mounts: Path = Path("/proc/self/mounts")) -> Iterator[Diagnosis]:
    """The state folder, or where it will be made."""
    folder = next(one for one in (state_dir, *state_dir.absolute().parents) if one.exists())
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        yield failed(
            "state folder", f"{folder} can't be written: {error}", f"let the agent's user write to {state_dir}"
        )
        return
    free_bytes = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    said = f"{state_dir}: {free_bytes // _MIB:,} MiB free"
    if free_bytes < _LEAST_DISK_BYTES:
        yield failed("state folder", said, "free at least 64 MiB: directives and telemetry could not be kept")
    elif free_bytes < _WISHED_DISK_BYTES:
        yield warned("state folder", said, "free 1 GiB: bundles and environments take that much")
    else:
        yield well("state folder", said)
    kind = _file_system(folder, mounts)
    if kind in _VOLATILE:
        yield warned(
            "state folder",
            f"{folder} is on {kind}: directives are lost when the box restarts",
            "put state_dir on a disk",
        )


def _file_system(folder: Path, mounts: Path) -> str:
    """The kind of file system that a folder is on; empty: not told."""
    try:
        entries = [line.split() for line in mounts.read_text(errors="replace").splitlines()]
    except OSError:
        return ""
    resolved = folder.resolve()
    above = [entry for entry in entries if len(entry) > 2 and resolved.is_relative_to(entry[1])]
    return max(above, key=lambda entry: len(entry[1]))[2] if above else ""


def directives(state_dir: Path, *, runs: bool) -> Iterator[Diagnosis]:
    """The files that SQLite keeps."""
    # Immutable: looked at without a lock, nor a file beside it; with an agent at work that would tell nonsense.
    mode = "mode=ro" if runs else "mode=ro&immutable=1"
    for path in sorted(state_dir.glob("*.db")) if state_dir.is_dir() else ():
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=2.0)) as database:
                said = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
        except sqlite3.Error as error:
            said = str(error)
        if said == "ok":
            yield well("state files", f"{path.name} is whole")
        else:
            yield failed("state files", f"{path}: {said}", f"move {path} aside: the planner sends its directive again")


def agent_runs(config: AgentConfig) -> bool:
    """Whether an agent runs with this state folder."""
    try:
        descriptor = os.open(config.state_dir / "lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def agent(runs: bool) -> Iterator[Diagnosis]:
    """Whether an agent runs here now."""
    yield well("agent", "one runs with this configuration" if runs else "none runs with this configuration")


def ports(config: AgentConfig, *, runs: bool) -> Iterator[Diagnosis]:
    """The ports that the agent listens on. While one runs here, it has them."""
    for key, address in (
        ("data_listen", config.data_listen),
        ("ingress", config.ingress),
        ("metrics_listen", config.metrics_listen),
    ):
        host, _, port = address.rpartition(":")
        if not address or runs or int(port) == 0:
            continue
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with closing(socket.socket(family, socket.SOCK_STREAM)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((host.strip("[]"), int(port)))
            except OSError as error:
                yield failed(
                    "ports",
                    f"{key} {address} can't be listened on: {error.strerror or error}",
                    f"stop what has the port (ss -ltnp), or write another into {key}",
                )
            else:
                yield well("ports", f"{key} {address} is free")


def processes() -> Iterator[Diagnosis]:
    """What holds operators to their shares, and how many files may be open."""
    if detect() is not None:
        yield well("limits", "operators get control groups of their own")
    else:
        yield warned(
            "limits",
            "no control groups can be made here: operators are held to their shares by pacing alone",
            "under systemd, give the agent's unit Delegate=yes",
        )
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files != resource.RLIM_INFINITY and files < _WISHED_FILES:
        yield warned("limits", f"only {files} files may be open", "ulimit -n 4096, or LimitNOFILE=4096 in the unit")


def isolation(config: AgentConfig, *, runs: bool) -> Iterator[Diagnosis]:
    """What holds operators to their own: as the agent that runs here has it, or as one started here would."""
    facts = in_force(config.state_dir) if runs else None
    if facts is None:
        facts = facts_here(config.isolation, config.state_dir, config.access.folders)
    weak = dict(weaknesses(facts))
    for about, said in facts.items():
        if about in weak:
            yield warned("isolation", f"{about}: {said}", weak[about])
    strong = [f"{about} {said}" for about, said in facts.items() if about not in weak]
    yield well("isolation", ", ".join(strong) or "none")
    if fault := sandbox_fault(config.isolation):
        yield failed("isolation", f'sandbox = "bwrap", but {fault}', SANDBOX_CURE)


def memory(config: AgentConfig) -> Iterator[Diagnosis]:
    """What operators may use."""
    has_bytes = read_memory_bytes(read_limits())
    said = f"{has_bytes // _MIB:,} MiB"
    if config.memory_bytes is not None and config.memory_bytes > has_bytes:
        yield failed(
            "memory",
            f"memory_bytes promises {config.memory_bytes // _MIB:,} MiB, there are {said}",
            "lower memory_bytes, or leave it out",
        )
    elif has_bytes < _WISHED_MEMORY_BYTES:
        yield warned("memory", said, "most models need more than 512 MiB")
    else:
        yield well("memory", said)


def accelerators(config: AgentConfig) -> Iterator[Diagnosis]:
    """NVIDIA devices: a driver without a device is one that doesn't answer."""
    if config.speed_ratio != 1.0 or config.accelerators:
        yield well("accelerators", "as the configuration says (emulated)")
        return
    found = find_nvidia()
    traces = [trace for trace in TRACES if Path(trace).exists()]
    if traces and not found:
        yield warned(
            "accelerators",
            f"{traces[0]} is there, but NVML tells of no device that may be used",
            "see what nvidia-smi says; reload or reinstall the driver",
        )
    else:
        yield well("accelerators", ", ".join(one.model for one in found) or "none")


def environments(config: AgentConfig) -> Iterator[Diagnosis]:
    """Whether operators' environments can be built."""
    if not config.build_environments:
        yield well("environments", "none is built here: bundles run in the agent's own")
        return
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if missing:
        yield failed("environments", f"Python's {missing[0]} is missing", "apt-get install python3-venv")
    elif config.wheels is not None and not any(config.wheels.glob("*.whl")):
        yield warned("environments", f"there are no wheels in {config.wheels}", "copy the bundle's wheels there")
    else:
        yield well("environments", f"built from {config.wheels or 'the package index'}")


def inputs(config: AgentConfig) -> Iterator[Diagnosis]:
    """The folders and cameras that queries may use."""
    access = config.access
    for folder in (*access.folders, *access.sink_folders):
        mode = os.R_OK | os.X_OK | (os.W_OK if folder in access.sink_folders else 0)
        if not os.path.isdir(folder):
            yield warned("inputs", f"{folder} is not there", "make or mount it")
        elif not os.access(folder, mode):
            yield failed(
                "inputs", f"{folder} can't be used by this user", f"chgrp and chmod {folder} for the agent's user"
            )
    for camera in access.cameras:
        device = f"/dev/video{camera}" if camera.isdigit() else camera
        if not device.startswith("/"):
            continue  # one on the network, which is asked when it is opened
        if not os.path.exists(device):
            yield warned("inputs", f"camera {camera}: {device} is not there", "plug it in, or take it from the list")
        elif not os.access(device, os.R_OK):
            yield failed("inputs", f"camera {camera}: {device} can't be read", "put the agent's user into group video")
