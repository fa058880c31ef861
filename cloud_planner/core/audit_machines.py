"""Whether replicas fit machine by machine, and what machines cost. PURE."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from math import isclose

from circinus.model.device import DeviceId
from circinus.model.query import QueryId
from cloud_planner.core.audit_sharing import lives_in_process, merged_steps, process_memory
from cloud_planner.core.audited import TOLERANCE, Audit, Placed
from cloud_planner.core.estimate import dominant_share_ratio
from cloud_planner.core.packing import machines_needed
from cloud_planner.core.problem import Billing, Machine


def check_machines(work: Audit, placed: list[Placed]) -> dict[DeviceId, float]:
    """Replicas fit machine by machine; cost by machine."""
    held: dict[DeviceId, dict[str, dict[tuple[float, int, int, int], int]]] = defaultdict(dict)
    shares: dict[DeviceId, float] = defaultdict(float)
    cores: dict[DeviceId, float] = defaultdict(float)
    processes: dict[DeviceId, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    merged = merged_steps(work, placed)
    for entry in placed:
        steps = {step.operator_id: step for step in entry.candidate.steps}
        for operator, option in (load for loads in entry.loads for load in loads):
            if operator.operator_id in merged.get(entry.query.id, ()):
                continue
            machine, step = work.network.machines[option.machine], steps[operator.operator_id]
            owner = f"{entry.query.id}/{operator.operator_id}" if machine.exclusive else ""
            shape = (option.cores, option.memory_bytes, option.accelerator_slots, option.accelerator_memory_bytes)
            if lives_in_process(work, entry.query, step, machine):
                processes[machine.id][step.share_key] += option.cores * operator.replicas
                shape = (option.cores, 0, option.accelerator_slots, 0)
            there = held[machine.id].setdefault(owner, {})
            there[shape] = there.get(shape, 0) + operator.replicas
            shares[machine.id] += dominant_share_ratio(machine, option) * operator.replicas
            cores[machine.id] += option.cores * operator.replicas
    claimed = {use.device_id: use for use in work.selection.machines}
    cost: dict[DeviceId, float] = {}
    for name, owners in held.items():
        machine = work.network.machines[name]
        size = (machine.cores, machine.memory_bytes, machine.accelerator_slots, machine.accelerator_memory_bytes)
        try:
            needed = sum(machines_needed(shapes, size) for shapes in owners.values())
        except ValueError as error:
            work.say(name, str(error))
            continue
        _memory(work, machine, owners, processes[name])
        use = claimed.get(name)
        if machine.count is not None and needed > machine.count:
            work.say(name, f"replicas need {needed} machines, there are {machine.count}")
        if use is None or use.machines < needed:
            work.say(name, f"replicas need {needed} machines, {use.machines if use else 0} are claimed")
        if use is not None and not isclose(use.cores, cores[name], rel_tol=TOLERANCE, abs_tol=TOLERANCE):
            work.say(name, f"{cores[name]:.6g} cores are used, {use.cores:.6g} are claimed")
        whole = machine.billing is Billing.WHOLE
        cost[name] = machine.price_per_h * ((use.machines if use else needed) if whole else shares[name])
        if use is not None and not isclose(use.cost_per_h, cost[name], rel_tol=TOLERANCE, abs_tol=1e-12):
            work.say(name, f"costs {cost[name]:.9g} per hour, {use.cost_per_h:.9g} is claimed")
    for name in claimed:
        if name not in held:
            work.say(name, "is said to be used and is not")
    return cost


def _memory(
    work: Audit,
    machine: Machine,
    owners: Mapping[str, Mapping[tuple[float, int, int, int], int]],
    processes: dict[str, float],
) -> None:
    """Where replicas live in processes, these and the other replicas fit into the machine's memories."""
    if not processes:
        return
    shared = process_memory(work, machine, processes)
    whole = (machine.memory_bytes, machine.accelerator_memory_bytes)
    for name, place, taken, there in zip(("memory", "accelerator memory"), (1, 3), shared, whole, strict=True):
        used = taken + sum(shape[place] * count for shapes in owners.values() for shape, count in shapes.items())
        if used > there * (1.0 + TOLERANCE):
            work.say(machine.id, f"has {there} bytes of {name}, its processes and replicas take {used}")


