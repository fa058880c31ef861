"""The CPU: model, instruction set, and how many cores this process may really use."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

from edge_agent.fingerprint.cgroup import Limits

#: Flags that decide how fast an operator's libraries run; the other hundred only make the text long.
_X86_FLAGS = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni")
_AMX_FLAGS = ("avx512_bf16", "amx_tile", "amx_int8", "amx_bf16")
_ARM_FLAGS = ("neon", "asimd", "asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2")
_TELLING_FLAGS = frozenset((*_X86_FLAGS, *_AMX_FLAGS, *_ARM_FLAGS))
#: From the best down: the first flag that the CPU has names its instruction set.
_INSTRUCTION_SETS = (
    ("amx_tile", "amx"),
    ("avx512f", "avx512"),
    ("avx2", "avx2"),
    ("avx", "avx"),
    ("sse4_2", "sse4"),
    ("sve2", "sve2"),
    ("sve", "sve"),
    ("asimddp", "asimddp"),
    ("asimd", "asimd"),
    ("neon", "neon"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CpuFacts:
    """``variant`` is family-model-stepping where the kernel tells (a model's name alone is often just "AMD EPYC").

    ``affinity_cores``: those that this process may run on; 0: all.
    """

    model: str
    variant: str
    flags: tuple[str, ...]
    logical_cores: int
    usable_cores: float
    max_frequency_mhz: float
    affinity_cores: int = 0

    @property
    def instruction_set(self) -> str:
        """The best vector instruction set, or the machine's architecture."""
        return next((name for flag, name in _INSTRUCTION_SETS if flag in self.flags), platform.machine() or "unknown")


def read_cpu(limits: Limits, proc: Path = Path("/proc")) -> CpuFacts:
    """The CPU as the kernel tells it; what it doesn't tell is "unknown" or 0."""
    import psutil

    logical_cores = psutil.cpu_count(logical=True) or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical_cores
    usable_cores = min(float(usable), limits.cores) if limits.cores is not None else float(usable)
    try:
        text = (proc / "cpuinfo").read_text(errors="replace")
    except OSError:
        text = ""
    model, variant, flags = parse_cpuinfo(text)
    return CpuFacts(
        model=model or platform.processor() or "unknown",
        variant=variant,
        flags=flags,
        logical_cores=logical_cores,
        usable_cores=usable_cores,
        max_frequency_mhz=_max_frequency_mhz(),
        affinity_cores=usable if usable < logical_cores else 0,
    )


def parse_cpuinfo(text: str) -> tuple[str, str, tuple[str, ...]]:
    """Model, variant and telling flags of the first processor in /proc/cpuinfo (x86 and ARM)."""
    first = text.split("\n\n", 1)[0]
    fields: dict[str, str] = {}
    for line in first.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            fields.setdefault(name.strip().lower(), value.strip())
    # ARM's first block has no name on many boards; "Model" or "Hardware" stands in the last one.
    board = re.search(r"^(?:Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    model = fields.get("model name") or (board.group(1).strip() if board else "")
    parts = [fields.get(name, "") for name in ("cpu family", "model", "stepping")]
    if not any(parts):
        parts = [fields.get(name, "") for name in ("cpu implementer", "cpu part", "cpu variant")]
    flags = (fields.get("flags") or fields.get("features") or "").split()
    return model, "-".join(part for part in parts if part), tuple(sorted(_TELLING_FLAGS.intersection(flags)))


def _max_frequency_mhz() -> float:
    import psutil

    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError, RuntimeError):
        return 0.0
    return float(frequency.max or frequency.current or 0.0) if frequency else 0.0
