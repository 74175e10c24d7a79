"""The garbage collector, set for a server: measured, a seventh of the time of a create went into it."""

from __future__ import annotations

import gc

_YOUNG = 20_000
"""Objects between two looks at the youngest; Python's 700 is for programs that are small or short."""


def settle() -> None:
    """Call once, when all is loaded: what is there now stays, and is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
