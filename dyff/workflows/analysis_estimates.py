"""Intervals of scores, as `dyff.stats.score` writes them, next to the file of the published AnalysisContext. Pure.

    .dyff/estimates.json   {"estimates": [{"name", "quantity", "text", "estimate": {"low", "high", "level", "n", ...}}]}

They are what the code claims, as quantities are. They are bounded, and consistent in themselves.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from dyff.entities import codecs

MAX_METHOD_CHARS = 200
MAX_NOTES = 20
MAX_NOTE_CHARS = 500
_LARGEST = 1.7976931348623157e308

_Finite = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
_Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
_Short = Annotated[str, msgspec.Meta(max_length=MAX_METHOD_CHARS)]


class Outcomes(msgspec.Struct, frozen=True):
    """What became of all items; see `dyff.entities.analyses.Outcomes`."""

    items: _Count
    verdicts: _Count
    errors: _Count
    notScored: _Count

    def __post_init__(self) -> None:
        """Refuse what does not add up."""
        if self.verdicts + self.errors + self.notScored != self.items:
            raise ValueError("outcomes: verdicts, errors and notScored must add up to items")


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """See `dyff.entities.analyses.Estimate`."""

    low: _Finite | None
    high: _Finite | None
    level: Annotated[float, msgspec.Meta(gt=0, lt=1)]
    n: _Count
    clusters: _Count | None
    method: _Short
    outcomes: Outcomes
    notes: Annotated[list[Annotated[str, msgspec.Meta(max_length=MAX_NOTE_CHARS)]], msgspec.Meta(max_length=MAX_NOTES)]
    by: _Short
    standardError: _Finite | None = None
    degreesOfFreedom: _Finite | None = None
    seed: _Count | None = None
    draws: _Count | None = None

    def __post_init__(self) -> None:
        """Refuse an interval that is none."""
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high: give both, or neither")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("low is more than high")


class Entry(msgspec.Struct, frozen=True):
    """A score with its interval. `quantity`, `text`: checked with the scores."""

    name: Annotated[str, msgspec.Meta(max_length=MAX_METHOD_CHARS)]
    quantity: _Finite
    text: str
    estimate: Estimate

    def score(self) -> dict[str, Any]:
        """As the published context writes a score, as far as it is used."""
        return {"name": self.name, "quantity": self.quantity, "text": self.text}

    def stored(self) -> codecs.Json:
        """What the metadata of the score has."""
        made: codecs.Json = msgspec.to_builtins(self.estimate)
        return made


class _File(msgspec.Struct, frozen=True):
    estimates: list[Entry]


def read(data: bytes | None) -> dict[str, Entry]:
    """The intervals by the names of their scores. `data`: of the file; None if there is none.

    Raises:
        ValueError: they cannot be read, or one is there twice; the message is a sentence or two.
    """
    if data is None:
        return {}
    try:
        entries = msgspec.json.decode(data, type=_File).estimates
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f".dyff/estimates.json cannot be read ({str(error)[:300]}). Let dyff.stats.score write it.") from error
    found = {each.name: each for each in entries}
    if len(found) < len(entries):
        raise ValueError(".dyff/estimates.json has a score twice. Let dyff.stats.score write it.")
    return found
