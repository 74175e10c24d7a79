"""Loopback ports for pods that listen."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator

FIRST, END = 12000, 20000
"""Below the range of Services, and below the one from which systems take the near end of outgoing connections."""
_TRIES = 200


def candidates(uid: str, run: int) -> Iterator[int]:
    """Ports for a run of a pod, different ones for different pods, in an order that does not change."""
    for attempt in range(_TRIES):
        digest = hashlib.sha256(f"{uid}/{run}/{attempt}".encode()).digest()
        yield FIRST + int.from_bytes(digest[:4], "big") % (END - FIRST)


def is_free(number: int) -> bool:
    """Whether a program could listen on that port now, on the loopback address or on all."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("0.0.0.0", number))
        except OSError:
            return False
    return True


def choose(uid: str, run: int, taken: set[int]) -> int | None:
    """A free port that is none of `taken` (those of other pods, which may be about to listen); None: none was found."""
    return next((number for number in candidates(uid, run) if number not in taken and is_free(number)), None)
