"""What the agent needs of its serving half; edge_agent/serving.py is it, tests bring a fake."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from circinus.clock import Clock
from circinus.model.device import Accelerator, DeviceId, Digest, Link
from circinus.model.directive import Directive, Generation
from circinus.v1 import control_pb2, types_pb2
from edge_agent.feeds.access import Access
from edge_agent.fingerprint.links import Stream
from edge_agent.identity.credentials import Credentials
from edge_agent.isolation.isolation import Isolation
from edge_agent.printed import Printed
from edge_agent.serving_figures import ServingFigures
from edge_agent.taps import Taps
from edge_agent.tracing.tracer import Tracer


class ServingStatus(Protocol):
    """Where the serving half stands; ``phase`` is of ``newest``."""

    @property
    def newest(self) -> Generation | None:
        """The newest generation that was applied."""

    @property
    def phase(self) -> str:
        """starting, ready, active, drained or failed."""

    @property
    def reason(self) -> str:
        """Why it failed."""

    @property
    def active(self) -> Generation | None:
        """The generation under which sources emit."""

    @property
    def self_reliant(self) -> bool:
        """What it runs itself is ready, with stand-bys for what needs others."""

    @property
    def pids(self) -> Mapping[str, tuple[int, ...]]:
        """Process ids by replica-set key."""


class Serving(Protocol):
    """The serving half of an agent: see edge_agent/serving.py.

    ``printed`` is what its processes print, ``taps`` who looks at items.
    """

    printed: Printed
    taps: Taps

    async def start(self, listen: str) -> str:
        """Starts the data plane; gives its address, empty if it only dials."""

    async def apply(self, directive: Directive) -> None:
        """Starts what is missing for a directive."""

    async def activate(self, generation: Generation) -> None:
        """Sources emit under this generation."""

    async def retire(self, below: Generation) -> None:
        """Stops what only generations below this one need."""

    def status(self) -> ServingStatus:
        """How things stand."""

    def running(self) -> ServingFigures:
        """What runs here, and how the ways to peers stand."""

    def trace_with(self, tracer: Tracer) -> None:
        """Traces items from now on."""

    def take_windows(self) -> tuple[list[types_pb2.QueryWindow], list[types_pb2.OperatorWindow]]:
        """Telemetry since the last call."""

    def take_episodes(self) -> list[control_pb2.StandByEpisode]:
        """Beginnings and ends of stand-bys since the last call."""

    def equip(self, accelerators: tuple[Accelerator, ...]) -> None:
        """The accelerators from now on."""

    def streams(self) -> Mapping[DeviceId, Stream]:
        """The streams to peers that there are now."""

    async def stop(self, grace_s: float) -> None:
        """Stops everything."""


class ServingFactory(Protocol):
    """Makes the serving half."""

    def __call__(
        self,
        *,
        device_id: DeviceId,
        speed_ratio: float,
        links: tuple[Link, ...],
        run_dir: Path,
        python_for: Callable[[Digest], Path],
        bundle_path: Callable[[Digest], Path],
        providers: tuple[str, ...],
        clock: Clock,
        on_change: Callable[[], None],
        ingress: str,
        access: Access,
        isolation: Isolation,
        accelerators: tuple[Accelerator, ...],
        credentials: Credentials | None,
    ) -> Serving:
        """A serving half that isn't started yet."""
