"""Memory that stays: glibc told once not to give big blocks back to the kernel between steps.

A training step frees and asks for the same hundreds of megabytes each time. By default glibc maps
them anew, and the first touch of fresh pages costs 3-10 times a second one: 1.2-1.5x in a whole step.
"""

from __future__ import annotations

import ctypes
import platform

# From glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_MAX = -4


def keep_memory() -> bool:
    """Ask the allocator to keep what is freed. Returns whether it will; other allocators are left as they are."""
    if platform.libc_ver()[0] != "glibc":
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    # A threshold of -1 is never reached; the largest int is, by what a base model leaves free after a step.
    wanted = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1), (_M_TOP_PAD, 64 << 20))
    return all(mallopt(option, value) == 1 for option, value in wanted)
