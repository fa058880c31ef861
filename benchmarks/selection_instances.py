"""Instances of selection: sites of boxes behind a gateway, one capped cloud, queries with measured templates. PURE.

A site has nine boxes, a gateway and an uplink, and a hundred queries. A query's weight makes what it is worth (weight x
rate) the same for all pipelines in the mean, or those with few items a second would vanish beside the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from selection_kinds import BOX, CLOUD, CORES, GATEWAY, RESOURCES, UPLINK_BIT_PER_S, QueryKind

from cloud_planner.core.column_generation.space import Array, Indices, Kind, SelectionSpace, Sides

BOXES = 9
DEVICES = BOXES + 1
QUERIES = 100
#: A plan's slots: cores of its box, of its gateway, of the cloud, and the uplink's rate in Mbit/s.
SLOTS = 4
_SLOT = dict(zip(RESOURCES, (0, 1, 2, 3, 3), strict=True))
_UNITS = np.array([CORES[BOX], CORES[GATEWAY], CORES[CLOUD], UPLINK_BIT_PER_S / 1e6])
#: What a tight fleet has of each slot for a site, in parts of what a plan was measured on: a third can't be placed.
TIGHT_RATIO = np.array([1.4, 1.4, 0.28, 1.4])
#: What a loose fleet has, in parts of what one selection of all queries takes.
SPARE_RATIO = 1.2
_WORTH = 10.0


class Capacity(StrEnum):
    """How much there is."""

    TIGHT = "tight"
    LOOSE = "loose"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanTable:
    """The plans of one kind of query, and the speed of the boxes that it is for."""

    kind: Kind
    speed_ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One instance but for its seed. ``huge``: all devices are one site with one uplink; any gateway serves any box."""

    queries: int
    capacity: Capacity = Capacity.TIGHT
    huge: bool = False

    @property
    def sites(self) -> int:
        """How many times a hundred queries there are."""
        return max(1, -(-self.queries // QUERIES))

    @property
    def devices(self) -> int:
        """Boxes and gateways."""
        return self.sites * DEVICES

    @property
    def name(self) -> str:
        """In words."""
        return f"{self.queries:,} x {self.devices:,} {self.capacity}{', one site' if self.huge else ''}"


def plan_tables(kinds: Sequence[QueryKind]) -> tuple[PlanTable, ...]:
    """Templates as arrays, in cores and Mbit/s."""
    found = []
    for kind in kinds:
        routes = kind.template.routes
        use = np.zeros((len(routes), SLOTS))
        for place, route in enumerate(routes):
            for resource, share_ratio in route.amounts:
                slot = _SLOT[resource]
                use[place, slot] += share_ratio
        cost_per_h = np.array([route.cost_per_h for route in routes])
        found.append(PlanTable(kind=Kind(cost_per_h=cost_per_h, use=use * _UNITS), speed_ratio=kind.speed_ratio))
    return tuple(found)


def instance(tables: Sequence[PlanTable], size: Size, seed: int) -> SelectionSpace:
    """The queries and the fleet; a function of its arguments.

    Rows: boxes, gateways, uplinks, then the cloud. The first sites of a larger instance are not those of a smaller one.
    """
    rng = np.random.default_rng([seed, size.queries, size.huge])
    sites = size.sites
    boxes = sites * BOXES
    speed_of = np.array([table.speed_ratio for table in tables])
    speed = rng.choice(np.unique(speed_of), size=boxes)
    site = np.arange(size.queries) % sites
    box = site * BOXES + rng.integers(BOXES, size=size.queries)
    kind = np.zeros(size.queries, dtype=np.intp)
    for ratio in np.unique(speed_of):
        mine = np.flatnonzero(speed[box] == ratio)
        kind[mine] = rng.choice(np.flatnonzero(speed_of == ratio), size=len(mine))
    worth = _WORTH * rng.uniform(0.5, 2.0, size=size.queries)
    gateway = rng.integers(sites, size=size.queries) if size.huge else site
    uplinks = 1 if size.huge else sites
    uplink = np.zeros_like(site) if size.huge else site
    cloud = boxes + sites + uplinks
    slots = np.stack(
        [box, boxes + gateway, np.full(size.queries, cloud), boxes + sites + uplink], axis=1, dtype=np.intp
    )
    area = np.concatenate([np.arange(boxes) // BOXES, np.arange(sites), np.arange(uplinks), [-1]])
    if size.huge:
        area = np.minimum(area, 0)
    space = SelectionSpace(
        capacity=_tight(sites, uplinks),
        kinds=tuple(table.kind for table in tables),
        worth=worth,
        kind=kind,
        slots=slots,
        area=area.astype(np.intp),
        sides=Sides.none(cloud + 1),
    )
    return space if size.capacity is Capacity.TIGHT else replace(space, capacity=_loose(space))


def _tight(sites: int, uplinks: int) -> Array:
    box, gateway, cloud, uplink = TIGHT_RATIO * _UNITS
    rows = [np.full(sites * BOXES, box), np.full(sites, gateway), np.full(uplinks, uplink * sites / uplinks)]
    return np.concatenate([*rows, [cloud * sites]])


def _loose(space: SelectionSpace) -> Array:
    """A fifth more than where all queries take the plan with the least sum of shares of a tight fleet."""
    load = space.load(least_shares(space))
    # A row that nothing was taken of keeps what it had.
    return np.where(load > 0.0, SPARE_RATIO * load, space.capacity)


def least_shares(space: SelectionSpace) -> Indices:
    """For each query the plan whose shares of its rows add up to least."""
    price = np.append(1.0 / space.capacity, 0.0)
    choice = np.zeros(space.members, dtype=np.intp)
    for kind, members, slots in space.groups():
        choice[members] = (price[slots] @ kind.use.T).argmin(axis=1)
    return choice
