"""The loopback port of a Service: given at its creation, as an API server gives a cluster IP, and kept for its life."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from dyff.cluster import port
from dyff.cluster.embedded import defaults
from dyff.kernel import errors

HOST = "127.0.0.1"
RANGE = range(20_000, 32_000)
"""Below the ports that operating systems give to outgoing connections, so that these rarely take one of a stopped server."""

IsFree = Callable[[int], bool]


def of(obj: port.Object) -> int | None:
    """The loopback port of a Service or Pod; None: it has none (yet)."""
    text = obj["metadata"].get("annotations", {}).get(defaults.LOCAL_PORT, "")
    return int(text) if text.isdecimal() else None


def is_free(number: int) -> bool:
    """Whether nobody listens there now."""
    with socket.socket() as probe:
        try:
            probe.bind((HOST, number))
        except OSError:
            return False
    return True


def assign(service: port.Object, others: Iterable[port.Object], free: IsFree = is_free) -> port.Object:
    """The new Service with a port that no other Service has and that is free.

    Raises:
        Unavailable: there is none left.
    """
    taken = {of(each) for each in others}
    start = int(service["metadata"]["uid"].replace("-", ""), 16) % len(RANGE)
    for number in (*RANGE[start:], *RANGE[:start]):
        if number not in taken and free(number):
            annotations = service["metadata"].get("annotations", {}) | {defaults.LOCAL_PORT: str(number)}
            return {**service, "metadata": {**service["metadata"], "annotations": annotations}}
    raise errors.Unavailable(f"no port from {RANGE.start} to {RANGE.stop - 1} is free for the Service {service['metadata']['name']}")