def check_bills(work: Audit, placed: list[Placed], cost: Mapping[DeviceId, float]) -> None:
    """What queries are billed adds up, and machines are divided by what each uses of them."""
    billed = sum(plan.billed_per_h for plan in work.selection.plans)
    total = work.selection.cost_per_h
    if not isclose(billed, total, rel_tol=TOLERANCE, abs_tol=1e-9):
        work.say("", f"queries are billed {billed:.9g} per hour, all costs {total:.9g}")
    if any(entry.query.splittable for entry in placed):
        return  # how its traffic is divided over routes is not told
    used: dict[DeviceId, dict[QueryId, float]] = defaultdict(lambda: defaultdict(float))
    bytes_cost: dict[QueryId, float] = {}
    for entry in placed:
        own = entry.plan.cost_per_h
        for operator, option in (load for loads in entry.loads for load in loads):
            machine = work.network.machines[option.machine]
            share = dominant_share_ratio(machine, option) * operator.replicas
            own -= machine.price_per_h * share
            if machine.exclusive and machine.billing is Billing.WHOLE:
                shape = (option.cores, option.memory_bytes, option.accelerator_slots, option.accelerator_memory_bytes)
                size = (
                    machine.cores,
                    machine.memory_bytes,
                    machine.accelerator_slots,
                    machine.accelerator_memory_bytes,
                )
                share = float(machines_needed({shape: operator.replicas}, size))
            used[machine.id][entry.query.id] += share
        bytes_cost[entry.query.id] = max(0.0, own)
    sent = sum(bytes_cost.values())
    together = {machine_id: sum(shares.values()) for machine_id, shares in used.items()}
    on: dict[QueryId, list[DeviceId]] = defaultdict(list)
    for machine_id, shares in used.items():
        for name in shares:
            on[name].append(machine_id)
    for entry in placed:
        name = entry.query.id
        right = work.selection.traffic_cost_per_h * bytes_cost[name] / sent if sent > 0.0 else 0.0
        for machine_id in on[name]:
            shares, whole = used[machine_id], together[machine_id]
            part = shares[name] / whole if whole > 0.0 else 1.0 / len(shares)
            right += cost.get(machine_id, 0.0) * part
        if not isclose(right, entry.plan.billed_per_h, rel_tol=1e-5, abs_tol=1e-6):
            work.say(name, f"is billed {entry.plan.billed_per_h:.9g} per hour, its part is {right:.9g}")


def check_places(work: Audit, placed: list[Placed]) -> None:
    """Nothing new is on a cordoned machine, and those that must stay apart do."""
    _cordons(work, placed)
    _apart(work, placed)


def _cordons(work: Audit, placed: list[Placed]) -> None:
    running = {plan.query_id: plan for plan in work.problem.running}
    for entry in placed:
        before = running.get(entry.query.id)
        kept = before is not None and dict(before.configuration) == dict(entry.plan.configuration)
        for operator in entry.plan.operators:
            if not work.network.machines[operator.device_id].cordoned:
                continue
            there = sum(
                old.replicas
                for old in (before.operators if before is not None and kept else ())
                if (old.operator_id, old.device_id, old.cores, old.batch, old.accelerator_slots)
                == (
                    operator.operator_id,
                    operator.device_id,
                    operator.cores,
                    operator.batch,
                    operator.accelerator_slots,
                )
            )
            if operator.replicas > there:
                work.say(
                    entry.query.id,
                    f"{operator.operator_id} has {operator.replicas} replicas on {operator.device_id}, "
                    f"which is cordoned and runs {there} of them",
                )


def _apart(work: Audit, placed: list[Placed]) -> None:
    on: dict[QueryId, set[DeviceId]] = {
        entry.query.id: {operator.device_id for operator in entry.plan.operators} for entry in placed
    }
    for entry in placed:
        for other in entry.query.apart_from:
            if other == entry.query.id:
                continue
            for name in sorted(on[entry.query.id] & on.get(other, set())):
                machine = work.network.machines[name]
                many = machine.count is None and machine.billing is Billing.SHARE
                if name != entry.query.source and not machine.exclusive and not many:
                    work.say(entry.query.id, f"must stay apart from {other}, and both are on {name}")
