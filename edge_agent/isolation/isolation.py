"""Starts serving processes so that each is held to its own: the one place where all that isolates them is put together.

What can't be had on a machine is left out and told, in ``facts``, at the start, by ``edge-agent check`` and in the
device's fingerprint; what was asked for in the configuration and can't be had lets no process start.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import stat
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from circinus.child_end import reap
from circinus.errors import NotRunnable
from circinus.events import event
from edge_agent import cgroups
from edge_agent.fingerprint.cgroup import read_limits
from edge_agent.isolation import kernel
from edge_agent.isolation.bubblewrap import Sandbox, command
from edge_agent.isolation.config import USUAL, IsolationConfig, SandboxKind
from edge_agent.isolation.enclosed import Enclosed
from edge_agent.isolation.facts import BUBBLEWRAP, SANDBOX_CURE, Means, facts_of, sandbox_fault, tell
from edge_agent.isolation.installed import code_folders
from edge_agent.isolation.memory_watch import MemoryWatch
from edge_agent.isolation.orders import ORDERS_VARIABLE, Orders
from edge_agent.isolation.undertaker import Undertaker
from edge_agent.isolation.variables import variables

#: Below the agent's folder of state: what every process reads, beside its own bundle and folders.
_SHOWN = ("environments", "runtime")
#: Of the memory that there is.
_UNPLANNED_RATIO = 0.75
#: Files of the agent and of Python's own library.
_INSTALLED = (__file__, os.__file__)
#: When memory runs out, who goes first: higher goes before lower. The agent keeps what it was given.
OOM_SERVING, OOM_SOURCE, OOM_PROFILE, OOM_SHADOW = 500, 400, 800, 900


def unplanned_memory_bytes() -> int:
    """What a process may take for which no plan says what it needs: what is more would starve the machine."""
    here = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return round(_UNPLANNED_RATIO * min(here, read_limits().memory_bytes or here))


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What a process is, as far as its isolation depends on it.

    ``memory_bytes`` 0: no plan says. ``nice`` above 0: it goes after others. ``reads``: folders that it reads
    beside its bundle; ``reads_all``: in place of an agent that is root. ``set_variables``: of its environment.
    """

    threads: int
    network: bool
    memory_bytes: int = 0
    oom_score_adj: int = OOM_SERVING
    nice: int = 0
    accelerator: bool = False
    reads: tuple[str, ...] = ()
    reads_all: bool = False
    unbuffered: bool = False
    set_variables: tuple[tuple[str, str], ...] = ()


