"""What each resource of a problem is worth, from the linear relaxation over all of its plans. PURE.

Where everything can be placed, more of anything brings no goodput; then the prices are of the least cost of placing it
all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from circinus.model.device import DeviceId
from cloud_planner.core.column_generation.generation import Relaxation, generate
from cloud_planner.core.column_generation.pricing import Aim
from cloud_planner.core.column_generation.programmes import Masters
from cloud_planner.core.column_generation.sensitivity import Sensitivity, sensitivity
from cloud_planner.core.marginal import Basis, MarginalValue, by_class_and_site, marginal_values, one_more
from cloud_planner.core.problem import Problem
from cloud_planner.core.resources import Resource
from cloud_planner.core.select.large import ModelSpace, space_of
from cloud_planner.core.select.prepared import Ground, prepare
from cloud_planner.core.templates import TemplateLimits

#: Prices that are smaller, against the largest, are rounding.
_NOTHING_RATIO = 1e-9
#: Resources that are solved again with one unit more, those with the largest prices of a unit.
_MOST_CHECKED = 24
#: Goodput is asked for less this part, so that a programme that just reaches it is not infeasible by rounding.
_SLACK_RATIO = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourcePrices:
    """Prices of a unit of each resource that is scarce, in goodput per second or cost per hour, as ``basis`` says.

    ``bound`` is the relaxation's optimum: most goodput, or least cost. ``detail``: why there are none.
    """

    basis: Basis
    price_per_unit: Mapping[Resource, float]
    bound: float
    detail: str = ""
    _asked: tuple[ModelSpace, Aim, Relaxation, Masters, Mapping[Resource, int]] | None = field(
        default=None, repr=False, compare=False
    )

    def more(self, resource: Resource, units: float) -> Sensitivity | None:
        """What so many units more bring, solved again; None: it could not be, or the resource is not scarce."""
        if self._asked is None or resource not in self._asked[4]:
            return None
        made, aim, relaxation, masters, places = self._asked
        more = np.zeros(len(made.space.capacity))
        more[places[resource]] = units
        return sensitivity(made.space, aim, masters, relaxation, more)


def resource_prices(problem: Problem, masters: Masters, limits: TemplateLimits | None = None) -> ResourcePrices:
    """Prices of a problem's resources.

    Args:
        problem: With split queries there are none: their programme has other columns.
        masters: Starts linear programmes.
        limits: On the size of templates.
    """
    prepared = prepare(Ground.of(problem), limits or TemplateLimits())
    if prepared.flows:
        return ResourcePrices(basis=Basis.GOODPUT, price_per_unit={}, bound=0.0, detail="some queries may be split")
    made = space_of(prepared.model)
    place_of = {row: place for place, row in enumerate(made.rows)}
    places = {resource: place_of[row] for resource, row in prepared.model.row_of.items() if row in place_of}
    aim, basis = Aim(), Basis.GOODPUT
    relaxation = generate(made.space, aim, masters)
    if relaxation.solved and relaxation.bound >= made.space.worth.sum() * (1.0 - _SLACK_RATIO):
        aim = Aim(worth=0.0, cost=1.0, least_goodput_per_s=relaxation.bound * (1.0 - _SLACK_RATIO))
        basis = Basis.COST
        relaxation = generate(made.space, aim, masters, start=(relaxation.members, relaxation.plans))
    most = float(relaxation.prices.row.max(initial=0.0))
    return ResourcePrices(
        basis=basis,
        price_per_unit={
            resource: float(relaxation.prices.row[place])
            for resource, place in places.items()
            if relaxation.prices.row[place] > _NOTHING_RATIO * most
        },
        bound=relaxation.bound if basis is Basis.GOODPUT else -relaxation.bound,
        detail=relaxation.detail,
        _asked=(made, aim, relaxation, masters, places),
    )


def fleet_values(
    problem: Problem, masters: Masters, *, class_of: Mapping[DeviceId, str] | None = None
) -> tuple[MarginalValue, ...]:
    """What one unit more is worth, of each kind, class and site; the largest are held against solving again.

    Where the price after one unit more is another one, the value is called degenerate.
    """
    prices = resource_prices(problem, masters)
    units = {name: one_more(problem, name) for name in prices.price_per_unit}
    counted = {name: unit for name, unit in units.items() if unit is not None}
    worth = {name: prices.price_per_unit[name] * unit for name, unit in counted.items()}
    unsure: set[Resource] = set()
    for name in sorted(worth, key=lambda one: (-worth[one], repr(one)))[:_MOST_CHECKED]:
        found = prices.more(name, counted[name])
        if found is None or found.degenerate:
            unsure.add(name)
    values = marginal_values(problem, prices.price_per_unit, prices.basis, class_of=class_of, degenerate=unsure)
    return by_class_and_site(values)
