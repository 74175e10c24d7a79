"""How long to wait before the next try."""

from __future__ import annotations

import random
from collections.abc import Iterator


def delays(first_s: float = 0.1, *, factor: float = 2.0, ceiling_s: float = 30.0, jitter: random.Random | None = None) -> Iterator[float]:
    """Yield delays in seconds without end: `first_s`, then `factor` times the previous one, at most `ceiling_s`.

    `jitter`: if given, each delay is drawn from the upper half of its range, so that callers that failed together do
    not all retry together. None for the plain sequence.
    """
    delay = first_s
    while True:
        yield delay * jitter.uniform(0.5, 1.0) if jitter else delay
        delay = min(delay * factor, ceiling_s)
