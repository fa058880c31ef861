"""The section ``pipelines``: operators as a DAG, with their knobs. PURE."""

from __future__ import annotations

import re

from circinus.model.device import Tier
from circinus.model.pipeline import SOURCE, KnobValue, OperatorId, PipelineId, State
from cloud_planner.offline.case import (
    AT_SITE,
    AT_SOURCE,
    AccuracyScale,
    Compose,
    MachineEntry,
    OperatorEntry,
    PipelineEntry,
)
from cloud_planner.offline.documents import Faults, Record, Scalar, Sequence
from cloud_planner.offline.fields import Fields, suggestion

_KNOB = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_OPERATOR = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
MAX_OPERATORS = 64
STATES = tuple(state.value for state in State)
MAX_KNOB_VALUES = 1000
#: What a pipeline.yaml says for the live system alone; it may stand here and means nothing.
_LIVE_PIPELINE_KEYS = ("description", "environment", "source", "scorer", "feed", "contents")
_LIVE_OPERATOR_KEYS = ("class", "accelerators", "hang_ms", "fan_out", "each", "network")


def read_pipelines(
    records: tuple[Record, ...], machines: tuple[MachineEntry, ...], faults: Faults
) -> dict[PipelineId, PipelineEntry]:
    """The pipelines by id."""
    pipelines: dict[PipelineId, PipelineEntry] = {}
    for record in records:
        entry = _pipeline(record, machines, faults)
        first = pipelines.setdefault(entry.id, entry)
        if first is not entry and entry.id:
            faults.add(record.place, f"pipeline {entry.id!r} is given twice (first at {first.place})")
    return pipelines


def _pipeline(record: Record, machines: tuple[MachineEntry, ...], faults: Faults) -> PipelineEntry:
    fields = Fields(record, faults, "pipeline")
    pipeline_id = PipelineId(fields.id("pipeline", required=True))
    fields.what = f"pipeline {pipeline_id}"
    operators: dict[OperatorId, OperatorEntry] = {}
    for item in fields.records("operators"):
        operator = _operator(item, machines, faults)
        if operator.id in operators:
            faults.add(item.place, f"{fields.what}: operator {operator.id!r} is given twice")
        operators[operator.id] = operator
    if not operators:
        faults.add(fields.place_of("operators"), f"{fields.what}: 'operators' must list at least one")
    if len(operators) > MAX_OPERATORS:
        faults.add(record.place, f"{fields.what}: {len(operators)} operators, at most {MAX_OPERATORS}")
    ordered = _sorted(operators, fields)
    read = {name for operator in ordered for name in operator.inputs}
    outputs = fields.names("outputs") or tuple(op.id for op in ordered if op.id not in read)
    for name in outputs:
        if name not in operators:
            message = f"{fields.what}: output {name!r} is no operator{suggestion(name, operators)}"
            faults.add(fields.place_of("outputs"), message)
    compose = fields.choice("compose_accuracy", Compose, default=Compose.PRODUCT)
    entry = PipelineEntry(
        place=record.place,
        id=pipeline_id,
        operators=ordered,
        outputs=tuple(OperatorId(name) for name in outputs),
        source_bytes=read_bytes(fields, "source") or 0.0,
        compose=compose if fields.has("compose_accuracy") else None,
        accuracy_scale=fields.choice("accuracy_scale", AccuracyScale, default=AccuracyScale.AUTO),
    )
    _check_reach(entry, faults)
    fields.skip(*_LIVE_PIPELINE_KEYS)
    fields.done()
    return entry


def read_bytes(fields: Fields, what: str) -> float | None:
    """Bytes from ``WHAT_bytes`` or ``WHAT_kb`` (1 kB = 1000 bytes); None if neither is there."""
    in_bytes = fields.number_or_none(f"{what}_bytes", high=1e15)
    in_kb = fields.number_or_none(f"{what}_kb", high=1e12)
    if in_bytes is not None and in_kb is not None:
        faults, place = fields.faults, fields.place_of(f"{what}_kb")
        faults.add(place, f"{fields.what}: give {what}_bytes or {what}_kb, not both")
    return in_bytes if in_kb is None else in_kb * 1000.0


def _operator(record: Record, machines: tuple[MachineEntry, ...], faults: Faults) -> OperatorEntry:
    fields = Fields(record, faults, "operator")
    operator_id = fields.text("id", required=True)
    fields.what = f"operator {operator_id}"
    if operator_id and (operator_id == SOURCE or not _OPERATOR.fullmatch(operator_id)):
        rule = f"letters, digits, _ and -, and not {SOURCE!r}"
        faults.add(fields.place_of("id"), f"operator id {operator_id!r} must be {rule}")
    state = fields.text("state")
    if state not in ("", *STATES):
        message = f"{fields.what}: unknown state {state!r}{suggestion(state, STATES)}"
        faults.add(fields.place_of("state"), message)
    inputs, at_site = _inputs(fields, faults)
    if fields.has("inputs") and not inputs:
        faults.add(fields.place_of("inputs"), f"{fields.what}: inputs must name {SOURCE!r} or operators")
    entry = OperatorEntry(
        place=record.place,
        id=OperatorId(operator_id),
        inputs=tuple(OperatorId(name) for name in inputs),
        knobs=_knobs(fields, faults),
        pinned=fields.text("pinned"),
        allowed_machines=fields.names("allowed_machines"),
        allowed_tiers=_tiers(fields, faults),
        items_per_item=fields.number("items_per_item", default=1.0, above=0.0, high=1e9),
        output_bytes=read_bytes(fields, "output") or 0.0,
        single=state == State.PER_SOURCE,
        site_inputs=frozenset(OperatorId(name) for name in at_site),
    )
    ids = {machine.machine.id for machine in machines}
    if entry.pinned and entry.pinned != AT_SOURCE and entry.pinned not in ids:
        message = f"{fields.what}: pinned to unknown machine {entry.pinned!r}{suggestion(entry.pinned, ids)}"
        faults.add(fields.place_of("pinned"), message)
    names = {name for machine in machines for name in (machine.machine.id, machine.device_class)}
    for name in entry.allowed_machines:
        if name not in names:
            place = fields.place_of("allowed_machines")
            faults.add(place, f"{fields.what}: unknown machine or class {name!r}{suggestion(name, names)}")
    fields.skip(*_LIVE_OPERATOR_KEYS)
    fields.done()
    return entry


