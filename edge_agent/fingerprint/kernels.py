"""Fixed work whose time says how fast a device is: integers, floating point, memory. The standard library only.

Each kernel is a short unit, done again and again; the fastest one counts, in CPU time. What else runs on the machine
still disturbs (caches, hyper-threads, a hypervisor's other guests), so there are rounds, and how far apart they are is
told. The figures are multiples of the reference machine's speed.
"""

from __future__ import annotations

import hashlib
import math
import time
import zlib
from collections.abc import Callable
from functools import cache

#: CPU seconds of each unit on the reference machine (a core of a server of 2024 with Python 3.11, otherwise idle).
REFERENCE_S = {"integer": 0.0060, "float": 0.0040, "memory": 0.0030}
_LEAST_UNITS = 3
_ROUNDS = 3
_COPY_BYTES = 16 * 1024 * 1024


def integer() -> int:
    """Mixes numbers, packs text and hashes it."""
    state, mixed = 88172645463325252, 0
    for _ in range(20_000):
        state ^= (state << 13) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 7
        state ^= (state << 17) & 0xFFFFFFFFFFFFFFFF
        mixed = (mixed + state) & 0xFFFFFFFF
    text = b"circinus %d " * 2_000
    packed = zlib.compress(text, 6)
    return mixed ^ zlib.crc32(packed) ^ hashlib.blake2b(text).digest()[0]


def floating() -> float:
    """Three bodies and a Fourier sum."""
    x, y, vx, vy, total = 1.0, 0.0, 0.0, 1.0, 0.0
    for step in range(12_000):
        near = 1.0 / math.sqrt(x * x + y * y + 1e-3)
        pull = near * near * near * 1e-3
        vx, vy = vx - x * pull, vy - y * pull
        x, y = x + vx * 1e-3, y + vy * 1e-3
        total += math.sin(step * 1e-3) * x
    return total


@cache
def _block() -> bytearray:
    return bytearray(_COPY_BYTES)


def memory() -> int:
    """Copies more than most caches hold."""
    block = _block()  # made once: its pages must be there
    half = len(block) // 2
    view = memoryview(block)
    for _ in range(4):
        view[:half] = view[half:]
        view[half:] = view[:half]
    return block[half]


_KERNELS: dict[str, Callable[[], object]] = {"integer": integer, "float": floating, "memory": memory}


def best_s(name: str, total_s: float) -> float:
    """The CPU time of a kernel's fastest unit in so many seconds."""
    kernel = _KERNELS[name]
    best, until_s, units = math.inf, time.monotonic() + total_s, 0
    while units < _LEAST_UNITS or time.monotonic() < until_s:
        begun_s = time.thread_time()
        kernel()
        best = min(best, time.thread_time() - begun_s)
        units += 1
    return max(best, 1e-6)


def measure(total_s: float = 0.9) -> tuple[dict[str, float], float]:
    """Every kernel's speed, and how steady they were: the slowest round of a kernel against its fastest, 0..1."""
    found: dict[str, list[float]] = {name: [] for name in _KERNELS}
    for _ in range(_ROUNDS):
        for name, times_s in found.items():
            times_s.append(best_s(name, total_s / _ROUNDS / len(_KERNELS)))
    speeds = {name: REFERENCE_S[name] / min(times_s) for name, times_s in found.items()}
    return speeds, min(min(times_s) / max(times_s) for times_s in found.values())
