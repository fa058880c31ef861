"""Which of the agent's environment variables its serving processes see: a short list, without any secret."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

#: Where programs, libraries, models of language and time zones are, and which accelerators may be seen.
PASSED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "TESSDATA_PREFIX",
    "CUDA_HOME",
    "CUDA_CACHE_PATH",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    "NVIDIA_DRIVER_CAPABILITIES",
    "ROCR_VISIBLE_DEVICES",
)
THREADS = (
    "OMP_NUM_THREADS",
    "OMP_THREAD_LIMIT",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def variables(
    *, threads: int, more: Iterable[str] = (), of: Mapping[str, str] | None = None, unbuffered: bool = True
) -> dict[str, str]:
    """The environment of a process of a bundle's code. ``more`` are those that the owner of the device passes on."""
    given = os.environ if of is None else of
    passed = {name: given[name] for name in (*PASSED, *more) if name in given}
    fixed = {"PYTHONDONTWRITEBYTECODE": "1", **({"PYTHONUNBUFFERED": "1"} if unbuffered else {})}
    return {**passed, **dict.fromkeys(THREADS, str(max(1, threads))), **fixed}
