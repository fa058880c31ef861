"""What planning and searching see of devices: who can be planned with, who can be asked, who is still preparing."""

from __future__ import annotations

from collections.abc import Mapping

from circinus.clock import Clock
from circinus.model.device import Device, DeviceId, Digest, Tier
from circinus.model.pipeline import PipelineId, RegisteredPipeline
from circinus.model.profile import ProfileTable
from circinus.model.query import QueryId
from circinus.v1 import control_pb2
from cloud_planner.catalog import Catalog
from cloud_planner.core.class_speeds import classes_of
from cloud_planner.core.decompose import Choice, Fleet
from cloud_planner.core.needs import Circumstances, ProfileKey, ProfilePolicy
from cloud_planner.marks import Marks
from cloud_planner.profiling import TableKey
from cloud_planner.registry import Registry
from cloud_planner.rollout import Rollout

#: How long a device that is out of sight is taken to serve by itself, if its queries allow that.
SELF_RELIANT_S = 3600.0


class Surroundings:
    """A view on the registry and on what the rollout can't use. ``environment_s``: how long preparing may take."""

    def __init__(
        self,
        registry: Registry,
        rollout: Rollout,
        catalog: Catalog,
        clock: Clock,
        policy: ProfilePolicy,
        *,
        environment_s: float,
        marks: Marks,
    ) -> None:
        self._registry = registry
        self._rollout = rollout
        self._catalog = catalog
        self._clock = clock
        self._policy = policy
        self._environment_s = environment_s
        self._marks = marks

    def fleet(
        self,
        pipelines: Mapping[PipelineId, RegisteredPipeline],
        tables: Mapping[TableKey, ProfileTable],
        choices: Mapping[QueryId, tuple[Choice, ...]] | None = None,
    ) -> Fleet:
        """The devices to plan with, and these pipelines, tables and choices."""
        return Fleet(
            devices=self.devices(),
            pipelines=pipelines,
            tables=tables,
            absent=self._absent(),
            choices=choices or {},
            cordoned=self._marks.cordoned,
            draining=self._marks.draining,
            classes=classes_of(record.device for record in self._registry.records()),
        )

    def devices(self) -> tuple[Device, ...]:
        """The devices that can be planned with."""
        excluded = self._rollout.excluded()
        alive = self._registry.alive(self._patience_s())
        return self._marks.labelled(device for device in alive if device.id not in excluded)

    def core_prices_per_h(self) -> dict[DeviceId, float]:
        """What an hour of a core costs on each device."""
        return {device.id: device.price_per_h / max(device.cores, 1e-9) for device in self.devices()}

    def circumstances(
        self, failures: Mapping[ProfileKey, str], refusals: Mapping[QueryId, str] | None = None
    ) -> Circumstances:
        """What bears on readiness now."""
        return Circumstances(
            # A device that is being emptied gets no other work, either.
            connected=self._registry.connected() - self._marks.draining,
            unanswered=self._unanswered(),
            failures=failures,
            refusals=refusals or {},
            policy=self._policy,
        )

    def _patience_s(self) -> dict[DeviceId, float]:
        """Devices that serve by themselves while they are out of sight, and for how long that is believed of them.

        Nobody would be helped if what they share with others were planned anew: their queries can be served nowhere
        else, and they come back with them. With the source of such a query its whole site may be cut off.
        """
        by_themselves = {query.source_device_id for query in self._catalog.queries if query.stand_by}
        away = [record.device for record in self._registry.records() if record.session is None]
        sites = {device.site for device in away if device.id in by_themselves}
        return {device.id: SELF_RELIANT_S for device in away if device.site in sites and device.tier is Tier.EDGE}

    def _absent(self) -> dict[DeviceId, str]:
        absent = {
            record.device.id: f"it was last seen at {record.last_seen_at:%Y-%m-%d %H:%M:%S} UTC"
            for record in self._registry.unseen(self._patience_s())
        }
        return {**absent, **self._rollout.excluded()}

    def ask_for_environments(self) -> None:
        """Asks every connected agent, once a connection, about environments that it isn't ready for."""
        now_s = self._clock.monotonic_s()
        for record in self._registry.records():
            session = record.session
            if session is None:
                continue
            ready = {environment.digest for environment in record.device.environments if environment.ready}
            ready &= session.stated
            for registered in self._catalog.pipelines.values():
                digest = registered.environment_digest
                if digest not in ready and digest not in session.prepared:
                    session.prepared[digest] = now_s
                    request = control_pb2.PrepareEnvironmentRequest(
                        environment_digest=digest, bundle_digest=registered.bundle_digest
                    )
                    session.send(control_pb2.ConnectResponse(prepare_environment=request))

    def _unanswered(self) -> frozenset[tuple[DeviceId, Digest]]:
        now_s = self._clock.monotonic_s()
        found = set()
        for record in self._registry.records():
            if record.session is None:
                continue
            said = {environment.digest for environment in record.device.environments}
            for digest, asked_s in record.session.prepared.items():
                if digest not in said and now_s - asked_s < self._environment_s:
                    found.add((record.device.id, digest))
        return frozenset(found)
