"""Tunes Python's garbage collector for a server: untuned, it took a seventh of the time of a create (measured)."""

from __future__ import annotations

import gc

_YOUNG = 20_000
"""New objects between two collections of the youngest generation. Python's default of 700 suits small or short programs."""


def tune() -> None:
    """Call once, when everything is loaded. Objects that exist then are kept and never examined again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 10, 10)
