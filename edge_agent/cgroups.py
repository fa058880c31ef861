"""Control groups of serving processes: what a process and all that it starts may have of CPU, memory and tasks.

Groups are children of the agent's own, so nobody's limits are evaded. The period of a CPU quota is 10 ms: the kernel's
default of 100 ms stalls an item in lumps and ruins the tail.

Version 1 has a tree for each controller, and the agent may have the right to some of them only. Version 2 has one tree,
in which a group that holds processes can't give controllers to its children: an agent that has a group for itself
moves into a child of it first. It leaves groups alone that hold anybody else's processes. Where no groups can be made
(a container without the right to, a desktop session) there are none, which is said.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

_PERIOD_US = 10_000
_PREFIX = "circinus-"
CPU, MEMORY, PIDS = "cpu", "memory", "pids"
CONTROLLERS = (CPU, MEMORY, PIDS)
#: The agent's own group below the one that it was given (version 2): systemd's name for it is free to choose, too.
AGENT_GROUP = "agent"
#: The agent moves items for all operators, so it goes first; 100 is everybody else's.
_AGENT_WEIGHT = 1_000
_MAX_KILL_ROUNDS = 50


class Group:
    """One process's group, with all that the process starts: a folder for each controller, or one of version 2."""

    def __init__(self, folders: Mapping[str, Path], *, unified: bool) -> None:
        self._folders = dict(folders)
        self._places = tuple(dict.fromkeys(self._folders.values()))
        self._unified = unified
        self.memory_limit_bytes = 0

    @property
    def limits_memory(self) -> bool:
        """Whether the kernel holds it to a limit of memory."""
        return self.memory_limit_bytes > 0

    def add(self, pid: int) -> None:
        """Takes a process in. What it has already stays where it was counted.

        Raises:
            OSError: it is gone, or may not be moved.
        """
        for place in self._places:
            (place / "cgroup.procs").write_text(str(pid))

    def limit_cores(self, cores: float) -> None:
        """At most so many cores from now on; nothing changes where its CPU can't be limited."""
        place = self._folders.get(CPU)
        if place is None:
            return
        quota_us = max(1_000, round(cores * _PERIOD_US))
        with contextlib.suppress(OSError):
            if self._unified:
                (place / "cpu.max").write_text(f"{quota_us} {_PERIOD_US}")
            else:
                (place / "cpu.cfs_period_us").write_text(str(_PERIOD_US))
                (place / "cpu.cfs_quota_us").write_text(str(quota_us))

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed a process of it because the group was over its limit."""
        place = self._folders.get(MEMORY)
        if place is None or not self.limits_memory:
            return False
        text = _read(place / ("memory.events" if self._unified else "memory.oom_control"))
        return any(line.startswith("oom_kill ") and line.split()[1] != "0" for line in text.splitlines())

    def pids(self) -> set[int]:
        """Who is in it."""
        return {int(word) for place in self._places for word in _read(place / "cgroup.procs").split()}

    def kill(self) -> None:
        """Ends all that is in it, however often it forks meanwhile."""
        if self._unified and (place := self._places[0] / "cgroup.kill").exists():
            with contextlib.suppress(OSError):
                place.write_text("1")
                return
        # Who has been killed forks no more, but may still be there for a while.
        killed = {os.getpid()}
        for _ in range(_MAX_KILL_ROUNDS):
            new = self.pids() - killed
            if not new:
                return
            for pid in new:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            killed |= new

    def remove(self) -> bool:
        """Takes the group away; False: something in it is not quite gone."""
        gone = True
        for place in self._places:
            try:
                place.rmdir()
            except FileNotFoundError:
                continue
            except OSError:
                gone = False
        return gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Bases:
    """The agent's own groups as they were found, by the controllers that they may give to children.

    ``own``: of version 2, the folder from which the agent has to move first; None: it need not.
    """

    folders: Mapping[str, Path]
    unified: bool
    own: Path | None = None

    @property
    def controllers(self) -> tuple[str, ...]:
        """What groups of this agent can limit."""
        return tuple(name for name in CONTROLLERS if name in self.folders)


class Cgroups:
    """The groups of one agent."""

    def __init__(self, bases: Bases) -> None:
        self._bases = bases
        self._made = 0
        self._leaving: list[Group] = []

    @property
    def controllers(self) -> tuple[str, ...]:
        """What its groups limit."""
        return self._bases.controllers

    @property
    def version(self) -> int:
        """Of the kernel's control groups: 1 or 2."""
        return 2 if self._bases.unified else 1

    def make(self, *, memory_bytes: int, tasks: int, nice: int = 0) -> Group | None:
        """A new group of at most so much memory (0: no limit) and so many tasks; None: it can't be made.

        With ``nice`` the process goes after others: in a group of its own its nice value would mean nothing any more.
        """
        self.tidy()
        self._made += 1
        name = f"{_PREFIX}{os.getpid()}-{self._made}"
        folders = {key: base / name for key, base in self._bases.folders.items()}
        if nice and not self._bases.unified:
            folders.pop(CPU, None)  # it stays in the agent's, where nice values count
        group = Group(folders, unified=self._bases.unified)
        if not folders:
            return None
        try:
            for place in dict.fromkeys(folders.values()):
                place.mkdir()
        except OSError:
            group.remove()
            return None
        if PIDS in folders:
            _try(folders[PIDS] / "pids.max", str(tasks))
        if memory_bytes and MEMORY in folders and self._limit_memory(folders[MEMORY], memory_bytes):
            group.memory_limit_bytes = memory_bytes
        if nice and self._bases.unified and CPU in folders:
            _try(folders[CPU] / "cpu.weight.nice", str(min(19, nice)))
        return group

    def _limit_memory(self, place: Path, memory_bytes: int) -> bool:
        if not self._bases.unified:
            done = _try(place / "memory.limit_in_bytes", str(memory_bytes))
            _try(place / "memory.memsw.limit_in_bytes", str(memory_bytes))
            return done
        done = _try(place / "memory.max", str(memory_bytes))
        _try(place / "memory.swap.max", "0")
        # All of an operator or nothing: half of one answers nothing.
        _try(place / "memory.oom.group", "1")
        return done

    def release(self, group: Group) -> None:
        """Ends what is left in a group, and takes it away as soon as that is gone."""
        group.kill()
        if not group.remove():
            self._leaving.append(group)

    def tidy(self) -> None:
        """Takes away the released groups that could not be yet."""
        self._leaving = [group for group in self._leaving if not group.remove()]

    def sweep(self) -> None:
        """Ends what is in the groups of agents that are gone, and takes the groups away; those in use stay."""
        for base in dict.fromkeys(self._bases.folders.values()):
            for place in base.glob(f"{_PREFIX}*"):
                if _agent_is_gone(place.name):
                    left = Group({"": place}, unified=self._bases.unified)
                    left.kill()
                    left.remove()


