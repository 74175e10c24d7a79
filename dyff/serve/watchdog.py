"""Whether a role makes progress, judged by its signs. Pure.

A sign stands still as long as something waits for it and its mark stays the same. Seconds are those in which the
watchdog itself ran, so a process that was held up as a whole blames none of its roles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from dyff.kernel import liveness


class Stalled(msgspec.Struct, frozen=True):
    """A sign that something waits for, and for how many seconds nothing has been done about it."""

    sign: liveness.Sign
    seconds: float = 0.0


Judged = Mapping[str, Stalled]
"""By the sign's name."""


def judge(before: Judged, signs: Iterable[liveness.Sign], elapsed_s: float) -> dict[str, Stalled]:
    """What stands still now; `elapsed_s`: since `before` was judged."""
    after: dict[str, Stalled] = {}
    for sign in signs:
        if sign.waiting is not None:
            known = before.get(sign.name)
            same = known is not None and known.sign.mark == sign.mark
            after[sign.name] = Stalled(sign, known.seconds + elapsed_s) if known is not None and same else Stalled(sign)
    return after


def unreadable(before: Judged, reason: str, elapsed_s: float) -> dict[str, Stalled]:
    """The signs could not be read: what stood still is taken to do so yet, and that they cannot be read is a sign as well."""
    return judge(before, [*(each.sign for name, each in before.items() if name != _READING), liveness.Sign(_READING, reason)], elapsed_s)


_READING = "its signs of life"


def problem(judged: Judged, limit_s: float) -> str | None:
    """What is wrong, as a sentence for people; None: nothing has stood still for `limit_s` seconds."""
    found = [each for each in judged.values() if each.seconds >= limit_s]
    sentences = [f"{each.sign.name}: {each.sign.waiting}, and nothing has moved for {each.seconds:.0f} s" for each in found]
    return "; ".join(sentences) or None
