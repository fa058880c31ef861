"""Profile runs: which are asked of whom, how far they are, and their results stored.

Runs are made from needs, and needs from what searches ask for and tables lack; so there is nothing to remember over a
restart. At most
``parallelism`` runs go on at a time over the whole fleet: emulated devices share one machine's cores, and a disturbed
measurement is worse than a late one.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from circinus import wire
from circinus.clock import Clock
from circinus.errors import CircinusError, InvalidInput
from circinus.events import event, warning
from circinus.model.device import DeviceId, Digest
from circinus.model.pipeline import configuration_key
from circinus.model.profile import ConfigurationProfile, ProfileTable
from circinus.model.query import QueryId
from circinus.v1 import control_pb2, planner_pb2
from cloud_planner.bell import Bell
from cloud_planner.core.needs import ProfileKey, ProfileNeed
from cloud_planner.disturbances import Disturbances
from cloud_planner.registry import Registry
from cloud_planner.store import Store

#: How long a run that failed is not asked for again.
RETRY_AFTER_S = 600.0
#: How long a run may go on without a word.
STALLED_AFTER_S = 300.0
#: How often a run that ends without an error and leaves something out is asked for.
MAX_ATTEMPTS = 3

#: Bundle and content.
TableKey = tuple[Digest, Digest]


@dataclass(slots=True, kw_only=True)
class _Run:
    """A run in progress. ``session_id``: the connection on which it was asked for."""

    id: str
    need: ProfileNeed
    session_id: str
    started_s: float
    heard_s: float
    samples_done: int = 0
    samples_total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """What a report of a run is charged to a query: samples through configurations, seconds, and on which device."""

    query_id: QueryId
    device_id: DeviceId
    samples: int
    operator_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Failure:
    reason: str
    at_s: float


class Profiling:
    """Asks for profiles and keeps their results. ``finished`` rings when a run ended: time to plan again."""

    def __init__(
        self, store: Store, registry: Registry, clock: Clock, finished: Bell, watched: Bell, *, parallelism: int = 1
    ) -> None:
        #: When runs took devices' cores.
        self.disturbances = Disturbances(registry, clock)
        self._store = store
        self._registry = registry
        self._clock = clock
        self._finished = finished
        self._watched = watched
        self._parallelism = parallelism
        self._runs: dict[str, _Run] = {}
        self._waiting: tuple[ProfileNeed, ...] = ()
        self._failures: dict[ProfileKey, _Failure] = {}
        #: Configurations that can't be run on a content, and why.
        self._broken: dict[tuple[TableKey, str], _Failure] = {}
        self._charges: list[Charge] = []
        #: Bundles and contents on which some configuration ran: some table was seen, or made, that has scores.
        self._scored: set[TableKey] = set()
        #: Runs that were asked for since a need was last met.
        self._attempts: dict[object, int] = {}
        self._tables: dict[TableKey, ProfileTable] = {}
        self._versions: dict[TableKey, int] = {}
        self._version = 0
        #: By work that is still asked for: the version at which its last run ended.
        self._ended: dict[object, int] = {}

    async def tables(self, keys: Iterable[TableKey]) -> dict[TableKey, ProfileTable]:
        """All results so far for these bundles and contents, of one moment.

        Nothing is stored between the last look and the return.
        """
        wanted = frozenset(keys)
        while lacking := wanted - self._tables.keys():
            for key in sorted(lacking):
                version = self._versions.get(key, 0)
                table = await self._store.profile_table(*key)
                if self._versions.get(key, 0) == version:
                    self._tables[key] = table
                    if table.scores:
                        self._scored.add(key)
        return {key: self._tables[key] for key in wanted}

    @property
    def failures(self) -> Mapping[ProfileKey, str]:
        """The runs that failed lately, and why."""
        now_s = self._clock.monotonic_s()
        self._failures = {
            key: failure for key, failure in self._failures.items() if now_s - failure.at_s < RETRY_AFTER_S
        }
        return {key: failure.reason for key, failure in self._failures.items()}

    def broken(self, key: TableKey) -> dict[str, str]:
        """The configurations that can't be run on a content, by key, and why."""
        now_s = self._clock.monotonic_s()
        self._broken = {one: failure for one, failure in self._broken.items() if now_s - failure.at_s < RETRY_AFTER_S}
        return {one[1]: failure.reason for one, failure in self._broken.items() if one[0] == key}

    def take_charges(self) -> list[Charge]:
        """What was charged since this was last asked."""
        charges, self._charges = self._charges, []
        return charges

    @property
    def version(self) -> int:
        """Rises whenever results or the state of runs changed."""
        return self._version

    @property
    def busy(self) -> bool:
        """Whether a run goes on or waits for its turn."""
        return bool(self._runs or self._waiting)

    @property
    def counts(self) -> tuple[int, int]:
        """How many runs go on, and how many wait for their turn."""
        return len(self._runs), len(self._waiting)

    def tasks(self) -> tuple[planner_pb2.ProfileTask, ...]:
        """The runs in progress, then those that wait for their turn."""
        running = [self._task(run) for run in self._runs.values()]
        waiting = [
            planner_pb2.ProfileTask(
                device_id=need.device_id,
                pipeline_id=need.pipeline_id,
                content=need.content.name,
                accuracy=need.score,
                samples_total=len(need.configurations) * len(need.sample_indices),
            )
            for need in self._waiting
        ]
        return (*running, *waiting)

    def _task(self, run: _Run) -> planner_pb2.ProfileTask:
        elapsed_s = self._clock.monotonic_s() - run.started_s
        task = planner_pb2.ProfileTask(
            id=run.id,
            device_id=run.need.device_id,
            pipeline_id=run.need.pipeline_id,
            content=run.need.content.name,
            accuracy=run.need.score,
            samples_done=run.samples_done,
            samples_total=run.samples_total,
            elapsed_s=elapsed_s,
        )
        if run.samples_done > 0:
            task.eta_s = elapsed_s * max(0, run.samples_total - run.samples_done) / run.samples_done
        return task

    def update(self, needs: Sequence[ProfileNeed], version: int | None = None) -> None:
        """Brings the runs in line with the needs: stops those that nobody needs any more, starts what may start.

        ``version``: what the needs were made from. What ended after it they do not know of: that is not run again.
        """
        now_s = self._clock.monotonic_s()
        wanted = {need.work for need in needs}
        for run in list(self._runs.values()):
            session = self._registry.session(run.need.device_id)
            if session is None or session.session_id != run.session_id:
                del self._runs[run.id]
                self.disturbances.ended(run.id)
                # The agent may go on with it over a reconnect; its results would be for nobody.
                self._cancel(run)
            elif run.need.work not in wanted:
                event("profile_cancelled", id=run.id, device=run.need.device_id)
                del self._runs[run.id]
                self.disturbances.ended(run.id)
                self._cancel(run)
            elif now_s - run.heard_s > STALLED_AFTER_S:
                self._end(run, f"nothing was heard of it from {run.need.device_id} for {STALLED_AFTER_S:.0f} s")
                self._cancel(run)
        self._attempts = {key: count for key, count in self._attempts.items() if key in wanted}
        self._ended = {work: at for work, at in self._ended.items() if work in wanted}
        running = {run.need.work for run in self._runs.values()}
        failed = self.failures
        stale = {work for work, at in self._ended.items() if version is not None and at > version}
        self._waiting = tuple(need for need in needs if need.work not in running | stale and need.key not in failed)
        self._start_next()
        self._watched.ring()

    def _cancel(self, run: _Run) -> None:
        self.cancel_unknown(run.need.device_id, run.id)

    def cancel_unknown(self, device_id: DeviceId, run_id: str) -> None:
        """Tells an agent to stop a run that nobody waits for."""
        session = self._registry.session(device_id)
        if session is not None:
            session.send(control_pb2.ConnectResponse(cancel_profile=control_pb2.CancelProfileRequest(id=run_id[:200])))

    def _start_next(self) -> None:
        while self._waiting and len(self._runs) < self._parallelism:
            need, self._waiting = self._waiting[0], self._waiting[1:]
            session = self._registry.session(need.device_id)
            if session is None:
                continue
            attempts = self._attempts.get(need.work, 0)
            if attempts >= MAX_ATTEMPTS:
                reason = f"{need.device_id} was asked {attempts} times and still left something out"
                self._failures[need.key] = _Failure(reason=reason, at_s=self._clock.monotonic_s())
                self._finished.ring()
                continue
            self._attempts[need.work] = attempts + 1
            now_s = self._clock.monotonic_s()
            run = _Run(
                id=f"profile-{secrets.token_hex(6)}",
                need=need,
                session_id=session.session_id,
                started_s=now_s,
                heard_s=now_s,
                samples_total=len(need.configurations) * len(need.sample_indices),
            )
            self._runs[run.id] = run
            self.disturbances.begun(run.id, need.device_id)
            session.send(control_pb2.ConnectResponse(profile=_request(run.id, need)))
            event(
                "profile_requested",
                id=run.id,
                device=need.device_id,
                pipeline=need.pipeline_id,
                content=need.content.name,
                accuracy=need.score,
                configurations=len(need.configurations),
                samples=len(need.sample_indices),
            )

    def note_progress(self, device_id: DeviceId, progress: control_pb2.ProfileProgress) -> None:
        """An agent said how far a run is."""
        run = self._run(device_id, progress.id)
        if run is not None:
            run.heard_s = self._clock.monotonic_s()
            if progress.samples_total > 0:
                run.samples_total = progress.samples_total
            run.samples_done = min(progress.samples_done, run.samples_total)
            self._watched.ring()

    async def note_report(self, device_id: DeviceId, report: control_pb2.ProfileReport) -> None:
        """An agent sent results. They are stored before anything else happens."""
        run = self._run(device_id, report.id)
        if run is None:
            return
        run.heard_s = self._clock.monotonic_s()
        try:
            profiles = [wire.configuration_profile_from_message(part) for part in report.configurations]
            for profile in profiles:
                _check(run.need, profile)
        except CircinusError as error:
            warning("profile_report_refused", id=run.id, device=device_id, reason=error.message)
            self._cancel(run)
            self._end(run, f"{device_id} reported what can't be: {error.message}")
            return
        if run.need.query_id is not None:
            samples = sum(len(profile.samples) for profile in profiles) if run.need.score else 0
            self._charges.append(
                Charge(
                    query_id=run.need.query_id,
                    device_id=device_id,
                    samples=samples,
                    operator_s=max(0.0, report.operator_s),
                )
            )
        if profiles:
            key = (run.need.bundle_digest, run.need.content.digest)
            await self._store.add_profiles(*key, run.need.device_class, profiles, at=self._clock.now())
            self._versions[key] = self._versions.get(key, 0) + 1
            self._tables.pop(key, None)
            if any(sample.score_ratio is not None for profile in profiles for sample in profile.samples):
                self._scored.add(key)
            self._version += 1
        if report.done:
            self._end(run, report.error[:1000])

    def _run(self, device_id: DeviceId, run_id: str) -> _Run | None:
        run = self._runs.get(run_id)
        if run is not None and run.need.device_id == device_id:
            return run
        self.cancel_unknown(device_id, run_id)
        return None

    def _end(self, run: _Run, error: str) -> None:
        if self._runs.pop(run.id, None) is None:
            return
        self.disturbances.ended(run.id)
        self._version += 1
        self._ended[run.need.work] = self._version
        elapsed_s = self._clock.monotonic_s() - run.started_s
        if error:
            warning("profile_failed", id=run.id, device=run.need.device_id, reason=error)
            failure = _Failure(reason=error, at_s=self._clock.monotonic_s())
            key = (run.need.bundle_digest, run.need.content.digest)
            if run.need.score and len(run.need.configurations) == 1 and key in self._scored:
                # Others of the pipeline run: it is this one that can't.
                self._broken[key, configuration_key(run.need.configurations[0])] = failure
            else:
                self._failures[run.need.key] = failure
        else:
            event("profile_finished", id=run.id, device=run.need.device_id, elapsed_s=elapsed_s)
        self._start_next()
        self._finished.ring()
        self._watched.ring()

    def forget_failures(self, device_id: DeviceId) -> None:
        """A device connected anew: what failed on its class may be tried again."""
        record = self._registry.record(device_id)
        if record is not None:
            device_class = record.device.device_class
            self._failures = {key: failure for key, failure in self._failures.items() if key[2] != device_class}
            self._attempts = {}


