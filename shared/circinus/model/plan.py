"""A plan for one query, and a selection of plans for all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from circinus.model.device import DeviceId
from circinus.model.pipeline import Configuration, OperatorId
from circinus.model.query import QueryId


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure with the interval that holds it (95% unless said otherwise); low <= value <= high."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorPlan:
    """Where one operator runs. An operator split over devices has one of these for each of them.

    ``cores``, slots and memory are of each replica; ``share_ratio`` is this placement's part of the items.
    """

    operator_id: OperatorId
    device_id: DeviceId
    replicas: int
    share_ratio: float
    cores: float
    accelerator_slots: int
    accelerator_memory_bytes: int
    memory_bytes: int
    batch: int
    service_ms: float


def share_text(operator: OperatorPlan) -> str:
    """What an operator gets of a device, as people read it: "2 × 1 core, batch 8"."""
    text = f"{operator.replicas} × {operator.cores:g} core"
    if operator.accelerator_slots:
        text += f" + {operator.accelerator_slots} accelerator"
    if operator.batch > 1:
        text += f", batch {operator.batch}"
    if operator.share_ratio < 1.0:
        text += f", {operator.share_ratio:.0%} of items"
    return text


def per_1000_items(cost_per_h: float, rate_per_s: float) -> float | None:
    """What a thousand items cost at a rate; None: there are none."""
    return cost_per_h / (rate_per_s * 3.6) if rate_per_s > 0.0 else None


class Certainty(StrEnum):
    """Whether a plan's accuracy is proven to meet the bound, or only believed to."""

    PROVISIONAL = "provisional"
    CERTIFIED = "certified"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Configuration, placement and allocation for one query, with its estimate.

    ``cost_per_h``, which its bound is held against, does not depend on others: price x share of what it uses, and its
    bytes. ``billed_per_h`` is its part of the selection's whole cost: idle capacity of machines that are paid whole is
    divided in proportion, and so is what is saved where queries share.
    """

    query_id: QueryId
    configuration: Configuration
    operators: tuple[OperatorPlan, ...]
    latency_ms: Interval
    latency_p50_ms: float
    accuracy_ratio: Interval
    cost_per_h: float
    slo_probability_ratio: float
    item_goodput_per_s: float
    runner_up: str = ""
    runner_up_cost_per_h: float | None = None
    certainty: Certainty = Certainty.CERTIFIED
    billed_per_h: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UnplacedQuery:
    """A query without a plan, and why."""

    query_id: QueryId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineUse:
    """What a selection uses of one device or machine type.

    ``machines`` is how many are switched on; ``cost_per_h`` what they cost: whole machines, or the shares used.
    """

    device_id: DeviceId
    machines: int
    cores: float
    cost_per_h: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """At most one plan for each query, with its bounds.

    ``goodput_bound_per_s`` is proven over the whole plan space; gaps are distances relative to the bound
    (goodput) and to the cost (cost). Goodput is weight x rate summed over the placed queries
    whose plan is certified; ``provisional_per_s`` is the same sum over the others.
    """

    plans: tuple[Plan, ...]
    unplaced: tuple[UnplacedQuery, ...]
    machines: tuple[MachineUse, ...]
    traffic_cost_per_h: float
    goodput_per_s: float
    goodput_bound_per_s: float
    gap_ratio: float
    cost_per_h: float
    cost_bound_per_h: float
    cost_gap_ratio: float
    solver_status: str
    provisional_per_s: float = 0.0


#: The selection of no queries.
NO_PLANS = Selection(
    plans=(),
    unplaced=(),
    machines=(),
    traffic_cost_per_h=0.0,
    goodput_per_s=0.0,
    goodput_bound_per_s=0.0,
    gap_ratio=0.0,
    cost_per_h=0.0,
    cost_bound_per_h=0.0,
    cost_gap_ratio=0.0,
    solver_status="optimal",
)
