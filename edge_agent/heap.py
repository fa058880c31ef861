"""How the process's allocator treats memory that is freed.

glibc gives a freed block of a megabyte back to the kernel at once, and the next one's pages are zeroed and mapped again
one by one: for payloads of 1 MB this took longer than all else of a hop between devices (2.0 of 3.1 ms, in a virtual
machine). So a bounded amount of freed memory is kept.
"""

from __future__ import annotations

import ctypes
import gc

from circinus.clock import Clock

#: Free memory at the end of the heap that is kept; an agent that never had large payloads has none.
KEPT_BYTES = 64 * 1024 * 1024
#: Blocks up to here come from the heap; glibc allows no more than 32 MiB.
_HEAP_BLOCK_BYTES = 32 * 1024 * 1024
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
#: Two dozen threads that hardly ever run need no heaps of their own.
_ARENAS = 2
#: What a start leaves behind is given back after so long.
_SETTLED_S = 20.0


def keep_freed_memory() -> bool:
    """Keeps freed memory, up to a bound, for what is allocated next. False: this C library does not know how."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _HEAP_BLOCK_BYTES) and mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES))


def share_heaps() -> bool:
    """Has all threads share few heaps; to be called before there are any. False: this C library does not know how."""
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS))
    except (AttributeError, OSError):
        return False


async def settle(clock: Clock) -> None:
    """Gives back what only the start needed, once."""
    await clock.sleep(_SETTLED_S)
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError):
        return
