"""Did you mean ...? Suggests what an unknown name was probably meant to be, and shortens such names for display.

The name and the names to compare it with come from outside, and a comparison can take time that is quadratic in their lengths, or
worse. So the lengths, the number of candidates and the number of comparisons are bounded. Pure.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from itertools import islice

MAX_CHARS = 200
"""Longer names are not compared, whether known or unknown."""

MAX_CANDIDATES = 1000
"""At most this many known names are considered."""

MAX_PAIRS = 250_000
"""The most pairs of characters that are compared for one name: the product of both lengths, summed over the candidates."""

SHOWN_CHARS = 100
_CUTOFF = 0.6


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name in `known` that is most similar to `name` by difflib's measure; None if none is similar enough.

    One that differs in upper and lower case only is the nearest. Candidates with the highest possible similarity, judging by their
    letters, are compared first, until the bound is reached.
    """
    if len(name) > MAX_CHARS:
        return None
    known = list(islice(known, MAX_CANDIDATES))
    folded = name.casefold()
    for each in known:
        if len(each) <= MAX_CHARS and each != name and each.casefold() == folded:
            return each
    matcher = difflib.SequenceMatcher(b=name)
    at_most: list[tuple[float, str]] = []
    for each in known:
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
    """The end of a sentence that says that `name` is unknown: what was probably meant, or else all known names."""
    near = nearest(name, known)
    return f"known here are {', '.join(known)}" if near is None else f"did you mean {near!r}?"


def shown(name: str) -> str:
    """The first characters of a name from outside, for a message."""
    return name[:SHOWN_CHARS]
