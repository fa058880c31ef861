"""A planner and agents as processes of this machine: for the demo, the system tests and a first hour.

Everything lives in one folder: state, logs, addresses. Each daemon has a session of its own, so that Ctrl-C reaches
only whoever holds the fleet; leaving the context stops them all and leaves no process behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from circinus import contexts
from circinus.child_end import reap
from circinus.client import Client
from circinus.contexts import FILE_VARIABLE, Context
from circinus.errors import Internal, TimedOut

_START_TIMEOUT_S = 30.0
_STOP_TIMEOUT_S = 15.0
_POLL_S = 0.05
_PIPE = asyncio.subprocess.PIPE


@dataclass(slots=True, kw_only=True)
class _Daemon:
    name: str
    argv: tuple[str, ...]
    log_path: Path
    process: asyncio.subprocess.Process | None = None


class LocalFleet:
    """Starts and stops a planner and agents; each can be killed and started again by name.

    ``agents``: the agents' configuration files, without the keys `planner` and `state_dir`, by device id.
    ``secure``: with identities, as between machines: each agent enrols with a token of its own; whoever asks is the
    admin of ``context``. Else in the clear.
    """

    def __init__(
        self,
        folder: Path,
        agents: Mapping[str, str],
        *,
        planner_flags: tuple[str, ...] = (),
        secure: bool = False,
    ) -> None:
        self._folder = folder
        self._agents = dict(agents)
        self._planner_flags = planner_flags
        self._secure = secure
        self._daemons: dict[str, _Daemon] = {}
        self.planner_address = ""
        self.enrol_address = ""
        self.context: Context | None = None

    @property
    def context_file(self) -> Path:
        """Where the planner writes the first admin's context, if the fleet is secure."""
        return self._folder / "planner" / "identity" / "admin.toml"

    @property
    def environment(self) -> dict[str, str]:
        """What the `circinus` command needs to ask this planner."""
        if self._secure:
            return {FILE_VARIABLE: str(self.context_file)}
        return {"CIRCINUS_PLANNER": self.planner_address, "CIRCINUS_INSECURE_LOOPBACK": "1"}

    def client(self) -> Client:
        """A client of the planner, for `async with`."""
        return Client.of(self.context) if self.context is not None else Client(self.planner_address)

    async def __aenter__(self) -> LocalFleet:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Starts the planner, then the agents.

        Raises:
            TimedOut: the planner did not say where it listens.
            Internal: a daemon ended at once; its log says why.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        await self.start_planner("127.0.0.1:0")
        for device_id in self._agents:
            await self.start_agent(device_id)

    async def start_planner(self, listen: str = "") -> None:
        """Starts the planner; by default where it listened before."""
        state = self._folder / "planner"
        # The address is written last.
        files = {"enrol-address": "enrol_address"} if self._secure else {}
        files["address"] = "planner_address"
        for name in files:
            (state / name).unlink(missing_ok=True)
        how = ("--enrol-listen", self.enrol_address or "127.0.0.1:0") if self._secure else ("--insecure-loopback",)
        where = ("--listen", listen or self.planner_address, "--state-dir", str(state))
        await self._spawn("planner", ("cloud_planner.command_line", "run", *where, *how, *self._planner_flags))
        for name, attribute in files.items():
            async with _timeout(_START_TIMEOUT_S, "the planner to listen"):
                while not ((state / name).exists() and (state / name).read_text().strip()):
                    self._check("planner")
                    await asyncio.sleep(_POLL_S)
            setattr(self, attribute, (state / name).read_text().strip())
        if self._secure:
            self.context = contexts.chosen(self.context_file)

    async def _enrol(self, device_id: str, config: Path) -> None:
        async with self.client() as client:
            issued = await client.admin.create_token(device_id)
        # Through a pipe: it stands in no file and no list of processes.
        await self._done(
            "edge_agent.daemon", "join", "--config", str(config), "--token-file", "-", given=issued.token.encode()
        )

    async def _done(self, *argv: str, given: bytes = b"") -> bytes:
        """What a command of the daemons prints.

        Raises:
            Internal: it failed; the message has what it said.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", *argv, stdin=_PIPE, stdout=_PIPE, stderr=_PIPE, start_new_session=True
        )
        try:
            async with _timeout(_START_TIMEOUT_S, " ".join(argv[:3])):
                out, errors = await process.communicate(given)
        finally:
            if process.returncode is None:
                process.kill()
                await reap(process)
        if process.returncode != 0:
            raise Internal(f"{' '.join(argv[:3])} ended with exit code {process.returncode}: {errors.decode()[-2000:]}")
        return out

    async def start_agent(self, device_id: str, text: str = "", *, planner_address: str = "") -> None:
        """Starts an agent, again if it ran before: its state is kept.

        ``text``: the configuration of a new one. ``planner_address``: where it dials, if not the planner itself.
        """
        if text:
            self._agents[device_id] = text
        state = self._folder / device_id
        config = self._folder / f"{device_id}.toml"
        address = planner_address or self.planner_address
        how = f'enrol = "{self.enrol_address}"' if self._secure else "insecure_loopback = true"
        head = f'planner = "{address}"\nstate_dir = "{state}"\n{how}\n'
        body = self._agents[device_id]
        # All devices have this machine's speed; what differs between them is emulated.
        tail = "" if "[fingerprint]" in body else "\n[fingerprint]\ncalibrate = false\n"
        config.write_text(head + body + tail)
        if self._secure and not (state / "identity" / "certificate.pem").exists():
            await self._enrol(device_id, config)
        await self._spawn(device_id, ("edge_agent.daemon", "run", "--config", str(config)))

    async def _spawn(self, name: str, argv: tuple[str, ...]) -> None:
        log_path = self._folder / f"{name}.log"
        daemon = _Daemon(name=name, argv=argv, log_path=log_path)
        with log_path.open("ab") as log:
            daemon.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *argv,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._daemons[name] = daemon

    def _check(self, name: str) -> None:
        daemon = self._daemons[name]
        if daemon.process is not None and daemon.process.returncode is not None:
            tail = daemon.log_path.read_text(errors="replace")[-2000:]
            raise Internal(f"{name} ended with exit code {daemon.process.returncode}; the end of its log:\n{tail}")

    def pid(self, name: str) -> int:
        """The process id of "planner" or of a device's agent."""
        process = self._daemons[name].process
        if process is None:
            raise Internal(f"{name} is not running")
        return process.pid

    def log(self, name: str) -> str:
        """What it logged so far."""
        return self._daemons[name].log_path.read_text(errors="replace")

    def running(self) -> tuple[str, ...]:
        """Names of the daemons that are running."""
        return tuple(
            name
            for name, daemon in self._daemons.items()
            if daemon.process is not None and daemon.process.returncode is None
        )

    async def kill(self, name: str) -> None:
        """Kills it as a crash would: SIGKILL, at once."""
        process = self._daemons[name].process
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()

    async def terminate(self, name: str) -> int:
        """SIGTERM, then SIGKILL after a grace; gives the exit code."""
        process = self._daemons[name].process
        if process is None:
            return 0
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                async with asyncio.timeout(_STOP_TIMEOUT_S):
                    await process.wait()
            except TimeoutError:
                # Its children are in groups of their own; their parent-death signal takes them.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        return process.returncode if process.returncode is not None else -1

    async def stop(self) -> dict[str, int]:
        """Stops all, agents first; gives each one's exit code."""
        agents = [name for name in self._daemons if name != "planner"]
        codes = dict(zip(agents, await asyncio.gather(*(self.terminate(name) for name in agents)), strict=True))
        if "planner" in self._daemons:
            codes["planner"] = await self.terminate("planner")
        return codes


@contextlib.asynccontextmanager
async def _timeout(seconds: float, what: str) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise TimedOut(f"waited {seconds:g} s for {what}") from None
