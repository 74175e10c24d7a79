"""Did you mean ...? What a name that is not known here was probably meant to be, and how such a name is shown.

The name and the names to compare it with come from outside, and a comparison can take time that is quadratic in their lengths, or
worse. So the lengths, the number of candidates and the number of comparisons are bounded. Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from itertools import islice

MAX_CHARS = 200
"""Longer names are not compared, neither the unknown nor the known ones."""

MAX_CANDIDATES = 1000
"""So many known names are looked at."""

MAX_PAIRS = 250_000
"""The most pairs of characters that are compared for one name: for each candidate, the product of both lengths."""

SHOWN_CHARS = 100
_CUTOFF = 0.6


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The one of `known` that is most similar to `name`, as difflib sees it; None: none is similar enough.

    The candidates that may be most similar, by the letters that they have, are compared first, until the bound is reached.
    """
    if len(name) > MAX_CHARS:
        return None
    matcher = difflib.SequenceMatcher(b=name)
    at_most: list[tuple[float, str]] = []
    for each in islice(known, MAX_CANDIDATES):
        if len(each) <= MAX_CHARS:
            matcher.set_seq1(each)
            if matcher.real_quick_ratio() >= _CUTOFF and (bound := matcher.quick_ratio()) >= _CUTOFF:
                at_most.append((bound, each))
    best, left = (_CUTOFF, ""), MAX_PAIRS
    for bound, each in sorted(at_most, reverse=True):
        left -= len(name) * len(each)
        if bound < best[0] or left < 0:
            break
        matcher.set_seq1(each)
        best = max(best, (matcher.ratio(), each))
    return best[1] or None


def hint(name: str, known: Collection[str]) -> str:
    """The end of a sentence that says that `name` is not known: what was probably meant, or all that is known."""
    near = nearest(name, known)
    return f"known here are {', '.join(known)}" if near is None else f"did you mean {near!r}?"


def shown(name: str) -> str:
    """The beginning of a name from outside, for a message."""
    return name[:SHOWN_CHARS]