def _inputs(fields: Fields, faults: Faults) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names of inputs, and of those whose data may not leave its site."""
    node = fields.node("inputs", required=True)
    items = node.items if isinstance(node, Sequence) else () if node is None else (node,)
    names: list[str] = []
    at_site: list[str] = []
    for item in items:
        if isinstance(item, Record):
            inner = Fields(item, faults, f"{fields.what}: input")
            name, data = inner.text("from", required=True), inner.text("data")
            if inner.has("data") and data != AT_SITE:
                faults.add(inner.place_of("data"), f"{inner.what}: data is {data!r}, but must be {AT_SITE!r}")
            inner.done()
            names.append(name)
            at_site += [name] if data == AT_SITE else []
        elif isinstance(item, Scalar) and item.value is not None:
            names.append(item.text)
        else:
            faults.add(item.place, f"{fields.what}: inputs must list names, or entries like {{from: NAME, data: site}}")
    for name in sorted({name for name in names if names.count(name) > 1}):
        faults.add(fields.place_of("inputs"), f"{fields.what}: inputs names {name!r} twice")
    return tuple(name for name in names if name), tuple(at_site)


def _tiers(fields: Fields, faults: Faults) -> tuple[Tier, ...]:
    words = [tier.value for tier in Tier]
    names = fields.names("allowed_tiers")
    for name in names:
        if name not in words:
            message = f"{fields.what}: allowed_tiers names {name!r}, but must name {', '.join(words)}"
            faults.add(fields.place_of("allowed_tiers"), message)
    return tuple(Tier(name) for name in names if name in words)


def _knobs(fields: Fields, faults: Faults) -> dict[str, tuple[KnobValue, ...]]:
    record = fields.record_of("knobs")
    if record is None:
        return {}
    domains = Fields(record, faults, f"{fields.what}: knob")
    knobs: dict[str, tuple[KnobValue, ...]] = {}
    for name, place in record.key_places.items():
        if not _KNOB.fullmatch(name):
            faults.add(place, f"{fields.what}: knob {name!r} must be letters, digits, _ and -")
        values: list[KnobValue] = []
        for scalar in domains.scalars(name):
            if match_value(tuple(values), scalar) is not None:
                faults.add(scalar.place, f"{fields.what}: knob {name} has {scalar.text!r} twice")
            elif scalar.value is not None:
                values.append(scalar.value)
        if not 1 <= len(values) <= MAX_KNOB_VALUES:
            faults.add(
                place, f"{fields.what}: knob {name} has {len(values)} values, but must have 1..{MAX_KNOB_VALUES}"
            )
        knobs[name] = tuple(values)
    return knobs


def match_value(domain: tuple[KnobValue, ...], scalar: Scalar) -> KnobValue | None:
    """The value of a domain that a scalar means: the equal number or flag, or the one that is written like it."""
    value = scalar.value
    for known in domain:
        if isinstance(known, bool) or isinstance(value, bool) or isinstance(known, str) or isinstance(value, str):
            if known is value or (type(known) is type(value) and known == value) or str(known) == scalar.text:
                return known
        elif value is not None and known == value:
            return known
    return None


def _sorted(operators: dict[OperatorId, OperatorEntry], fields: Fields) -> tuple[OperatorEntry, ...]:
    """Each operator after its inputs, otherwise in the order in which they were written."""
    for operator in operators.values():
        for name in operator.inputs:
            if name != SOURCE and name not in operators:
                known = [SOURCE, *operators]
                message = f"operator {operator.id}: unknown input {name!r}{suggestion(name, known)}"
                fields.faults.add(operator.place, message)
    ordered: dict[OperatorId, OperatorEntry] = {}
    left = dict(operators)
    while left:
        ready = next((op for op in left.values() if not any(name in left for name in op.inputs)), None)
        if ready is None:
            cycle = ", ".join(left)
            fields.faults.add(next(iter(left.values())).place, f"{fields.what}: operators read each other: {cycle}")
            break
        ordered[ready.id] = left.pop(ready.id)
    return tuple(ordered.values())


def _check_reach(pipeline: PipelineEntry, faults: Faults) -> None:
    useful = frozenset[OperatorId]().union(*(pipeline.upstream(name) for name in pipeline.outputs))
    for operator in pipeline.operators:
        if operator.id not in useful:
            faults.add(operator.place, f"operator {operator.id}: no output can be reached from it")
