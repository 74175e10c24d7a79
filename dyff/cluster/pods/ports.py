"""Loopback ports for pods that listen."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Iterator, Mapping

from dyff.cluster.pods import directory, refusals, specs

_FIRST, _END = 12000, 20000
"""Below the range of Services, and below the ephemeral ports for outgoing connections."""
_TRIES = 200


def choose(pod: specs.Pod, facts: directory.Facts, taken: Mapping[str, int]) -> int | None:
    """The port for the next run: the previous one if it is not taken, otherwise another one. None if the pod does not listen.

    `taken`: ports of all pods, by uid. Blocks briefly.

    Raises:
        Refused: no port is free.
    """
    if not pod.main.ports:
        return None
    others = {number for uid, number in taken.items() if uid != pod.metadata.uid}
    before = facts.intent.port if facts.intent else None
    if before is not None and before not in others and _is_free(before):
        return before
    run = facts.intent.run + 1 if facts.intent else 0
    chosen = next((number for number in _candidates(pod.metadata.uid, run) if number not in others and _is_free(number)), None)
    if chosen is None:
        raise refusals.Refused(refusals.CREATE, f"no port between {_FIRST} and {_END} is free on this machine")
    return chosen


def _candidates(uid: str, run: int) -> Iterator[int]:
    """Candidate ports for a run, different for different pods and in a fixed order."""
    for attempt in range(_TRIES):
        digest = hashlib.sha256(f"{uid}/{run}/{attempt}".encode()).digest()
        yield _FIRST + int.from_bytes(digest[:4], "big") % (_END - _FIRST)


def _is_free(number: int) -> bool:
    """Whether any program could listen on that port now, at the loopback address or at all. Some programs do not set SO_REUSEADDR."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("0.0.0.0", number))
        except OSError:
            return False
    return True