def detect(
    own: Path = Path("/proc/self/cgroup"), mounts: Path = Path("/proc/self/mountinfo"), pid: int | None = None
) -> Bases | None:
    """Where this process may make groups; None: nowhere. Looks only."""
    folders: dict[str, Path] = {}
    for controllers, place in _own_places(own, mounts):
        if not controllers:
            found = _unified(place, os.getpid() if pid is None else pid)
            if found is not None:
                return found
            continue
        for name in CONTROLLERS:
            if name in controllers and _may_make(place) and (place / _PROBES[name]).exists():
                folders[name] = place
    return Bases(folders=folders, unified=False) if folders else None


#: A file that each controller of version 1 has.
_PROBES = {CPU: "cpu.cfs_quota_us", MEMORY: "memory.limit_in_bytes", PIDS: "cgroup.procs"}


def use(bases: Bases) -> Cgroups | None:
    """Makes the groups ready: moves this process out of the way if need be; None: the kernel refuses after all."""
    if bases.unified:
        base = bases.folders[CPU] if CPU in bases.folders else next(iter(bases.folders.values()))
        try:
            if bases.own is not None:
                agent = base / AGENT_GROUP
                agent.mkdir(exist_ok=True)
                (agent / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            return None
        enabled = set(_read(base / "cgroup.subtree_control").split())
        # One after the other: the kernel may refuse a single one, and takes none of those that come with it.
        given = [
            name for name in bases.controllers if name in enabled or _try(base / "cgroup.subtree_control", f"+{name}")
        ]
        if not given:
            return None
        bases = replace(bases, folders=dict.fromkeys(given, base))
        if bases.own is not None:
            _try(base / AGENT_GROUP / "cpu.weight", str(_AGENT_WEIGHT))
    found = Cgroups(bases)
    found.sweep()
    return found


def prefixes(bases: Bases) -> list[str]:
    """What the paths of this agent's groups begin with."""
    return [str(base / f"{_PREFIX}{os.getpid()}-") for base in dict.fromkeys(bases.folders.values())]


def _own_places(own: Path, mounts: Path) -> Iterator[tuple[tuple[str, ...], Path]]:
    """This process's group in each tree that is mounted; no controllers: version 2."""
    mounted = list(_mounted(mounts))
    for line in _read(own).splitlines():
        _, names, path = line.split(":", 2)
        controllers = tuple(name for name in names.split(",") if name)
        for options, root, point in mounted:
            if not controllers if options is None else bool(controllers) and set(controllers) <= options:
                # A container sees its own group as the root of the tree.
                inside = os.path.relpath(path, root) if path.startswith(root) else "."
                place = Path(os.path.normpath(point / inside))
                if place.is_dir():
                    yield controllers, place
                    break


def _mounted(mounts: Path) -> Iterator[tuple[set[str] | None, str, Path]]:
    """Options, root and place of each tree; no options: version 2."""
    for line in _read(mounts).splitlines():
        left, _, right = line.partition(" - ")
        words, kind = left.split(), right.split()
        if len(words) >= 5 and len(kind) >= 3 and kind[0] in ("cgroup", "cgroup2"):
            options = None if kind[0] == "cgroup2" else set(kind[2].split(","))
            yield options, words[3], Path(words[4].replace("\\040", " "))


def _unified(own: Path, pid: int) -> Bases | None:
    # systemd may have put the agent into a group below the one that it delegates.
    inner = own.name == AGENT_GROUP and _may_make(own.parent) and (own.parent / "cgroup.subtree_control").exists()
    base = own.parent if inner else own
    offered = _read(base / "cgroup.controllers").split()
    names = [name for name in CONTROLLERS if name in offered]
    if not names or not _may_make(base) or not os.access(base / "cgroup.subtree_control", os.W_OK):
        return None
    enabled = set(_read(base / "cgroup.subtree_control").split())
    # The tree's root is the only group that may hold processes and give controllers to children.
    is_root = not (base / "cgroup.type").exists()
    moves = not inner and not is_root and not set(names) <= enabled
    members = {int(word) for word in _read(base / "cgroup.procs").split()}
    if moves and members - {pid}:
        return None  # others' processes are not ours to move
    return Bases(folders=dict.fromkeys(names, base), unified=True, own=base if moves else None)


def _may_make(place: Path) -> bool:
    return os.access(place, os.W_OK | os.X_OK) and os.access(place / "cgroup.procs", os.W_OK)


def _agent_is_gone(name: str) -> bool:
    number = name.removeprefix(_PREFIX).partition("-")[0]
    return number.isdigit() and int(number) != os.getpid() and not Path(f"/proc/{number}").exists()


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _try(path: Path, value: str) -> bool:
    """Writes a setting that not every kernel has."""
    try:
        if path.exists():
            path.write_text(value)
            return True
    except OSError:
        pass
    return False
