"""What a folder says, as values: settings, machines, wires, pipelines, tables, queries. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from circinus.model.device import DeviceId, Tier
from circinus.model.pipeline import KnobValue, OperatorId, PipelineId
from circinus.model.plan import Interval
from circinus.model.query import QueryId, Slo
from cloud_planner.core.problem import Machine, Objective, Sharing, Uplink, Waiting, Wire
from cloud_planner.offline.documents import Place

#: ``pinned`` to the query's source machine.
AT_SOURCE = "source"
#: ``data`` of an input that may not leave the site where it is made.
AT_SITE = "site"


class Compose(StrEnum):
    """How a pipeline's accuracy comes from those of its operators."""

    PRODUCT = "product"
    SUM = "sum"
    MEAN = "mean"
    MIN = "min"


class AccuracyScale(StrEnum):
    """RATIO: a share of items that are right, 0..1. OTHER: any figure, higher is better. AUTO: as the figures say."""

    AUTO = "auto"
    RATIO = "ratio"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to plan; the defaults take tables at their word."""

    objective: Objective = Objective.GOODPUT
    waiting: Waiting = Waiting.NONE
    replica_utilization_cap: float = 1.0
    link_utilization_cap: float = 1.0
    slo_probability_ratio: float = 0.0
    served_ratio: float = 1.0
    splittable: bool = False
    answer_to_source: bool = False
    arrival_cv2: float = 1.0
    budget_per_h: float | None = None
    sharing: Sharing = Sharing.NONE


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineEntry:
    """A machine or machine type, and the class by which tables may call it.

    Memory that isn't stated isn't counted.
    """

    place: Place
    machine: Machine
    device_class: str
    counts_memory: bool
    counts_accelerator_memory: bool

    def rank_of(self, name: str) -> int:
        """How closely a name in a table means this machine: 3 its id, 2 its class, 1 any ("" ), 0 not at all."""
        if name == self.machine.id:
            return 3
        if name == self.device_class:
            return 2
        return 1 if not name else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorEntry:
    """One step of a pipeline. ``allowed_machines`` (ids or classes) and ``allowed_tiers`` empty: any.

    ``single``: it carries state, so one replica does all items of a query. ``site_inputs``: inputs whose items may not
    leave the site where they are made.
    """

    place: Place
    id: OperatorId
    inputs: tuple[OperatorId, ...]
    knobs: Mapping[str, tuple[KnobValue, ...]]
    pinned: str
    allowed_machines: tuple[str, ...]
    allowed_tiers: tuple[Tier, ...]
    items_per_item: float
    output_bytes: float
    single: bool = False
    site_inputs: frozenset[OperatorId] = frozenset()

    @property
    def knob_names(self) -> tuple[str, ...]:
        """Its knobs' names, with its own in front."""
        return tuple(f"{self.id}.{name}" for name in self.knobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineEntry:
    """A DAG of operators, each after its inputs."""

    place: Place
    id: PipelineId
    operators: tuple[OperatorEntry, ...]
    outputs: tuple[OperatorId, ...]
    source_bytes: float
    compose: Compose | None
    accuracy_scale: AccuracyScale

    @property
    def domains(self) -> dict[str, tuple[KnobValue, ...]]:
        """The values of every knob, by "operator.knob"."""
        return {f"{op.id}.{name}": values for op in self.operators for name, values in op.knobs.items()}

    def upstream(self, operator_id: OperatorId) -> frozenset[OperatorId]:
        """An operator and its ancestors."""
        wanted = {operator_id}
        for operator in reversed(self.operators):
            if operator.id in wanted:
                wanted.update(operator.inputs)
        return frozenset(wanted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What every row of a table says of where it holds; "" and missing knobs: anywhere.

    ``knobs`` by "operator.knob".
    """

    place: Place
    pipeline: PipelineId
    content: str
    operator: OperatorId
    knobs: Mapping[str, KnobValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRow(Row):
    """One way to run an operator. ``cores`` None: all that the machine has."""

    machine: str
    cores: float | None
    batch: int
    latency_ms: float
    variance_ms2: float
    throughput_per_s: float
    memory_bytes: int
    accelerator_slots: int
    accelerator_memory_bytes: int
    output_bytes: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyRow(Row):
    """Accuracy of a configuration (``operator`` "") or of one operator's knobs."""

    accuracy: Interval


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRow(Row):
    """Bytes of an item of an operator's output, or of the source's."""

    output_bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryEntry:
    """A query; ``source`` None: its items reach any machine at no cost."""

    place: Place
    id: QueryId
    pipeline: PipelineId
    content: str
    source: DeviceId | None
    rate_per_s: float
    weight: float
    slo: Slo
    answer_to_source: bool
    arrival_cv2: float
    splittable: bool
    apart_from: frozenset[QueryId]
    stream: str
    selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that the files of a folder say."""

    settings: Settings
    machines: tuple[MachineEntry, ...]
    wires: tuple[Wire, ...]
    uplinks: tuple[Uplink, ...]
    pipelines: Mapping[PipelineId, PipelineEntry]
    service: tuple[ServiceRow, ...]
    accuracy: tuple[AccuracyRow, ...]
    outputs: tuple[OutputRow, ...]
    queries: tuple[QueryEntry, ...]
