"""What runs on the device: replica sets and sources by their key, as directives come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from random import Random

from circinus.clock import Clock
from circinus.events import event
from circinus.model.directive import Directive, Generation, ReplicaSet, SourceSpec
from edge_agent.dataplane.replicas import ReplicaSetRunner, Results
from edge_agent.dataplane.sources import SourceRunner
from edge_agent.reconcile import Unit, UnitKind, joint_specs, reconcile, units_of
from edge_agent.runtime import Runtime
from edge_agent.supervisor import Supervisor
from edge_agent.taps import Taps
from edge_agent.tasks import TaskSet
from edge_agent.telemetry import Windows

#: How long a replica set that is no longer wanted may take for what still waits in its queue.
DRAIN_S = 5.0
_POLL_S = 0.02
#: How often whoever holds the processes looks at what is due; and where there are none, so that it costs nothing.
TICK_S = 0.1
_REST_S = 1.0

Runner = ReplicaSetRunner | SourceRunner


class Units:
    """The runners of one device."""

    def __init__(
        self,
        *,
        runtime: Runtime,
        results: Results,
        windows: Windows,
        clock: Clock,
        rng: Random,
        on_change: Callable[[], None],
    ) -> None:
        self._runtime = runtime
        self.taps = Taps(clock)
        self._results = results
        self._windows = windows
        self._clock = clock
        self._rng = rng
        self._on_change = on_change
        self._runners: dict[Unit, Runner] = {}
        self._running: dict[Unit, asyncio.Task[None]] = {}
        #: No longer wanted, and still there: they take room until they have ended.
        self._leaving: dict[Runner, Unit] = {}
        self._tasks = TaskSet()
        # Never cancelled, but told to make haste: each runner's task is cancelled once only, by whoever drains it, so
        # that its process can end.
        self._draining = TaskSet()
        self._in_haste = False

    def bring_to(self, kept: Collection[Directive]) -> None:
        """Starts what the kept directives need and is missing, stops what none of them needs."""
        changes = reconcile(kept, self._runners.keys())
        for replica_set in changes.start_replica_sets:
            self._start(Unit(kind=UnitKind.REPLICA_SET, key=replica_set.key), self._replica_set(replica_set))
        for source in changes.start_sources:
            self._start(Unit(kind=UnitKind.SOURCE, key=source.key), self._source(source))
        for unit in changes.stop:
            gone = self._runners.pop(unit)
            self._leaving[gone] = unit
            self._draining.spawn(self._drain_and_stop(gone, self._running.pop(unit)), name=unit.key)
        self._mark_generations(kept)
        for key, spec in joint_specs(kept).items():
            runner = self.replica_set(key)
            if runner is not None and runner.spec != spec:
                runner.update(spec)
        if changes.start_replica_sets or changes.start_sources or changes.stop:
            started = len(changes.start_replica_sets) + len(changes.start_sources)
            event("reconciled", start=started, stop=len(changes.stop), keep=len(changes.keep))

    def replica_set(self, key: str) -> ReplicaSetRunner | None:
        """The replica set with this key."""
        runner = self._runners.get(Unit(kind=UnitKind.REPLICA_SET, key=key))
        return runner if isinstance(runner, ReplicaSetRunner) else None

    def source(self, key: str) -> SourceRunner | None:
        """The source with this key."""
        runner = self._runners.get(Unit(kind=UnitKind.SOURCE, key=key))
        return runner if isinstance(runner, SourceRunner) else None

    def ready(self, directive: Directive) -> bool:
        """Whether every process of a directive answers."""
        return all(supervisor.process is not None for _, supervisor in self._supervisors(units_of(directive)))

    def failure(self, directive: Directive) -> str:
        """Why a process of a directive can't be started; empty: nothing is known against it."""
        for unit, supervisor in self._supervisors(units_of(directive)):
            if supervisor.failure:
                return f"{unit.kind} {unit.key}: {supervisor.failure}"
        return ""

    def trouble(self, directive: Directive) -> str:
        """What is wrong with what a source of a directive reads, or kills its processes; empty: nothing is known."""
        for spec in directive.sources:
            runner = self.source(spec.key)
            if runner is not None and runner.trouble:
                return f"query {spec.query_id}: {runner.trouble}"
        for _, supervisor in self._supervisors(units_of(directive)):
            if supervisor.trouble:
                return f"{supervisor.name}: {supervisor.trouble}"
        return ""

    def pids(self) -> Mapping[str, tuple[int, ...]]:
        """Process ids by key, in the order of the replicas, with what is about to end; what is down is left out."""
        found: dict[str, tuple[int, ...]] = {}
        everything = [*self._runners.items(), *((unit, runner) for runner, unit in self._leaving.items())]
        for unit, runner in sorted(everything, key=lambda entry: entry[0]):
            own = tuple(one.process.pid for one in runner.supervisors if one.process is not None)
            found[unit.key] = (*found.get(unit.key, ()), *own)
        return found

    def count_older(self, than: Generation) -> int:
        """How many items of an older generation wait, run or are being scored."""
        return sum(runner.count_older(than) for runner in self._runners.values())

    @property
    def tick_s(self) -> float:
        """When to look at what is due again."""
        return TICK_S if self._runners or self._leaving else _REST_S

    @property
    def idle(self) -> bool:
        """Whether no item waits, runs or is being scored."""
        return all(runner.idle for runner in self._runners.values())

    async def stop(self, grace_s: float) -> None:
        """Stops everything; each process has so many seconds to end by itself."""
        self._in_haste = True
        for runner in self._runners.values():
            for supervisor in runner.supervisors:
                supervisor.grace_s = grace_s
        await asyncio.gather(*(_finish(runner) for runner in self._runners.values()))
        for task in self._running.values():
            task.cancel()
        if self._running:
            await asyncio.wait(self._running.values())
        self._runners.clear()
        self._running.clear()
        await self._draining.wait()

    def _supervisors(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Supervisor]]:
        for unit in units:
            runner = self._runners.get(unit)
            for supervisor in runner.supervisors if runner is not None else ():
                yield unit, supervisor

    def _start(self, unit: Unit, runner: Runner) -> None:
        self._runners[unit] = runner
        self._running[unit] = self._tasks.spawn(runner.run(), name=f"{unit.kind} {unit.key}")

    def _replica_set(self, spec: ReplicaSet) -> ReplicaSetRunner:
        return ReplicaSetRunner(
            spec,
            runtime=self._runtime,
            results=self._results,
            windows=self._windows,
            clock=self._clock,
            rng=self._rng,
            on_change=self._on_change,
            taps=self.taps,
        )

    def _source(self, spec: SourceSpec) -> SourceRunner:
        return SourceRunner(
            spec,
            runtime=self._runtime,
            windows=self._windows,
            clock=self._clock,
            rng=self._rng,
            on_change=self._on_change,
        )

    def _mark_generations(self, kept: Collection[Directive]) -> None:
        for directive in sorted(kept, key=lambda one: one.generation):
            for replica_set in directive.all_replica_sets:
                runner = self.replica_set(replica_set.key)
                if runner is not None:
                    runner.generation = directive.generation

    async def _drain_and_stop(self, runner: Runner, running: asyncio.Task[None]) -> None:
        """What waits is still served, for so long; then the processes end."""
        until_s = self._clock.monotonic_s() + DRAIN_S
        try:
            while not runner.idle and not self._in_haste and self._clock.monotonic_s() < until_s:
                await self._clock.sleep(_POLL_S)
            await _finish(runner)
        finally:
            running.cancel()
            await asyncio.wait((running,))
            self._leaving.pop(runner, None)
        self._on_change()


async def _finish(runner: Runner) -> None:
    """What can still be said of items that ended is said while the runner's process is there."""
    if isinstance(runner, SourceRunner):
        await runner.finish()
