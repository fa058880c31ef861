"""PURE. What of a fingerprint has changed enough to be told again."""

from __future__ import annotations

from circinus.model.device import Condition, Device

#: Free disk is told again when it has changed by this factor ...
_DISK_FACTOR = 1.25
#: ... other sizes by this part of them.
_SIZE_RATIO = 0.02
_CORES_RATIO = 0.01
_HEAT_CELSIUS = 10.0
_BATTERY_RATIO = 0.1
_GIB = 2**30


def changes(before: Device, after: Device) -> tuple[str, ...]:
    """The names of facts that differ by more than noise does. What was measured of links is damped already."""
    facts = {
        "device_class": before.device_class != after.device_class,
        "cpu": (before.cpu_model, before.logical_cores, before.cpu_flags)
        != (after.cpu_model, after.logical_cores, after.cpu_flags),
        "cores": _apart(before.cores, after.cores, _CORES_RATIO),
        "memory": _apart(before.memory_bytes, after.memory_bytes, _SIZE_RATIO),
        "disk": _disk(before, after),
        "accelerators": before.accelerators != after.accelerators,
        "links": before.links != after.links,
        "planner_link": (before.planner_rtt_ms, before.planner_bandwidth_bit_per_s)
        != (after.planner_rtt_ms, after.planner_bandwidth_bit_per_s),
        "speed": before.speed != after.speed,
        "condition": _condition(before.condition or Condition(), after.condition or Condition()),
        "limits": before.limits != after.limits,
        "unknown": before.unknown != after.unknown,
    }
    return tuple(name for name, differs in facts.items() if differs)


def _apart(before: float, after: float, ratio: float) -> bool:
    return abs(after - before) > ratio * max(abs(before), abs(after))


def _disk(before: Device, after: Device) -> bool:
    low, high = sorted((before.disk_free_bytes, after.disk_free_bytes))
    # Below a GiB every bundle counts.
    fewer = low < _GIB and high - low > 0.1 * _GIB
    return high > _DISK_FACTOR * max(low, 1) or fewer or before.disk_total_bytes != after.disk_total_bytes


def _condition(before: Condition, after: Condition) -> bool:
    return (
        before.throttled != after.throttled
        or before.supply != after.supply
        or _step(before.hottest_celsius, after.hottest_celsius, _HEAT_CELSIUS)
        or _step(before.battery_ratio, after.battery_ratio, _BATTERY_RATIO)
    )


def _step(before: float | None, after: float | None, step: float) -> bool:
    if before is None or after is None:
        return before is not after
    return abs(after - before) >= step
