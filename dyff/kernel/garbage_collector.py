"""Python's garbage collector, tuned for a server: measured, it took a seventh of the time of a create."""

from __future__ import annotations

import gc

_YOUNG = 20_000
"""New objects between two collections of the youngest generation; Python's 700 suits small or short programs."""


def tune() -> None:
    """Call once, when everything is loaded: what exists now stays, and is never examined again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