class Isolation:
    """That of one agent. ``state_dir`` None: it keeps no state that is to be hidden."""

    def __init__(
        self, config: IsolationConfig | None = None, *, state_dir: Path | None = None, feeds: Sequence[str] = ()
    ) -> None:
        self._config = config or USUAL
        self._state_dir = state_dir.resolve() if state_dir is not None else None
        self._feeds = tuple(feeds)
        self._users = 0
        self._means = Means()
        self._cgroups: cgroups.Cgroups | None = None
        self._undertaker = Undertaker(())
        self._watch = MemoryWatch()

    def open(self) -> None:
        """Looks what can be had here and makes it ready; each ``open`` needs its ``close``."""
        self._users += 1
        if self._users > 1:
            return
        bases = cgroups.detect()
        self._cgroups = cgroups.use(bases) if bases is not None else None
        prefixes = [] if bases is None or self._cgroups is None else cgroups.prefixes(bases)
        self._undertaker = Undertaker(prefixes)
        self._means = Means.look(self._config, self._cgroups, self._state_dir, self._feeds)
        # Whoever is this user could read the agent's memory and environment.
        with contextlib.suppress(OSError):
            kernel.hide_memory()
        if self._state_dir is not None:
            tell(self._state_dir, self.facts())
        event("isolation", **self.facts())

    def close(self) -> None:
        """Lets go of what ``open`` made."""
        self._users -= 1
        if self._users:
            return
        self._watch.close()
        self._undertaker.close()
        if self._cgroups is not None:
            self._cgroups.tidy()

    def facts(self) -> Mapping[str, str]:
        """What isolation is in force, by what it is about."""
        return facts_of(self._means)

    async def start(
        self,
        python: Path,
        module: str,
        argument: Path,
        traits: Traits,
        *,
        bundle: Path,
        folder: Path,
        pass_fds: Sequence[int] = (),
        stdin: int = asyncio.subprocess.DEVNULL,
        stdout: int = asyncio.subprocess.DEVNULL,
        stderr: int = asyncio.subprocess.DEVNULL,
        reads: Sequence[Path] = (),
        owns_folder: bool = False,
    ) -> tuple[Process, Enclosed]:
        """A process of ``python -m module argument`` that works in ``folder``; ``owns_folder``: which goes with it.

        It has no bundle's code loaded before all that isolates it is in force.

        Raises:
            OSError: it can't be started.
            NotRunnable: the sandbox that is asked for can't be had.
        """
        arguments = [str(python), "-P", "-m", module, str(argument)]
        sandboxed = self._config.sandbox is SandboxKind.BUBBLEWRAP
        if sandboxed:
            await self._probe_sandbox()
            shown = (str(bundle), *(str(path) for path in reads), *traits.reads, *code_folders(python))
            arguments = command(self._means.bubblewrap, self._sandbox(traits, folder, shown), arguments)
        environment = variables(threads=traits.threads, more=self._config.variables, unbuffered=traits.unbuffered)
        if sandboxed or self._home_is_hidden():
            environment["HOME"] = str(folder)
        environment.update(traits.set_variables)
        reading, writing = os.pipe2(os.O_CLOEXEC)
        environment[ORDERS_VARIABLE] = str(reading)
        memory_bytes = traits.memory_bytes or unplanned_memory_bytes()
        group = self._group(traits, memory_bytes)
        try:
            process = await asyncio.create_subprocess_exec(
                *arguments,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=folder,
                env=environment,
                start_new_session=True,
                pass_fds=(*pass_fds, reading),
            )
        except BaseException:
            os.close(writing)
            if group is not None and self._cgroups is not None:
                self._cgroups.release(group)
            raise
        finally:
            os.close(reading)
        enclosed = Enclosed(
            process.pid,
            group=group,
            memory_limit_bytes=memory_bytes,
            folder=folder if owns_folder else None,
            on_release=self._release,
        )
        try:
            self._undertaker.expect(process.pid)
            if group is not None:
                # Before it is told to go on, so that nothing it takes is counted elsewhere.
                enclosed.join_group()
            private = _private(python, bundle, folder)
            orders = self._orders(traits, (bundle, *reads), folder, sandboxed=sandboxed, private=private)
            with contextlib.suppress(BrokenPipeError):  # it has ended already, which is found out elsewhere
                os.write(writing, orders.to_bytes())
        except BaseException:
            enclosed.kill()
            await reap(process)
            enclosed.release()
            raise
        finally:
            os.close(writing)
        self._watch.add(enclosed)
        return process, enclosed

    def _home_is_hidden(self) -> bool:
        """Whether the agent's user lives in its folder of state, as one that systemd made for it may."""
        home = Path(os.path.expanduser("~"))
        return self._means.hides_state and self._state_dir is not None and home.is_relative_to(self._state_dir)

    def _group(self, traits: Traits, memory_bytes: int) -> cgroups.Group | None:
        if self._cgroups is None:
            return None
        return self._cgroups.make(memory_bytes=memory_bytes, tasks=self._config.tasks, nice=traits.nice)

    def _orders(self, traits: Traits, reads: Sequence[Path], folder: Path, *, sandboxed: bool, private: bool) -> Orders:
        hides = self._means.hides_state and not sandboxed
        return Orders(
            # In a sandbox the parent is the sandbox, which dies with the agent and takes all with it.
            agent_pid=0 if sandboxed else os.getpid(),
            system_calls=self._means.system_calls,
            network=traits.network,
            own_network=self._means.own_network and not sandboxed,
            oom_score_adj=traits.oom_score_adj,
            landlock=self._means.landlock,
            hidden=str(self._state_dir) if hides else "",
            shown=(*_SHOWN, *self._in_state(reads)) if hides else (),
            # Its own alone: in another's it could answer for that one, or turn what the agent writes to elsewhere.
            working=self._in_state((folder,)) if hides else (),
            reads_all=traits.reads_all or private,
        )

    def _in_state(self, paths: Sequence[Path]) -> tuple[str, ...]:
        """These as they are named from the folder of state on, as far as they are in it."""
        found = (os.path.relpath(path.resolve(), self._state_dir) for path in paths)
        return tuple(name for name in found if name.partition("/")[0] not in (".", ".."))

    def _sandbox(self, traits: Traits, folder: Path, shown: Sequence[str]) -> Sandbox:
        hides = [str(self._state_dir)] if self._state_dir is not None and self._state_dir.is_dir() else []
        if Path("/etc/circinus").is_dir():
            hides.append("/etc/circinus")
        return Sandbox(
            reads=tuple(shown),
            writes=(str(folder),),
            hides=tuple(hides),
            folder=str(folder),
            network=traits.network,
            own_processes=not traits.accelerator,
        )

    async def _probe_sandbox(self) -> None:
        """Whether the sandbox works here, found out once.

        Raises:
            NotRunnable: it doesn't.
        """
        if self._means.sandbox_fault is None:
            fault = await asyncio.to_thread(sandbox_fault, self._config)
            self._means = self._means.with_sandbox(shutil.which(BUBBLEWRAP) or "", fault)
        if self._means.sandbox_fault:
            raise NotRunnable(f'[isolation] sandbox = "bwrap", but {self._means.sandbox_fault}; {SANDBOX_CURE}')

    def _release(self, enclosed: Enclosed) -> None:
        self._watch.remove(enclosed)
        if enclosed.group is not None and self._cgroups is not None:
            self._cgroups.release(enclosed.group)
        self._undertaker.forget(enclosed.pid)
        if enclosed.folder is not None:
            # An operator may have filled it: that is no work for the loop that serves items.
            asyncio.get_running_loop().run_in_executor(None, shutil.rmtree, enclosed.folder, True)


def _private(*paths: Path) -> bool:
    """Whether an agent that is root is installed, or works, where only another user may look.

    Root without any capability is a user like others: its operators keep the one to read.
    """
    if os.geteuid() != 0:
        return False
    folders = {parent for path in paths for parent in path.absolute().parents}
    folders |= {parent for name in _INSTALLED for parent in Path(name).parents}
    for folder in folders:
        with contextlib.suppress(OSError):
            found = folder.stat()
            if found.st_uid != 0 and not found.st_mode & stat.S_IXOTH:
                return True
    return False
