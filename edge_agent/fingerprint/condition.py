"""Heat, throttling and power, as the kernel tells them in sysfs; what it doesn't tell is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from circinus.model.device import Condition

#: Sensors that are not connected say 0, -40 or 127.
_SANE_CELSIUS = (1.0, 125.0)
_MILLI = 1000.0
#: The Raspberry Pi's firmware: under-voltage, capped, throttled, soft limit; all of now.
_RASPBERRY_NOW = 0xF
_MAX_FILES = 256


def read_condition(sys_root: Path = Path("/sys"), accelerator_throttled: bool | None = None) -> Condition | None:
    """How the device does now; None: nothing tells. ``accelerator_throttled``: what an accelerator's driver said."""
    known = [one for one in (accelerator_throttled, _cooled(sys_root), _capped(sys_root)) if one is not None]
    supply, battery_ratio = _power(sys_root)
    condition = Condition(
        hottest_celsius=max(_temperatures_celsius(sys_root), default=None),
        throttled=any(known) if known else None,
        supply=supply,
        battery_ratio=battery_ratio,
    )
    return None if condition == Condition() else condition


def _temperatures_celsius(sys_root: Path) -> Iterator[float]:
    for pattern in ("class/thermal/thermal_zone*/temp", "class/hwmon/hwmon*/temp*_input"):
        for file in _files(sys_root, pattern):
            celsius = (_number(file) or 0) / _MILLI
            if _SANE_CELSIUS[0] <= celsius <= _SANE_CELSIUS[1]:
                yield celsius


def _cooled(sys_root: Path) -> bool | None:
    """Whether the kernel slows the CPU down because of heat."""
    states = [
        _number(file.parent / "cur_state")
        for file in _files(sys_root, "class/thermal/cooling_device*/type")
        if any(name in _text(file).lower() for name in ("processor", "cpufreq", "cpu-", "devfreq", "gpu"))
    ]
    told = [state for state in states if state is not None]
    return any(state > 0 for state in told) if told else None


def _capped(sys_root: Path) -> bool | None:
    text = _text(sys_root / "devices/platform/soc/soc:firmware/get_throttled")
    try:
        return bool(int(text, 16) & _RASPBERRY_NOW)
    except ValueError:
        return None


def _power(sys_root: Path) -> tuple[str, float | None]:
    """What feeds the device, and how full its battery is."""
    mains: list[bool] = []
    discharging, battery_ratio = False, None
    for kind in _files(sys_root, "class/power_supply/*/type"):
        supply = kind.parent
        if _text(supply / "scope").lower() == "device":
            continue  # of a mouse or a keyboard
        if _text(kind).lower() == "battery":
            percent = _number(supply / "capacity")
            if percent is not None and 0 <= percent <= 100:
                battery_ratio = percent / 100.0 if battery_ratio is None else min(battery_ratio, percent / 100.0)
            discharging = discharging or _text(supply / "status").lower() == "discharging"
        elif (online := _number(supply / "online")) is not None:
            mains.append(online > 0)
    if any(mains):
        return "mains", battery_ratio
    return ("battery" if discharging or (mains and battery_ratio is not None) else ""), battery_ratio


def _files(root: Path, pattern: str) -> list[Path]:
    try:
        return sorted(root.glob(pattern))[:_MAX_FILES]
    except OSError:
        return []


def _number(file: Path) -> int | None:
    try:
        return int(_text(file))
    except ValueError:
        return None


def _text(file: Path) -> str:
    # Sensors of devices that sleep refuse to be read.
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""
