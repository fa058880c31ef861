"""The class that a device is put into, and which changes of its fingerprint are a reason to plan anew. PURE.

A class says the step of its devices' speed score. Scores are measured, so two equal devices may fall to both sides of a
step's border, and one device may when it is measured again. So a step takes in what is near it: first the class that
the device had, then one that is known.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from math import log2
from typing import Final

from circinus.model.device import Device, DeviceClass

#: Steps to a factor of two, as the agent writes them (edge_agent/fingerprint/calibration.py).
STEPS: Final = 2
#: How far beyond its border a known step still takes a device in, as a part of a step.
_BEYOND: Final = 0.3
_STEP: Final = re.compile(r"/s(-?\d+)(?=/)")


def settled(device: Device, before: Device | None, others: Iterable[Device]) -> Device:
    """A device in its class: the one that it had, or that others of its kind have, if its score is near enough."""
    found = _STEP.search(device.device_class)
    if found is None or device.speed is None or device.speed.score <= 0.0:
        return device
    at = log2(device.speed.score) * STEPS
    if before is not None and _near(before.device_class, device.device_class, at) is not None:
        return replace(device, device_class=before.device_class)
    known = {other.device_class for other in others if other.id != device.id}
    near = {name: apart for name in known if (apart := _near(name, device.device_class, at)) is not None}
    if not near:
        return device
    return replace(device, device_class=min(near, key=lambda name: (near[name], name)))


def _near(known: DeviceClass, own: DeviceClass, at: float) -> float | None:
    """How far a score is from the step of a class of the same kind; None: it is another kind, or too far."""
    step = _STEP.search(known)
    if step is None or _STEP.sub("", known) != _STEP.sub("", own):
        return None
    apart = abs(at - int(step.group(1)))
    return apart if apart <= 0.5 + _BEYOND else None


def plans_alike(before: Device, after: Device) -> bool:
    """Whether nothing that plans depend on differs: free disk, heat or a word of why are for people."""
    return before == replace(
        after,
        disk_free_bytes=before.disk_free_bytes,
        disk_total_bytes=before.disk_total_bytes,
        condition=before.condition,
        planner_rtt_ms=before.planner_rtt_ms,
        planner_bandwidth_bit_per_s=before.planner_bandwidth_bit_per_s,
        limits=before.limits,
        measured_peers=before.measured_peers,
        unknown=before.unknown,
        overridden=before.overridden,
        platform=before.platform,
        isolation=before.isolation,
        max_frequency_mhz=before.max_frequency_mhz,
        agent_version=before.agent_version,
    )
