"""The sections ``service``, ``accuracy`` and ``outputs``: rows of tables, from CSV or YAML. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from circinus.model.pipeline import SOURCE, KnobValue, OperatorId, PipelineId
from circinus.model.plan import Interval
from cloud_planner.offline.case import AccuracyRow, MachineEntry, OutputRow, PipelineEntry, ServiceRow
from cloud_planner.offline.documents import Faults, Record, Scalar
from cloud_planner.offline.fields import Fields, suggestion
from cloud_planner.offline.pipelines import match_value, read_bytes

_COMMON = ("pipeline", "content", "operator")
#: The columns of each table that aren't knobs.
SERVICE_COLUMNS = frozenset(
    (
        *_COMMON,
        "machine",
        "cores",
        "batch",
        "latency_ms",
        "latency_std_ms",
        "latency_p95_ms",
        "throughput_per_s",
        "memory_mb",
        "accelerator_slots",
        "accelerator_memory_mb",
        "output_bytes",
        "output_kb",
    )
)
ACCURACY_COLUMNS = frozenset((*_COMMON, "accuracy", "accuracy_low", "accuracy_high"))
OUTPUT_COLUMNS = frozenset((*_COMMON, "output_bytes", "output_kb"))

#: The 0.95 quantile of the standard normal distribution, by which a p95 becomes a standard deviation.
Z95 = 1.6448536269514722
#: An accuracy on a scale of its own may be any figure of this size.
_MAX_ACCURACY = 1e12
_ANY = ("", "*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What rows may name."""

    pipelines: Mapping[PipelineId, PipelineEntry]
    machines: tuple[MachineEntry, ...]

    @property
    def machine_names(self) -> set[str]:
        """Ids and classes."""
        return {name for entry in self.machines for name in (entry.machine.id, entry.device_class)}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Where:
    """The cells that rows of all tables have."""

    pipeline: PipelineId
    content: str
    operator: OperatorId
    knobs: dict[str, KnobValue]


def _any_or(text: str) -> str:
    return "" if text in _ANY else text


def _where(fields: Fields, names: Names, *, operator: bool | None, source: bool = False) -> _Where | None:
    """Pipeline, content, operator and knobs; None if the row can't be placed (a fault says why).

    ``operator`` None: it may be left out. ``source``: the source may stand for an operator.
    """
    only = next(iter(names.pipelines)) if len(names.pipelines) == 1 else ""
    pipeline_id = fields.text("pipeline", required=not only, default=only)
    content = _any_or(fields.text("content"))
    operator_id = OperatorId(_any_or(fields.text("operator", required=bool(operator))))
    knobs = fields.record_of("knobs")
    if not pipeline_id or (operator and not operator_id):
        return None
    pipeline = names.pipelines.get(PipelineId(pipeline_id))
    if pipeline is None:
        message = f"{fields.what}: unknown pipeline {pipeline_id!r}{suggestion(pipeline_id, names.pipelines)}"
        fields.faults.add(fields.place_of("pipeline"), message)
        return None
    known = {entry.id for entry in pipeline.operators} | ({SOURCE} if source else set())
    if operator_id and operator_id not in known:
        message = (
            f"{fields.what}: pipeline {pipeline_id} has no operator {operator_id!r}{suggestion(operator_id, known)}"
        )
        fields.faults.add(fields.place_of("operator"), message)
        return None
    found: dict[str, KnobValue] = {}
    for name, node in (knobs.entries if knobs is not None else {}).items():
        if isinstance(node, Scalar) and node.text not in _ANY:
            _read_knob(name, node, pipeline, operator_id, found, fields)
        elif not isinstance(node, Scalar):
            fields.faults.add(node.place, f"{fields.what}: knob {name} must have a single value")
    return _Where(pipeline=pipeline.id, content=content, operator=operator_id, knobs=found)


