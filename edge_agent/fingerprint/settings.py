"""What a person says of the fingerprint in the configuration: its table ``[fingerprint]``."""

from __future__ import annotations

from dataclasses import dataclass

from circinus.model.device import DeviceId


@dataclass(frozen=True, slots=True, kw_only=True)
class FingerprintSettings:
    """``period_s``: how often it is taken anew. ``calibrate``: the device's speed is measured at the first start.

    ``speed_score`` and ``cpu_model`` stand in for what would be found; ``slots`` is of each accelerator that is found,
    ``accelerators`` False: none is looked for. ``rtt_of`` and ``bandwidth_of``: peers of whose links the configuration
    does not say it, so that it is measured; bandwidth by a burst of ``burst_bytes`` at most (0: none) in ``burst_s``.
    """

    period_s: float = 300.0
    calibrate: bool = False
    speed_score: float | None = None
    cpu_model: str = ""
    accelerators: bool = True
    slots: int = 1
    plug_ins: bool = True
    rtt_of: frozenset[DeviceId] = frozenset()
    bandwidth_of: frozenset[DeviceId] = frozenset()
    burst_s: float = 6 * 3600.0
    burst_bytes: int = 1024 * 1024
