"""What a fingerprint measured, for people: speed, heat, power, the way to the planner, and what is not known."""

from __future__ import annotations

from circinus.cli.output import size
from circinus.model.device import Accelerator, Device


def measured_facts(device: Device) -> list[tuple[str, str]]:
    """Rows of a device's table; what nobody knows has none."""
    facts: list[tuple[str, str]] = []
    if (speed := device.speed) is not None:
        each = f"integer {speed.integer_score:g}, float {speed.float_score:g}, memory {speed.memory_score:g}"
        facts.append(("speed score", f"{speed.score:g}" + (f" ({each})" if speed.integer_score else "")))
    if (limits := device.limits) is not None:
        said = [f"{limits.cgroup_cores:g} cores by cgroup" if limits.cgroup_cores else ""]
        said.append(f"{size(limits.cgroup_memory_bytes)} by cgroup" if limits.cgroup_memory_bytes else "")
        said.append(f"{limits.affinity_cores} cores by affinity" if limits.affinity_cores else "")
        facts.append(("limits", ", ".join(filter(None, said))))
    if (condition := device.condition) is not None:
        heat = "" if condition.hottest_celsius is None else f"{condition.hottest_celsius:g} C"
        held = "throttled" if condition.throttled else ""
        battery = "" if condition.battery_ratio is None else f"battery at {condition.battery_ratio:.0%}"
        facts.append(("condition", ", ".join(filter(None, (heat, held, condition.supply, battery))) or "not throttled"))
    if device.planner_rtt_ms:
        rate = device.planner_bandwidth_bit_per_s
        more = f", {rate / 1e6:g} Mbit/s" if rate else ""
        facts.append(("to the planner", f"round trip {device.planner_rtt_ms:g} ms{more}"))
    if device.platform:
        facts.append(("platform", device.platform))
    facts.extend(("unknown", said) for said in device.unknown)
    if device.overridden:
        facts.append(("as configured", ", ".join(device.overridden)))
    return facts


def accelerator_text(accelerator: Accelerator) -> str:
    """One accelerator in a line."""
    memory = size(accelerator.memory_bytes) if accelerator.memory_bytes else "memory unknown"
    text = f"{accelerator.model} ({accelerator.kind}), {accelerator.slots} slots, {memory}"
    return text + (" of the device's" if accelerator.unified else "") + (", emulated" if accelerator.emulated else "")