def _request(run_id: str, need: ProfileNeed) -> control_pb2.ProfileRequest:
    return control_pb2.ProfileRequest(
        id=run_id,
        pipeline_id=need.pipeline_id,
        bundle_digest=need.bundle_digest,
        environment_digest=need.environment_digest,
        content_digest=need.content.digest,
        configurations=[wire.configuration_to_message(configuration) for configuration in need.configurations],
        sample_indices=need.sample_indices,
        score=need.score,
        parallelism=need.parallelism,
        probe_memory=need.memory,
        times=need.timed,
        reference=None if need.reference is None else wire.configuration_to_message(need.reference),
    )


def _check(need: ProfileNeed, profile: ConfigurationProfile) -> None:
    """Whether a result is an answer to the request.

    Raises:
        InvalidInput: it is of another configuration or of samples that were not asked for.
    """
    asked = {configuration_key(configuration) for configuration in need.configurations}
    if configuration_key(profile.configuration) not in asked:
        raise InvalidInput(f"configuration {configuration_key(profile.configuration)[:200]} was not asked for")
    indices = set(need.sample_indices)
    for sample in profile.samples:
        if sample.sample_index not in indices:
            raise InvalidInput(f"sample {sample.sample_index} was not asked for")
        if need.score and sample.score_ratio is None:
            raise InvalidInput(f"sample {sample.sample_index} has no score")
