"""Selecting with the limits that matter only. PURE.

Most of a fleet's limits bind nobody, and each one makes templates larger: a plan that takes less of something that is
plenty is kept for it. So limits are left out at first, and those that the selection breaks are put in until it breaks
none. What is best without some limits and breaks none of them is best with all; its bounds hold as well.

Only limits on sums may be left out: those on cores, memory, accelerators, links and uplinks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from math import isfinite
from typing import Final

from cloud_planner.core.network import Network
from cloud_planner.core.problem import Billing, Problem
from cloud_planner.core.resources import LINKS, MEMORIES, Resource, is_single
from cloud_planner.core.select.assignment import Assignment
from cloud_planner.core.select.taken import Taken

#: Of more queries some limit always binds.
MOST_QUERIES: Final = 64
#: So often limits are put in; then all are.
ROUNDS: Final = 4
#: What a sum may be above its limit by rounding.
_SLACK_RATIO: Final = 1e-9
_SUMS: Final = frozenset({"cores", "slots", *MEMORIES, *LINKS})


def always(network: Network, problem: Problem, left: Mapping[Resource, float]) -> frozenset[Resource] | None:
    """The limits that are always there; None: nothing may be left out of this problem."""
    if len(problem.queries) > MOST_QUERIES or any(query.splittable for query in problem.queries):
        return None
    # What costs nothing is taken freely, however much of it: there only its limits keep a plan modest.
    by_sum = {
        machine.id
        for machine in network.machines.values()
        if is_single(machine) and machine.billing is Billing.SHARE and machine.price_per_h > 0.0
    }
    kept = frozenset(
        resource
        for resource, there in left.items()
        if not (isfinite(there) and resource[0] in _SUMS and (resource[0] in LINKS or resource[1] in by_sum))
    )
    return kept if len(kept) < len(left) else None


def broken(
    network: Network, problem: Problem, assignments: Iterable[Assignment], left: Mapping[Resource, float]
) -> Set[Resource]:
    """The limits that assignments break, with nothing shared."""
    taken = Taken.of(network, problem, assignments).by_resource
    return {
        resource
        for resource, there in left.items()
        if sum(taken.get(resource, {}).values()) > there * (1.0 + _SLACK_RATIO)
    }
