"""What differs between two selections: by query, by device, and in all. PURE."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from circinus.model.device import DeviceId
from circinus.model.plan import Plan
from circinus.model.query import QueryId


class Change(StrEnum):
    """What becomes of a query.

    MOVED: on other devices (maybe in another configuration, too). RECONFIGURED: on the same devices in another
    configuration. RESIZED: with other replicas, core shares or shares of the items. WAITING: without a plan as before.
    """

    PLACED = "placed"
    UNPLACED = "unplaced"
    MOVED = "moved"
    RECONFIGURED = "reconfigured"
    RESIZED = "resized"
    UNCHANGED = "unchanged"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryDiff:
    """One query. Plans are None where there is none, and where nothing changes; ``reason``: why it has none now."""

    query_id: QueryId
    change: Change
    before: Plan | None = None
    after: Plan | None = None
    cost_before_per_h: float = 0.0
    cost_after_per_h: float = 0.0
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceDiff:
    """One device (type): replicas that start, stop and stay as they are; cores and cost before and after."""

    device_id: DeviceId
    start: int
    stop: int
    keep: int
    cores_before: float
    cores_after: float
    cost_before_per_h: float
    cost_after_per_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A selection in figures; as in Selection."""

    plans: int
    unplaced: int
    goodput_per_s: float
    goodput_bound_per_s: float
    gap_ratio: float
    provisional_per_s: float
    cost_per_h: float
    cost_bound_per_h: float
    cost_gap_ratio: float
    solver_status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanDiff:
    """Two selections side by side; queries and devices in order of ids, unchanged ones too."""

    before: Figures
    after: Figures
    queries: tuple[QueryDiff, ...]
    devices: tuple[DeviceDiff, ...]

    @property
    def changes(self) -> tuple[QueryDiff, ...]:
        """The queries of which something changes."""
        return tuple(each for each in self.queries if each.change not in (Change.UNCHANGED, Change.WAITING))
