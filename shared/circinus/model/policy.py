"""What the owner of a device allows, whatever a planner says."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # pipelines name devices, and devices have policies
    from circinus.model.pipeline import PipelineId


class Tap(StrEnum):
    """What people may see of live items, each more than the one before."""

    OFF = "off"
    SHAPES = "shapes"
    ITEMS = "items"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A device's own policy: plans keep within it, and the agent refuses a directive that does not.

    ``allowed_pipelines`` empty: all. ``max_cores`` and ``max_memory_bytes`` are of all that a directive runs; 0: no
    limit of its own. Items of the pipelines in ``data_stays`` may not leave the device's site.
    ``tap`` is what `circinus tap` may show of items; of those in ``data_stays`` never more than shapes.
    ``logs``: whether `circinus logs` may show what operators print.
    """

    allowed_pipelines: tuple[PipelineId, ...] = ()
    max_cores: float = 0.0
    max_memory_bytes: int = 0
    data_stays: tuple[PipelineId, ...] = ()
    tap: Tap = Tap.SHAPES
    logs: bool = True

    def allows(self, pipeline_id: PipelineId) -> bool:
        """Whether the pipeline may run here."""
        return not self.allowed_pipelines or pipeline_id in self.allowed_pipelines

    def cores_of(self, cores: float) -> float:
        """What plans may use of a device with so many cores."""
        return min(cores, self.max_cores) if self.max_cores else cores

    def memory_bytes_of(self, memory_bytes: int) -> int:
        """What plans may use of a device with so much memory."""
        return min(memory_bytes, self.max_memory_bytes) if self.max_memory_bytes else memory_bytes


#: What a device has whose configuration says nothing.
ALLOW_ALL = Policy()