def _read_knob(
    name: str,
    node: Scalar,
    pipeline: PipelineEntry,
    operator_id: OperatorId,
    found: dict[str, KnobValue],
    fields: Fields,
) -> None:
    domains = pipeline.domains
    full = _full_name(name, pipeline, operator_id)
    if full is None:
        near = [*domains, *(f.split(".", 1)[1] for f in domains)]
        meant = f"operator {operator_id}" if operator_id else f"pipeline {pipeline.id}"
        fields.faults.add(
            node.place, f"{fields.what}: {meant} has no knob (or column) {name!r}{suggestion(name, near)}"
        )
        return
    value = match_value(domains[full], node)
    if value is None:
        shown = ", ".join(str(known) for known in domains[full][:12])
        fields.faults.add(node.place, f"{fields.what}: knob {full} has no value {node.text!r}; it has {shown}")
    elif full in found:
        fields.faults.add(node.place, f"{fields.what}: knob {full} is given twice")
    elif operator_id and operator_id != SOURCE and full.split(".", 1)[0] not in pipeline.upstream(operator_id):
        fields.faults.add(node.place, f"{fields.what}: knob {full} is not upstream of operator {operator_id}")
    else:
        found[full] = value


def _full_name(name: str, pipeline: PipelineEntry, operator_id: OperatorId) -> str | None:
    """The name with its operator in front, for a name as written; None if there is no such knob, or several."""
    domains = pipeline.domains
    if name in domains:
        return name
    if f"{operator_id}.{name}" in domains:
        return f"{operator_id}.{name}"
    if operator_id and operator_id != SOURCE:
        return None
    ends = [full for full in domains if full.split(".", 1)[1] == name]
    return ends[0] if len(ends) == 1 else None


def read_service(records: tuple[Record, ...], names: Names, faults: Faults) -> tuple[ServiceRow, ...]:
    """The section ``service``."""
    rows = []
    machine_names = names.machine_names
    for record in records:
        fields = Fields(record, faults, "service row")
        where = _where(fields, names, operator=True)
        machine = _any_or(fields.text("machine"))
        if machine and machine not in machine_names:
            message = f"service row: unknown machine or class {machine!r}{suggestion(machine, machine_names)}"
            faults.add(fields.place_of("machine"), message)
        batch = fields.integer("batch", default=1, low=1, high=1_000_000)
        latency_ms, variance_ms2, throughput_per_s = _times(fields, batch)
        cores = fields.number_or_none("cores", high=1e9)
        memory_mb = fields.number("memory_mb", high=1e12)
        slots = fields.integer("accelerator_slots", default=0)
        accelerator_mb = fields.number("accelerator_memory_mb", high=1e12)
        output_bytes = read_bytes(fields, "output")
        fields.done()
        if where is None:
            continue
        rows.append(
            ServiceRow(
                place=record.place,
                pipeline=where.pipeline,
                content=where.content,
                operator=where.operator,
                knobs=where.knobs,
                machine=machine,
                cores=cores,
                batch=batch,
                latency_ms=latency_ms,
                variance_ms2=variance_ms2,
                throughput_per_s=throughput_per_s,
                memory_bytes=round(memory_mb * 1e6),
                accelerator_slots=slots,
                accelerator_memory_bytes=round(accelerator_mb * 1e6),
                output_bytes=output_bytes,
            )
        )
    return tuple(rows)


