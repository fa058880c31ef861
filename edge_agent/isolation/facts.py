"""What can be had of isolation on this machine, and how that is told."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edge_agent.cgroups import CPU, MEMORY, PIDS, Cgroups, detect
from edge_agent.isolation import kernel
from edge_agent.isolation.bubblewrap import Sandbox, command
from edge_agent.isolation.config import IsolationConfig, SandboxKind
from edge_agent.isolation.system_calls import MACHINES

_NAME = "isolation.json"
BUBBLEWRAP = "bwrap"
NOT_INSTALLED = "bwrap is not installed"
SANDBOX_CURE = (
    "on Debian: apt-get install bubblewrap; let the unit make namespaces (docs/isolation.md); or leave sandbox out"
)
#: Something that a sandbox of nothing but the system can run.
PROBE = Sandbox(reads=(), writes=(), hides=(), folder="/", network=False)
PROBE_PROGRAM = "/bin/true"
PROBE_TIMEOUT_S = 10.0
_GROUPS = "under systemd, give the agent's unit Delegate=cpu memory pids; docs/isolation.md has more"
#: About what, how it begins when it is weak, and what to do.
_WEAK = (
    ("memory", "watched", _GROUPS),
    ("tasks", "not", _GROUPS),
    ("system_calls", "all", "use a kernel with seccomp filters, and leave out system_calls = false"),
    ("network", "open", "use a kernel with seccomp filters, and leave out system_calls = false"),
    ("state", "readable", "put state_dir where no program works, such as /var/lib/circinus, on Linux 5.19 or later"),
)
#: Folders that every process may have to make things in.
_EVERYBODYS = ("/tmp", "/var/tmp", "/dev/shm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What is used. ``exposed``: why the agent's state is not hidden; ``sandbox_fault`` None: not tried yet."""

    controllers: tuple[str, ...] = ()
    version: int = 0
    system_calls: bool = False
    unfiltered: str = ""
    own_network: bool = False
    landlock: int = 0
    hides_state: bool = False
    exposed: str = ""
    sandbox: SandboxKind = SandboxKind.NONE
    bubblewrap: str = ""
    sandbox_fault: str | None = None

    @classmethod
    def look(
        cls, config: IsolationConfig, groups: Cgroups | None, state_dir: Path | None, feeds: Sequence[str]
    ) -> Means:
        """What is there now."""
        unfiltered = ""
        if not config.system_calls:
            unfiltered = "the configuration says system_calls = false"
        elif os.uname().machine not in MACHINES:
            unfiltered = f"there is no list for {os.uname().machine}"
        elif not kernel.can_filter():
            unfiltered = "the kernel takes no filter"
        landlock = kernel.landlock_version()
        exposed = "the kernel has no Landlock" if not landlock else why_exposed(state_dir, feeds)
        return cls(
            controllers=groups.controllers if groups is not None else (),
            version=groups.version if groups is not None else 0,
            system_calls=not unfiltered,
            unfiltered=unfiltered,
            own_network=config.system_calls and kernel.can_leave_network(),
            landlock=landlock,
            hides_state=state_dir is not None and not exposed,
            exposed=exposed,
            sandbox=config.sandbox,
        )

    def with_sandbox(self, bubblewrap: str, fault: str) -> Means:
        """The same, after the sandbox was tried."""
        return replace(self, bubblewrap=bubblewrap, sandbox_fault=fault)


def why_exposed(state_dir: Path | None, feeds: Sequence[str]) -> str:
    """Why files of the agent's state can't be hidden by Landlock; empty: they can.

    All that holds the folder must be left out of what is allowed, so new files there can't be used. That does no harm
    in /var/lib; it would where processes have to make files, or to see those that others make.
    """
    if state_dir is None:
        return "there is no folder of state"
    way = set(state_dir.parents) - {Path("/")}
    for folder in way:
        if folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
            return f"{folder} can't be looked into"
    needed = [*_EVERYBODYS, tempfile.gettempdir(), os.path.expanduser("~"), *feeds]
    for folder in (Path(name) for name in needed):
        if folder.resolve() in way or (not folder.exists() and set(folder.parents) & way):
            return f"{state_dir} is below {folder}, where processes make or read files"
    return ""


def facts_of(means: Means) -> Mapping[str, str]:
    """In words, by what they are about; for people."""
    version = f"cgroup v{means.version}"
    return {
        "cpu": version if CPU in means.controllers else "pacing alone",
        "memory": version if MEMORY in means.controllers else "watched by the agent",
        "tasks": version if PIDS in means.controllers else "not limited",
        "system_calls": "filtered" if means.system_calls else f"all: {means.unfiltered}",
        "network": "only where declared" if means.system_calls or means.own_network or _boxed(means) else "open to all",
        "state": "hidden" if means.hides_state or _boxed(means) else f"readable: {means.exposed}",
        "sandbox": str(means.sandbox) + (f" ({means.sandbox_fault})" if means.sandbox_fault else ""),
    }


def facts_here(config: IsolationConfig, state_dir: Path, feeds: Sequence[str]) -> Mapping[str, str]:
    """What an agent that is started here, as the one who asks, would have. Looks only."""
    bases = detect()
    groups = Cgroups(bases) if bases is not None else None
    return facts_of(Means.look(config, groups, state_dir.resolve(), feeds))


def tell(state_dir: Path, facts: Mapping[str, str]) -> None:
    """Notes what is in force, for whoever asks while the agent runs: it may have other rights than they."""
    with contextlib.suppress(OSError):
        (state_dir / _NAME).write_text(json.dumps(dict(facts)), encoding="utf-8")


def in_force(state_dir: Path) -> Mapping[str, str] | None:
    """What ``tell`` noted; None: nothing."""
    try:
        document = json.loads((state_dir / _NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return {str(about): str(said) for about, said in document.items()} if isinstance(document, dict) else None


def weaknesses(facts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """What could hold and doesn't, with its cure."""
    for about, weak, cure in _WEAK:
        if facts.get(about, "").startswith(weak):
            yield about, cure


def sandbox_fault(config: IsolationConfig) -> str:
    """Why the sandbox that is asked for can't be had here; empty: it can, or none is."""
    if config.sandbox is SandboxKind.NONE:
        return ""
    found = shutil.which(BUBBLEWRAP)
    if found is None:
        return NOT_INSTALLED
    try:
        tried = subprocess.run(
            command(found, PROBE, [PROBE_PROGRAM]), capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bwrap can't make one here: {error}"
    return "" if tried.returncode == 0 else f"bwrap can't make one here: {tried.stderr.strip()[-300:]}"


def _boxed(means: Means) -> bool:
    return means.sandbox is SandboxKind.BUBBLEWRAP
