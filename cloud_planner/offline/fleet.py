"""The sections ``settings``, ``machines`` and ``links``. PURE."""

from __future__ import annotations

from circinus.model.device import DeviceId, SiteId, Tier
from circinus.model.label import KEY_RULE, is_key, labels_fault
from circinus.model.selector import selectable
from cloud_planner.core.problem import Billing, Machine, Objective, Sharing, Waiting, Wire
from cloud_planner.offline.case import MachineEntry, Settings
from cloud_planner.offline.documents import Faults, Place, Record
from cloud_planner.offline.fields import Fields, suggestion

MAX_MACHINES = 10_000
MAX_WIRES = 1_000_000
_UNLIMITED = "unlimited"


def read_settings(record: Record, faults: Faults) -> Settings:
    """The section ``settings``."""
    fields = Fields(record, faults, "settings")
    default = Settings()
    settings = Settings(
        objective=fields.choice("objective", Objective, default=default.objective),
        waiting=fields.choice("waiting", Waiting, default=default.waiting),
        replica_utilization_cap=fields.number("replica_utilization_cap", default=1.0, above=0.0, high=1.0),
        link_utilization_cap=fields.number("link_utilization_cap", default=1.0, above=0.0, high=1.0),
        slo_probability_ratio=fields.number("slo_probability_ratio", default=0.0, high=1.0),
        served_ratio=fields.number("served_ratio", default=1.0, high=1.0),
        splittable=fields.flag("splittable", default=default.splittable),
        answer_to_source=fields.flag("answer_to_source", default=default.answer_to_source),
        arrival_cv2=fields.number("arrival_cv2", default=default.arrival_cv2, high=1000.0),
        budget_per_h=fields.number_or_none("budget_per_h", high=1e12),
        sharing=fields.choice("sharing", Sharing, default=default.sharing),
    )
    fields.done()
    return settings


def read_machines(records: tuple[Record, ...], faults: Faults) -> tuple[MachineEntry, ...]:
    """The section ``machines``."""
    machines: dict[str, MachineEntry] = {}
    for record in records:
        entry = _machine(record, faults)
        first = machines.setdefault(entry.machine.id, entry)
        if first is not entry and entry.machine.id:
            faults.add(record.place, f"machine {entry.machine.id!r} is given twice (first at {first.place})")
    if len(machines) > MAX_MACHINES:
        faults.add(records[MAX_MACHINES].place, f"more than {MAX_MACHINES} machines")
    return tuple(machines.values())


def _machine(record: Record, faults: Faults) -> MachineEntry:
    fields = Fields(record, faults, "machine")
    machine_id = fields.id("id", required=True)
    fields.what = f"machine {machine_id}"
    tier = fields.choice("tier", Tier)
    memory_gb = fields.number_or_none("memory_gb", high=1e9)
    accelerator_gb = fields.number_or_none("accelerator_memory_gb", high=1e9)
    site = fields.id("site") or machine_id
    device_class = fields.id("class") or machine_id
    entry = MachineEntry(
        place=record.place,
        machine=Machine(
            id=DeviceId(machine_id),
            tier=tier,
            site=SiteId(site),
            cores=fields.number("cores", default=1.0, high=1e9),
            memory_bytes=round((memory_gb or 0.0) * 1e9),
            accelerator_slots=fields.integer("accelerator_slots", default=0),
            accelerator_memory_bytes=round((accelerator_gb or 0.0) * 1e9),
            price_per_h=fields.number("price_per_h", high=1e9),
            billing=fields.choice("billing", Billing, default=Billing.SHARE),
            count=_count(fields),
            exclusive=fields.flag("exclusive", default=False),
            cordoned=fields.flag("cordoned", default=False),
            labels=selectable(
                _labels(fields, faults),
                device=machine_id,
                site=site,
                tier=tier,
                device_class=device_class,
                accelerators=fields.names("accelerators"),
            ),
        ),
        device_class=device_class,
        counts_memory=memory_gb is not None,
        counts_accelerator_memory=accelerator_gb is not None,
    )
    fields.done()
    return entry


def _labels(fields: Fields, faults: Faults) -> dict[str, str]:
    record = fields.record_of("labels")
    if record is None:
        return {}
    own = Fields(record, faults, f"{fields.what}: labels")
    found = {}
    for key in record.entries:
        if not is_key(key):
            faults.add(record.key_places[key], f"{own.what}: {key!r} is no label: {KEY_RULE}")
        found[key] = own.text(key)
    own.done()
    if fault := labels_fault({key: value for key, value in found.items() if is_key(key)}):
        faults.add(record.place, f"{own.what}: {fault}")
        return {}
    return found


def _count(fields: Fields) -> int | None:
    if fields.text("count") == _UNLIMITED:
        return None
    return fields.integer("count", default=1)


def read_wires(records: tuple[Record, ...], machines: tuple[MachineEntry, ...], faults: Faults) -> tuple[Wire, ...]:
    """The section ``links``, written out: one wire for each ordered pair of machines."""
    known = {entry.machine.id for entry in machines}
    wires: dict[tuple[str, str], tuple[Wire, Place]] = {}
    for record in records:
        for wire in _wires(record, known, faults):
            _, first = wires.setdefault((wire.source, wire.target), (wire, record.place))
            if first != record.place:
                faults.add(record.place, f"link {wire.source} -> {wire.target} is given twice (first at {first})")
        if len(wires) > MAX_WIRES:
            faults.add(record.place, f"more than {MAX_WIRES} links")
            break
    return tuple(wire for wire, _ in wires.values())


def _wires(record: Record, known: set[DeviceId], faults: Faults) -> list[Wire]:
    fields = Fields(record, faults, "link")
    sources = fields.names("from", required=True)
    targets = fields.names("to", required=True)
    for name, machines in (("from", sources), ("to", targets)):
        for machine in machines:
            if machine not in known:
                faults.add(fields.place_of(name), f"link: unknown machine {machine!r}{suggestion(machine, known)}")
    megabit_per_s = fields.number_or_none("bandwidth_mbit_per_s", above=0.0, high=1e12)
    rtt_ms = fields.number("rtt_ms", high=1e9)
    price_per_gb = fields.number("price_per_gb", high=1e9)
    both_ways = fields.flag("both_ways", default=False)
    fields.done()
    pairs = [(a, b) for a in sources for b in targets if a != b or len(sources) == len(targets) == 1]
    if both_ways:
        pairs += [(b, a) for a, b in pairs if a != b and (b, a) not in set(pairs)]
    return [
        Wire(
            source=DeviceId(source),
            target=DeviceId(target),
            bandwidth_bit_per_s=None if megabit_per_s is None else megabit_per_s * 1e6,
            rtt_ms=rtt_ms,
            price_per_gb=price_per_gb,
        )
        for source, target in pairs
    ]
