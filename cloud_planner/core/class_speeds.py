"""How fast device classes are against each other, and what accelerators they have. PURE.

A device says how fast it is by a short run of fixed work (its speed score) and, where it is emulated, how much slower
than its host it is made. A class that nothing was measured on yet takes the times of other classes by the ratio of
these speeds (believed_times.py); what is measured on it afterwards goes before.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median

from circinus.model.device import Device, DeviceClass
from circinus.model.pipeline import OperatorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """What is known of classes, those of devices that are away among them.

    ``speed_ratio``: against a class of middling score; ``accelerator_kinds``: what its devices have.
    """

    speed_ratio: Mapping[DeviceClass, float] = field(default_factory=dict)
    accelerator_kinds: Mapping[DeviceClass, frozenset[str]] = field(default_factory=dict)

    def runs_on(self, operator: OperatorSpec, device_class: DeviceClass) -> str:
        """The kind of accelerator that an operator uses on a class; empty: the CPU."""
        there = self.accelerator_kinds.get(device_class, frozenset())
        return next((kind for kind in operator.accelerator_kinds if kind in there), "")


def classes_of(devices: Iterable[Device]) -> Classes:
    """The classes of these devices. One whose score nobody knows is taken to have a middling one."""
    ratios: dict[DeviceClass, list[float]] = defaultdict(list)
    scores: dict[DeviceClass, list[float]] = defaultdict(list)
    kinds: dict[DeviceClass, frozenset[str]] = {}
    for device in devices:
        name = device.device_class
        ratios[name].append(device.speed_ratio)
        if device.speed is not None and device.speed.score > 0.0:
            scores[name].append(device.speed.score)
        kinds[name] = kinds.get(name, frozenset()) | {one.kind for one in device.accelerators if one.slots > 0}
    score = {name: median(values) for name, values in scores.items()}
    middling = median(score.values()) if score else 1.0
    return Classes(
        speed_ratio={name: median(ratios[name]) * score.get(name, middling) / middling for name in sorted(ratios)},
        accelerator_kinds=kinds,
    )
