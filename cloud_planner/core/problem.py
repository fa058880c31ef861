"""The planning problem: machines, links and, for each query, what it could run where. PURE.

Everything that the planner decides from stands in these values, whether they come from a running fleet
(decompose.py) or from files (cloud_planner/offline). A device with an agent is a machine with count 1; a machine
type that could be bought has a larger count, or none (unlimited).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from circinus.model.device import DeviceId, SiteId, Tier
from circinus.model.pipeline import Configuration, OperatorId
from circinus.model.plan import Interval, Plan
from circinus.model.query import QueryId, Slo


class Billing(StrEnum):
    """SHARE: price x dominant share of what is used. WHOLE: a machine that is switched on is paid whole."""

    SHARE = "share"
    WHOLE = "whole"


class Objective(StrEnum):
    """GOODPUT: most query goodput, then least cost. COST: serve all (or a share of) queries at least cost."""

    GOODPUT = "goodput"
    COST = "cost"


class Waiting(StrEnum):
    """How waiting before service is estimated.

    NONE: not at all; the service time is the whole stay. QUEUE: Kingman's G/G/1 approximation at the replica's
    utilisation. BATCH: the time that a batch takes to fill, (batch - 1) / arrival rate of the replica.
    """

    NONE = "none"
    QUEUE = "queue"
    BATCH = "batch"


class Sharing(StrEnum):
    """What queries share on a machine of count 1 that is not exclusive (docs/adr/0016-what-queries-share.md).

    PROCESS: replicas with equal ``share_key`` live in shared processes. PREFIX: queries that read the very same items
    also run once what they have in common from the source on.
    """

    NONE = "none"
    PROCESS = "process"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A device, or a machine type with ``count`` machines (None: unlimited).

    ``exclusive``: each machine runs replicas of one operator of one query only. Prices are of one machine.
    Machines of one type reach each other over the link from the type to itself, or freely if there is none.
    ``cordoned``: it takes nothing new; what the running plan of a query has there may stay (cordon.py). ``draining``:
    it is cordoned, and what is there goes wherever else it can run (drain.py). ``labels``: by which selectors mean it.
    """

    id: DeviceId
    tier: Tier
    site: SiteId
    cores: float
    memory_bytes: int
    accelerator_slots: int = 0
    accelerator_memory_bytes: int = 0
    price_per_h: float = 0.0
    billing: Billing = Billing.SHARE
    count: int | None = 1
    exclusive: bool = False
    cordoned: bool = False
    draining: bool = False
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """A directed link; where there is none, nothing can be sent. ``bandwidth_bit_per_s`` None: unlimited."""

    source: DeviceId
    target: DeviceId
    bandwidth_bit_per_s: float | None
    rtt_ms: float
    price_per_gb: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Uplink:
    """Links that share a bandwidth: all that leaves a site, or all that reaches it. Up and down are two of these."""

    id: str
    wires: tuple[tuple[DeviceId, DeviceId], ...]
    bandwidth_bit_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """A random time: mean in ms and variance in ms^2."""

    mean_ms: float
    variance_ms2: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One way to run an operator's replicas on a machine.

    ``capacity_per_s`` is the most that one replica can do, before the utilisation cap. ``service`` is the time
    of an item in service (of the batch that it is in). Figures are of each replica. ``replicas_most``: no more
    replicas than these may run so (None: any number).
    """

    machine: DeviceId
    cores: float
    service: Delay
    capacity_per_s: float
    memory_bytes: int = 0
    accelerator_slots: int = 0
    accelerator_memory_bytes: int = 0
    batch: int = 1
    replicas_most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An operator of a candidate: what it reads, how many bytes an item of its output has, where it could run.

    ``items_per_item`` is how many items it handles for one item of the source (fan-out). ``single``: it carries state
    from item to item, so one replica does them all. ``site_inputs``: inputs whose items may not leave the site of the
    machine where they are made. ``share_key``: the same text means the same code with the same own knobs ("": never
    shared). ``pooled``: its replicas live in processes of others with that key; else, and where it carries state, they
    are only shared as part of a prefix.
    """

    operator_id: OperatorId
    inputs: tuple[OperatorId, ...]
    output_bytes: float
    options: tuple[Option, ...]
    items_per_item: float = 1.0
    single: bool = False
    site_inputs: frozenset[OperatorId] = frozenset()
    share_key: str = ""
    pooled: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A configuration with its accuracy, and its steps in an order in which each comes after its inputs.

    The SLO is held against ``accuracy.low``, a lower confidence bound; tables that are exact have low = value.
    ``latency_uncertainty_ratio`` is the relative standard error of its latency estimates (0: exact tables).
    ``stage_correlation_ratio`` (0..1) is the correlation of its service times for one item: how much an item that is
    slow at one step is slow at all.
    """

    configuration: Configuration
    accuracy: Interval
    steps: tuple[Step, ...]
    source_bytes: float
    outputs: tuple[OperatorId, ...]
    latency_uncertainty_ratio: float = 0.0
    stage_correlation_ratio: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryProblem:
    """A query and all that it could be served with.

    ``source`` is where items come from; None: nowhere in particular, its items reach any machine at no cost.
    ``answer_to_source``: answers travel back (half a round trip for each hop, over links in the reverse
    direction). ``arrival_cv2`` is the squared coefficient of variation of the time between items (0: even).
    ``splittable``: one operator's items may be divided over several options. ``apart_from``: its plan shares no machine
    with the plans of these, other than its own source. ``stream``: queries with the same one, source and rate read the
    very same items ("": nobody else does). ``selector``: what its options are on, but those of ``at_source``, which its
    pipeline pins there (meant.py); "": any machine. ``freely``: what it could be served with without its selector, if
    that was looked for; selection knows nothing of it. ``slo_probability_ratio``: what is asked of it in place of what
    the problem asks of all.
    """

    id: QueryId
    rate_per_s: float
    weight: float
    slo: Slo
    source: DeviceId | None
    candidates: tuple[Candidate, ...]
    answer_to_source: bool = True
    arrival_cv2: float = 0.0
    splittable: bool = False
    apart_from: frozenset[QueryId] = frozenset()
    stream: str = ""
    selector: str = ""
    at_source: frozenset[OperatorId] = frozenset()
    freely: tuple[Candidate, ...] = ()
    slo_probability_ratio: float | None = None
    #: Said of the query when it can't be planned at all, in place of candidates.
    impossible: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """All that a selection is made from.

    ``replica_utilization_cap`` and ``link_utilization_cap`` are the largest planned shares of a replica's
    capacity and of a link's bandwidth. ``served_ratio``: with Objective.COST, the share of total
    weight x rate that must be served. ``running``: the plans in force; the fewest are changed among equals.
    ``slo_probability_ratio``: a plan meets its SLO if it does so with at least this probability. ``budget_per_h``: the
    most that machines and traffic may cost together. ``staying``: queries whose plans can't go elsewhere, so that
    they may keep what they have on machines that are being drained.
    """

    machines: tuple[Machine, ...]
    wires: tuple[Wire, ...]
    queries: tuple[QueryProblem, ...]
    objective: Objective = Objective.GOODPUT
    waiting: Waiting = Waiting.QUEUE
    replica_utilization_cap: float = 0.7
    link_utilization_cap: float = 0.7
    slo_probability_ratio: float = 0.95
    served_ratio: float = 1.0
    running: tuple[Plan, ...] = field(default=())
    uplinks: tuple[Uplink, ...] = ()
    budget_per_h: float | None = None
    sharing: Sharing = Sharing.NONE
    staying: frozenset[QueryId] = frozenset()

    def asked_of(self, query: QueryProblem) -> float:
        """The probability with which a query's plan has to meet its SLO."""
        return self.slo_probability_ratio if query.slo_probability_ratio is None else query.slo_probability_ratio
