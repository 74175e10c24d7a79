"""What a reader has to wait for, to see writes that went to several partitions."""

from __future__ import annotations

from collections.abc import Iterable

import httpx

from dyff.sdk import transport


def of(answers: Iterable[httpx.Response]) -> dict[str, str]:
    """The header for a read that sees all of these writes. That of the last write says nothing about other partitions."""
    known = transport.Positions()
    for answer in answers:
        known.learn(answer.raise_for_status().headers["Dyff-Position"])
    return known.header()
