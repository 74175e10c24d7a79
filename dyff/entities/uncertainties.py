"""What a score says about its own precision, as readers see it."""

from __future__ import annotations

from dyff.entities import stored


class Uncertainty(stored.Part, frozen=True):
    """What a score says about its own precision. None: it does not say.

    `low`, `high`: the interval, in the unit of the score, with the confidence `level` (0.95 for 95 %). `n`: how many items have a
    verdict; `clusters`: in how many groups they are. `errors`, `unscored`: items without a verdict, because of an error or because nothing
    was scored. `method`: how the interval was computed.
    """

    low: float | None = None
    high: float | None = None
    level: float | None = None
    n: int | None = None
    clusters: int | None = None
    errors: int | None = None
    unscored: int | None = None
    method: str | None = None