def _times(fields: Fields, batch: int) -> tuple[float, float, float]:
    """Mean latency in ms, its variance in ms^2, and throughput per second; either mean gives the other."""
    latency_ms = fields.number_or_none("latency_ms", above=0.0, high=1e12)
    throughput_per_s = fields.number_or_none("throughput_per_s", above=0.0, high=1e12)
    std_ms = fields.number_or_none("latency_std_ms", high=1e12)
    p95_ms = fields.number_or_none("latency_p95_ms", above=0.0, high=1e12)
    faults, place = fields.faults, fields.place
    if latency_ms is None and throughput_per_s is None:
        if not fields.has("latency_ms") and not fields.has("throughput_per_s"):
            faults.add(place, f"{fields.what}: give latency_ms or throughput_per_s, or both")
        return 1.0, 0.0, 1.0
    if latency_ms is None:
        latency_ms = batch / throughput_per_s * 1000.0  # type: ignore[operator]  # one of the two is there
    if throughput_per_s is None:
        throughput_per_s = batch / latency_ms * 1000.0
    if std_ms is not None and p95_ms is not None:
        faults.add(place, f"{fields.what}: give latency_std_ms or latency_p95_ms, not both")
    if p95_ms is not None:
        if p95_ms < latency_ms:
            faults.add(place, f"{fields.what}: latency_p95_ms {p95_ms:g} is below the mean, {latency_ms:g}")
        std_ms = (p95_ms - latency_ms) / Z95
    return latency_ms, (std_ms or 0.0) ** 2, throughput_per_s


def read_accuracy(records: tuple[Record, ...], names: Names, faults: Faults) -> tuple[AccuracyRow, ...]:
    """The section ``accuracy``."""
    rows = []
    for record in records:
        fields = Fields(record, faults, "accuracy row")
        where = _where(fields, names, operator=None)
        interval = _interval(fields)
        fields.done()
        if where is None:
            continue
        pipeline = names.pipelines[where.pipeline]
        if where.operator and pipeline.compose is None:
            message = f"accuracy row: names an operator, but pipeline {pipeline.id} has no compose_accuracy"
            faults.add(fields.place_of("operator"), message)
        if not where.operator and pipeline.compose is not None:
            message = f"accuracy row: pipeline {pipeline.id} has compose_accuracy, so each row must name an operator"
            faults.add(record.place, message)
        foreign = [name for name in where.knobs if where.operator and name.split(".", 1)[0] != where.operator]
        if foreign and pipeline.compose is not None:
            faults.add(record.place, f"accuracy row: knob {foreign[0]} is not one of operator {where.operator}")
        if interval.low < 0 and pipeline.compose == "product":
            faults.add(record.place, "accuracy row: a product needs accuracies of at least 0")
        rows.append(
            AccuracyRow(
                place=record.place,
                pipeline=where.pipeline,
                content=where.content,
                operator=where.operator,
                knobs=where.knobs,
                accuracy=interval,
            )
        )
    return tuple(rows)


def _interval(fields: Fields) -> Interval:
    value = fields.number("accuracy", required=True, low=-_MAX_ACCURACY, high=_MAX_ACCURACY)
    low = fields.number("accuracy_low", default=value, low=-_MAX_ACCURACY, high=_MAX_ACCURACY)
    high = fields.number("accuracy_high", default=value, low=-_MAX_ACCURACY, high=_MAX_ACCURACY)
    if not low <= value <= high:
        message = f"{fields.what}: needs accuracy_low <= accuracy <= accuracy_high, not {low:g}, {value:g}, {high:g}"
        fields.faults.add(fields.place, message)
    return Interval(value=value, low=low, high=high)


def read_outputs(records: tuple[Record, ...], names: Names, faults: Faults) -> tuple[OutputRow, ...]:
    """The section ``outputs``."""
    rows = []
    for record in records:
        fields = Fields(record, faults, "outputs row")
        where = _where(fields, names, operator=True, source=True)
        output_bytes = read_bytes(fields, "output")
        if output_bytes is None and not fields.has("output_bytes") and not fields.has("output_kb"):
            faults.add(record.place, "outputs row: give output_bytes or output_kb")
        fields.done()
        if where is not None:
            rows.append(
                OutputRow(
                    place=record.place,
                    pipeline=where.pipeline,
                    content=where.content,
                    operator=where.operator,
                    knobs=where.knobs,
                    output_bytes=output_bytes or 0.0,
                )
            )
    return tuple(rows)
