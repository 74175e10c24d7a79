"""The loopback port of a Service: assigned at its creation, as an API server assigns a cluster IP, and kept for its lifetime."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable

from dyff.cluster import port
from dyff.cluster.embedded import defaults
from dyff.kernel import errors

HOST = "127.0.0.1"
RANGE = range(20_000, 32_000)
"""Below the ephemeral ports of operating systems, so that outgoing connections rarely take a port of a stopped server."""

IsFree = Callable[[int], bool]


def of(obj: port.Object) -> int | None:
    """The loopback port of a Service or Pod; None if it has none (yet)."""
    text = obj["metadata"].get("annotations", {}).get(defaults.LOCAL_PORT, "")
    return int(text) if text.isdecimal() else None


def door(pod: port.Object) -> str | None:
    """The Unix socket by which a Pod in a network of its own is reached, below the directory of the pods; None if its port is a port of
    this machine.
    """
    found = pod["metadata"].get("annotations", {}).get(defaults.LOCAL_SOCKET)
    return str(found) if found else None


def is_free(number: int) -> bool:
    """Whether no process listens on that port now."""
    with socket.socket() as probe:
        try:
            probe.bind((HOST, number))
        except OSError:
            return False
    return True


def assign(service: port.Object, others: Iterable[port.Object], free: IsFree = is_free) -> port.Object:
    """Assign a free port that no other Service has to a new Service.

    Raises:
        Unavailable: no port is left.
    """
    taken = {of(each) for each in others}
    start = int(service["metadata"]["uid"].replace("-", ""), 16) % len(RANGE)
    for number in (*RANGE[start:], *RANGE[:start]):
        if number not in taken and free(number):
            annotations = service["metadata"].get("annotations", {}) | {defaults.LOCAL_PORT: str(number)}
            return {**service, "metadata": {**service["metadata"], "annotations": annotations}}
    raise errors.Unavailable(f"no port from {RANGE.start} to {RANGE.stop - 1} is free for the Service {service['metadata']['name']}")
