"""What all functions that draw random numbers share. Seeds are arguments, so that a result can be repeated, and are recorded with it."""

from __future__ import annotations

from dyff.stats import unfit

DRAWS = 10_000
"""Without an argument."""
MAX_DRAWS = 1_000_000
MAX_SEED = 2**53
"""So that any reader of JSON gets it exactly."""
AT_ONCE = 2**22
"""Random numbers that are in memory at the same time."""


def checked(draws: int, seed: int) -> tuple[int, int]:
    """Return both.

    Raises:
        Unfit: one is out of its bounds.
    """
    return unfit.whole(draws, "draws", 100, MAX_DRAWS), unfit.whole(seed, "seed", 0, MAX_SEED)
