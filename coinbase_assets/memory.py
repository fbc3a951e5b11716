"""How this process keeps the memory that it has freed."""

import ctypes
import sys

import pyarrow as pa

# In glibc's malloc.h.
_M_ARENA_MAX = -8
_ARENAS = 2


def share_free_memory() -> None:
    """Let all threads, and Arrow, use the same freed memory. To be called before threads start.

    Otherwise each keeps what it freed for itself: collecting a year of 1m candles took 365 MB at
    its peak, and 310 MB with both of these; 352 MB with either alone.
    """
    pa.set_memory_pool(pa.system_memory_pool())
    if sys.platform == "linux":
        # Another C library than glibc may have no such function, nor such arenas.
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            mallopt(_M_ARENA_MAX, _ARENAS)
