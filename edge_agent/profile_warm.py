"""Profile processes that stay between requests, and when they are let go.

A search asks dozens of times about the same bundle and content. What its first request has loaded, decoded and found
stays in idle processes for the next ones: not for long, not for many bundles and contents, and not when memory is
needed for other things.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from circinus.clock import Clock
from circinus.errors import InvalidInput
from circinus.events import event
from circinus.model.device import Digest
from edge_agent.isolation.declared import needs_network
from edge_agent.isolation.isolation import OOM_PROFILE, Isolation, Traits
from edge_agent.printed import Printed, Printer
from edge_agent.profile_child import ProfileChild
from edge_agent.profile_config import ProfileConfig
from edge_agent.profile_inputs import ProfiledPipeline, read_pipeline
from edge_agent.profile_watch import patience_s
from edge_agent.tasks import TaskSet

#: Beside the longest time that an operator may take: starting Python and loading models.
_START_S = 120.0
_LOOK_PERIOD_S = 1.0
#: As a profile process makes itself; see there.
_NICE = 5
_CPU_PROVIDERS = ("CPUExecutionProvider",)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmLimits:
    """How long and how many processes stay idle, and how long a request that is called off may take to end."""

    idle_s: float = 120.0
    max_keys: int = 2
    least_available_bytes: int = 512 * 1024 * 1024
    cancel_grace_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmKey:
    """What requests must have in common to share processes."""

    bundle_digest: Digest
    environment_digest: Digest
    content_digest: Digest
    parallelism: int


class Pool:
    """The processes of one key, each started when it is first needed."""

    def __init__(
        self,
        *,
        key: WarmKey,
        pipeline_id: str,
        python: Path,
        folder: Path,
        pipeline: ProfiledPipeline,
        config: ProfileConfig,
        isolation: Isolation,
        printed: Printed | None = None,
    ) -> None:
        self._isolation = isolation
        self._printed = printed
        self._traits = profile_traits(config)
        self.key = key
        self.pipeline_id = pipeline_id
        self.python = python
        self.pipeline = pipeline
        self.busy = False
        self.idle_since_s = 0.0
        self._folder = folder
        self._config = config
        self.providers = config.providers
        self._silence_s = patience_s(max((step.hang_ms for step in pipeline.steps), default=0.0)) + _START_S
        self._children: dict[str, ProfileChild] = {}

    async def runner(self, number: int) -> ProfileChild:
        """The process that runs the samples of a number: always the same one, since it has seen them before.

        Raises:
            NotRunnable: it can't be started.
        """
        return await self._child(f"runner-{number}", memory=False)

    async def prober(self) -> ProfileChild:
        """The process that probes memory: one of its own, which loads no operators.

        Raises:
            NotRunnable: it can't be started.
        """
        return await self._child("prober", memory=True)

    async def _child(self, name: str, *, memory: bool) -> ProfileChild:
        child = self._children.get(name)
        if child is None or not child.usable:
            if child is not None:
                await child.end()
            config = replace(self._config, memory=memory, note=self._folder / f"{name}.doing")
            child = self._children[name] = await ProfileChild.start(
                python=self.python,
                folder=self._folder,
                name=name,
                silence_s=self._silence_s,
                config=config,
                isolation=self._isolation,
                traits=self._traits,
                voice=None if self._printed is None else self._printed.voice(self._printer(name)),
            )
        return child

    def _printer(self, name: str) -> Printer:
        return Printer(key=f"profile {self._folder.name} {name}", query_id=self.pipeline_id, operator_id="profile")

    def call_off(self, request_id: str) -> None:
        """Has all processes end a request at the next sample."""
        for child in self._children.values():
            child.call_off(request_id)

    async def tidy(self) -> None:
        """Ends the processes of which nobody knows what they are at."""
        await self._end([name for name, child in self._children.items() if not child.usable])

    @property
    def empty(self) -> bool:
        """Whether it has no process."""
        return not self._children

    async def end(self) -> None:
        """Ends its processes and removes its folder."""
        await self._end(list(self._children))
        await asyncio.to_thread(shutil.rmtree, self._folder, True)

    async def _end(self, names: Iterable[str]) -> None:
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(self._children.pop(name).end())


class WarmPools:
    """The pools of a device. ``available_bytes``: memory that may be had without anybody's harm."""

    def __init__(
        self,
        *,
        run_dir: Path,
        speed_ratio: float,
        providers: tuple[str, ...],
        limits: WarmLimits,
        clock: Clock,
        available_bytes: Callable[[], int],
        isolation: Isolation,
        printed: Printed | None,
    ) -> None:
        self._printed = printed
        self._isolation = isolation
        self._run_dir = run_dir
        self._speed_ratio = speed_ratio
        self._providers = providers
        self._limits = limits
        self._clock = clock
        self._available_bytes = available_bytes
        self._pools: dict[WarmKey, Pool] = {}
        # Tasks of their own: a request that is cancelled meanwhile must not leave a process behind.
        self._endings = TaskSet()

    def equip(self, providers: tuple[str, ...]) -> None:
        """The providers from now on; processes that have others are ended before the next request."""
        self._providers = providers

    async def take(self, key: WarmKey, *, pipeline_id: str, python: Path, bundle: Path, samples: Path) -> Pool:
        """The pool of a key, to be given back; others are ended as far as the limits ask for it.

        Raises:
            InvalidInput: the bundle's pipeline is damaged.
        """
        await self._end(
            [
                pool
                for pool in self._pools.values()
                if _outdated(pool, key, pipeline_id, python) or pool.providers != self._providers
            ],
            "outdated",
        )
        await self._end_if_short()
        pool = self._pools.pop(key, None)
        if pool is None:
            spare = len(self._pools) - self._limits.max_keys + 1
            oldest = sorted(self._pools.values(), key=lambda other: other.idle_since_s)
            await self._end(oldest[: max(0, spare)], "others came")
            pool = await self._make(key, pipeline_id, python, bundle, samples)
        # The latest one last, so that ties of time break by use.
        self._pools[key] = pool
        pool.busy = True
        return pool

    async def give_back(self, pool: Pool) -> None:
        """The pool's request has ended. A pool without a sound process isn't kept."""
        try:
            await asyncio.wait((self._endings.spawn(pool.tidy(), name="profile-tidy"),))
        finally:
            pool.busy = False
            pool.idle_since_s = self._clock.monotonic_s()
        if pool.empty:
            await self._end([pool], "nothing left")

    async def watch(self) -> None:
        """Ends what was idle for too long, or all that is idle when memory is short; until it is cancelled."""
        while True:
            await self._clock.sleep(_LOOK_PERIOD_S)
            before_s = self._clock.monotonic_s() - self._limits.idle_s
            idle = [pool for pool in self._pools.values() if not pool.busy and pool.idle_since_s <= before_s]
            await self._end(idle, "idle")
            await self._end_if_short()

    async def end_of(self, environment_digest: Digest) -> None:
        """Ends the pools of an environment that is no longer what it was."""
        gone = [pool for pool in self._pools.values() if pool.key.environment_digest == environment_digest]
        await self._end(gone, "environment")

    async def end(self) -> None:
        """Ends all of them."""
        await self._end(list(self._pools.values()), "stop")
        await self._endings.wait()

    async def _end_if_short(self) -> None:
        idle = [pool for pool in self._pools.values() if not pool.busy]
        if idle and self._available_bytes() < self._limits.least_available_bytes:
            await self._end(idle, "memory")

    async def _end(self, pools: Iterable[Pool], reason: str) -> None:
        gone = list(pools)
        for pool in gone:
            self._pools.pop(pool.key, None)
        tasks = [self._endings.spawn(pool.end(), name="profile-end") for pool in gone]
        for pool in gone:
            event("profile_processes_ended", bundle=pool.key.bundle_digest, reason=reason)
        if tasks:
            await asyncio.wait(tasks)

    async def _make(self, key: WarmKey, pipeline_id: str, python: Path, bundle: Path, samples: Path) -> Pool:
        pipeline = await asyncio.to_thread(_pipeline_of, bundle)
        folder = Path(tempfile.mkdtemp(dir=self._run_dir))
        config = ProfileConfig(
            bundle=bundle,
            samples=samples,
            note=folder / "doing",
            speed_ratio=self._speed_ratio,
            providers=self._providers,
        )
        return Pool(
            key=key,
            pipeline_id=pipeline_id,
            python=python,
            folder=folder,
            pipeline=pipeline,
            config=config,
            isolation=self._isolation,
            printed=self._printed,
        )


def profile_traits(config: ProfileConfig) -> Traits:
    """What a profile process is to its isolation: all operators of a pipeline in one."""
    return Traits(
        threads=1,
        network=needs_network(config.bundle),
        oom_score_adj=OOM_PROFILE,
        nice=_NICE,
        accelerator=config.providers != _CPU_PROVIDERS,
        unbuffered=True,
    )


def available_memory_bytes() -> int:
    """What may be had of this machine's memory without swapping."""
    return int(psutil.virtual_memory().available)


def _outdated(pool: Pool, key: WarmKey, pipeline_id: str, python: Path) -> bool:
    if pool.pipeline_id == pipeline_id and pool.key.bundle_digest != key.bundle_digest:
        return True
    return pool.key.environment_digest == key.environment_digest and pool.python != python


def _pipeline_of(bundle: Path) -> ProfiledPipeline:
    try:
        return read_pipeline(bundle)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"the bundle's pipeline.json is damaged: {type(error).__name__}: {error}") from error
