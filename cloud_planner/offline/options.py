"""Service rows into options: which machines, how many cores, how fast. PURE."""

from __future__ import annotations

from circinus.model.device import DeviceId
from circinus.model.pipeline import Configuration, OperatorId, PipelineId
from cloud_planner.core.problem import Delay, Option
from cloud_planner.offline.case import AT_SOURCE, Case, MachineEntry, OperatorEntry, ServiceRow
from cloud_planner.offline.documents import Faults, Place
from cloud_planner.offline.matching import RowIndex, weight_of

_Shape = tuple[DeviceId, float, int, int]


class OptionTable:
    """The service table of a case. ``used`` gathers the rows that became options."""

    def __init__(self, case: Case, faults: Faults) -> None:
        self._machines = case.machines
        self._faults = faults
        self.used: set[Place] = set()
        rows: dict[tuple[PipelineId, OperatorId], list[ServiceRow]] = {}
        for row in case.service:
            rows.setdefault((row.pipeline, row.operator), []).append(row)
        self._indexes = {key: RowIndex(found) for key, found in rows.items()}
        self._empty: RowIndex[ServiceRow] = RowIndex(())

    def knob_names(self, pipeline_id: PipelineId, operator_id: OperatorId) -> tuple[str, ...]:
        """The knobs that the operator's rows name."""
        return self._indexes.get((pipeline_id, operator_id), self._empty).knob_names

    def options(
        self,
        pipeline_id: PipelineId,
        operator: OperatorEntry,
        configuration: Configuration,
        content: str,
        source: DeviceId | None,
    ) -> tuple[tuple[Option, ...], float | None]:
        """Every way to run an operator, by machine and then as the rows stand, and its output bytes if rows say so."""
        index = self._indexes.get((pipeline_id, operator.id), self._empty)
        matching = index.matching(content, configuration)
        options: list[Option] = []
        output_rows: list[ServiceRow] = []
        for entry in self._machines:
            if _may_run(operator, entry, source):
                for row in self._by_shape(matching, entry, operator.id):
                    option = _option(row, entry)
                    if _fits(option, entry):
                        options.append(option)
                        output_rows.append(row)
        self.used.update(row.place for row in output_rows)
        return tuple(options), self._output_bytes(output_rows, operator.id)

    def _by_shape(self, rows: list[ServiceRow], entry: MachineEntry, operator_id: OperatorId) -> list[ServiceRow]:
        """The row that says most for each shape (cores, batch, slots) on a machine."""
        best: dict[_Shape, ServiceRow] = {}
        for row in rows:
            if not entry.rank_of(row.machine):
                continue
            cores = entry.machine.cores if row.cores is None else row.cores
            shape = (entry.machine.id, cores, row.batch, row.accelerator_slots)
            rival = best.get(shape)
            if rival is None or _says(row, entry) > _says(rival, entry):
                best[shape] = row
            elif _says(row, entry) == _says(rival, entry):
                message = (
                    f"operator {operator_id} on {entry.machine.id} with {cores:g} cores and batch {row.batch} "
                    f"is also given at {rival.place}, and neither row names more than the other"
                )
                self._faults.add(row.place, message)
        return list(best.values())

    def _output_bytes(self, rows: list[ServiceRow], operator_id: OperatorId) -> float | None:
        stating = [row for row in rows if row.output_bytes is not None]
        for row in stating[1:]:
            if row.output_bytes != stating[0].output_bytes:
                message = (
                    f"output of operator {operator_id} is {row.output_bytes:g} bytes, "
                    f"but {stating[0].output_bytes:g} at {stating[0].place} for the same configuration"
                )
                self._faults.add(row.place, message)
        return stating[0].output_bytes if stating else None


def _says(row: ServiceRow, entry: MachineEntry) -> tuple[int, tuple[int, int]]:
    return (entry.rank_of(row.machine), weight_of(row))


def _may_run(operator: OperatorEntry, entry: MachineEntry, source: DeviceId | None) -> bool:
    machine = entry.machine
    if operator.pinned and machine.id != (source if operator.pinned == AT_SOURCE else operator.pinned):
        return False
    if operator.allowed_tiers and machine.tier not in operator.allowed_tiers:
        return False
    return not operator.allowed_machines or any(entry.rank_of(name) > 1 for name in operator.allowed_machines)


def _option(row: ServiceRow, entry: MachineEntry) -> Option:
    return Option(
        machine=entry.machine.id,
        cores=entry.machine.cores if row.cores is None else row.cores,
        service=Delay(mean_ms=row.latency_ms, variance_ms2=row.variance_ms2),
        capacity_per_s=row.throughput_per_s,
        memory_bytes=row.memory_bytes if entry.counts_memory else 0,
        accelerator_slots=row.accelerator_slots,
        accelerator_memory_bytes=row.accelerator_memory_bytes if entry.counts_accelerator_memory else 0,
        batch=row.batch,
    )


def _fits(option: Option, entry: MachineEntry) -> bool:
    machine = entry.machine
    return (
        option.cores <= machine.cores
        and option.memory_bytes <= machine.memory_bytes
        and option.accelerator_slots <= machine.accelerator_slots
        and option.accelerator_memory_bytes <= machine.accelerator_memory_bytes
    )
