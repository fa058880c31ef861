"""The device's speed score: measured once, in a child, and kept on disk for as long as the hardware is the same.

A score decides which profiles a device shares, so it must not change by chance: it is measured where nothing else runs,
it is kept, and only a steady one is part of the device's class, in coarse steps. What was measured on a busy machine is
told, too, and measured again at the next starts, but not for ever: a box that is always busy is to serve soon after its
start.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from circinus.events import event, warning
from circinus.model.device import SpeedScore
from edge_agent.fingerprint.cpu import CpuFacts

_CHILD = "edge_agent.fingerprint.kernels_child"
_TIMEOUT_S = 30.0
#: Steps of the class: so many to a factor of two.
_STEPS = 2
#: Rounds that differ by more were disturbed.
_STEADY_RATIO = 0.8
_KERNELS = ("integer", "float", "memory")
#: So long it waits for a machine that is busy.
_QUIET_LOOKS = 3
_QUIET_LOOK_S = 0.3
_MAX_SCORE = 1e4
#: So many starts find out what the hardware does.
_MAX_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """``steady``: it is the device's own speed, not what others left of it."""

    speed: SpeedScore
    steady: bool


def bucket(score: float) -> int:
    """The step of a score: those of one step are at most a factor of 1.41 apart."""
    return round(math.log2(score) * _STEPS)


def hardware_identity(cpu: CpuFacts, sys_root: Path = Path("/sys"), proc: Path = Path("/proc")) -> str:
    """What a score is valid for: CPU, board, how fast the CPU may be clocked, Python."""
    cpufreq = sys_root / "devices/system/cpu/cpu0/cpufreq"
    facts = [
        cpu.model,
        cpu.variant,
        " ".join(cpu.flags),
        str(cpu.logical_cores),
        _text(sys_root / "class/dmi/id/product_name"),
        _text(proc / "device-tree/model"),
        _text(cpufreq / "scaling_max_freq"),
        _text(cpufreq / "scaling_governor"),
        sys.version.split()[0],
    ]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def calibrate(
    state_dir: Path, identity: str, *, command: Sequence[str] = (), timeout_s: float = _TIMEOUT_S, quiet: bool = True
) -> Calibrated | None:
    """The kept score, else a new one; None: it can't be measured. Blocks for two or three seconds the first time.

    Args:
        state_dir: Where it is kept.
        identity: Of the hardware.
        command: The child; by default this interpreter with kernels_child.
        timeout_s: After that the child is ended.
        quiet: Wait a little for a busy machine; a score of one that stays busy is not steady.
    """
    kept, attempts = _kept(state_dir, identity)
    if attempts >= _MAX_ATTEMPTS or (kept is not None and kept.steady):
        return kept
    found = _measured(command, timeout_s, quiet)
    if found is None or (kept is not None and not found.steady and kept.speed.score > found.speed.score):
        # What was disturbed least is nearest the truth.
        found = kept
    _keep(state_dir, identity, found, attempts + 1)
    return found


def _measured(command: Sequence[str], timeout_s: float, quiet: bool) -> Calibrated | None:
    idle = not quiet or _is_quiet()
    try:
        ended = subprocess.run(
            command or (sys.executable, "-P", "-m", _CHILD),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=True,
        )
        measured = json.loads(ended.stdout.splitlines()[-1])
        each = [float(measured[name]) for name in _KERNELS]
        steady_ratio = float(measured["steady_ratio"])
        if not all(math.isfinite(score) and 0.0 < score < _MAX_SCORE for score in each):
            raise ValueError(f"no speeds: {each}")
    except (OSError, subprocess.SubprocessError, ValueError, TypeError, KeyError, IndexError) as error:
        warning("speed_not_measured", reason=error)
        return None
    speed = SpeedScore(
        score=round(math.prod(each) ** (1.0 / len(each)), 3),
        integer_score=round(each[0], 3),
        float_score=round(each[1], 3),
        memory_score=round(each[2], 3),
    )
    found = Calibrated(speed=speed, steady=idle and steady_ratio >= _STEADY_RATIO)
    event("speed_measured", score=speed.score, steady=found.steady)
    return found


def _kept(state_dir: Path, identity: str) -> tuple[Calibrated | None, int]:
    """What was found at earlier starts of this hardware, and how many of them looked."""
    try:
        document = json.loads((state_dir / "speed.json").read_text())
        if document["hardware"] != identity:
            return None, 0
        attempts = int(document["attempts"])
        if document["speed"] is None:
            return None, attempts
        speed = SpeedScore(**{name: float(value) for name, value in document["speed"].items()})
        steady = document["steady"] is True
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None, 0
    if not all(0.0 <= value < _MAX_SCORE for value in asdict(speed).values()) or speed.score == 0.0:
        return None, 0
    return Calibrated(speed=speed, steady=steady), attempts


def _keep(state_dir: Path, identity: str, found: Calibrated | None, attempts: int) -> None:
    document = {
        "hardware": identity,
        "attempts": attempts,
        "speed": asdict(found.speed) if found is not None else None,
        "steady": found is not None and found.steady,
    }
    try:
        # In a folder that is there: made by whoever only asks for a fingerprint it would have the wrong owner.
        partial = state_dir / f"speed.json.{os.getpid()}"
        partial.write_text(json.dumps(document))
        partial.replace(state_dir / "speed.json")
    except OSError as error:
        warning("speed_not_kept", reason=error)


def _is_quiet() -> bool:
    """Whether there is a core that nobody uses, now or soon."""
    for _ in range(_QUIET_LOOKS):
        before = _idle_s()
        time.sleep(_QUIET_LOOK_S)
        after = _idle_s()
        if before is None or after is None:
            return False
        if after - before >= 0.8 * _QUIET_LOOK_S:
            return True
    return False


def _idle_s(proc: Path = Path("/proc")) -> float | None:
    """Seconds that the machine's cores had nothing to do, all together."""
    try:
        fields = (proc / "stat").read_text().split("\n", 1)[0].split()
        return int(fields[4]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip("\0\n ")
    except OSError:
        return ""
