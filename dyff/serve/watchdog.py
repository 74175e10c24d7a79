"""Whether a role makes progress, judged by its signs. Pure.

A sign is stalled while something is waiting for it and its mark stays the same. Only seconds in which the watchdog itself
ran are counted, so that roles are not blamed when the whole process was held up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from dyff.kernel import liveness


class Stalled(msgspec.Struct, frozen=True):
    """A sign with something waiting, and for how many seconds there has been no progress."""

    sign: liveness.Sign
    seconds: float = 0.0


Judged = Mapping[str, Stalled]
"""Stalled signs by name."""


def judge(before: Judged, signs: Iterable[liveness.Sign], elapsed_s: float) -> dict[str, Stalled]:
    """The signs that are stalled now. `elapsed_s`: time since `before` was judged."""
    after: dict[str, Stalled] = {}
    for sign in signs:
        if sign.waiting is not None:
            known = before.get(sign.name)
            same = known is not None and known.sign.mark == sign.mark
            after[sign.name] = Stalled(sign, known.seconds + elapsed_s) if known is not None and same else Stalled(sign)
    return after


def unreadable(before: Judged, reason: str, elapsed_s: float) -> dict[str, Stalled]:
    """The result if the signs could not be read: stalled signs count as still stalled, and the failure to read is a sign, too."""
    return judge(before, [*(each.sign for name, each in before.items() if name != _READING), liveness.Sign(_READING, reason)], elapsed_s)


_READING = "its signs of life"


def problem(judged: Judged, limit_s: float) -> str | None:
    """What is wrong, as a sentence for people; None if no sign has been stalled for `limit_s` seconds."""
    found = [each for each in judged.values() if each.seconds >= limit_s]
    sentences = [f"{each.sign.name}: {each.sign.waiting}, and nothing has moved for {each.seconds:.0f} s" for each in found]
    return "; ".join(sentences) or None
