"""Makes the C library give memory back: without it, a server that once needed much kept much of it (measured, ADR 20)."""

from __future__ import annotations

import ctypes

MMAP_THRESHOLD_BYTES = 256 * 2**10
"""Blocks of this size or more are mappings of their own, which are given back when they are freed. The GNU library starts with less, but
raises it up to 32 MiB with each freed block, and from then on keeps such blocks where small ones around them prevent giving back.
"""

_M_MMAP_THRESHOLD = -3


def tune() -> bool:
    """Call it once, at the start. False where the C library does not have it, which then has its own way."""
    try:
        return bool(ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES))
    except (AttributeError, OSError):
        return False
