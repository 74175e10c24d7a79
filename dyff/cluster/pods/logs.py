"""What a pod's containers wrote, as `Cluster.logs` wants it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from dyff.cluster import port
from dyff.kernel import clock

_STAMP_CHARS = len("2026-01-01T00:00:00.000000000Z")


def read(
    pods_dir: Path, pod: port.Object, *, container: str | None = None, since: str | None = None, limit: int | None = None
) -> tuple[port.LogLine, ...]:
    """The last `limit` lines after `since` of a pod's container, or of all, init containers first. Blocks on the disk.

    `pod`: the Pod object. Empty where it wrote nothing or its directory is gone. Lines that rotation dropped are not there.
    """
    names = [each["name"] for each in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"])]
    root = pods_dir / pod["metadata"]["uid"]
    # A name that leaves the directory belongs to a pod that was refused.
    wanted = [name for name in names if container in (None, name) and "/" not in name]
    lines: Iterator[port.LogLine] = chain.from_iterable(_lines(root / f"{name}.log") for name in wanted)
    if since is not None:
        after = _comparable(since)
        lines = (line for line in lines if line.timestamp > after)
    return tuple(lines if limit is None else deque(lines, maxlen=limit))


def _lines(path: Path) -> Iterator[port.LogLine]:
    for part in (path.with_name(f"{path.name}.1"), path):
        try:
            file = open(part, "rb")  # noqa: SIM115
        except FileNotFoundError:
            continue
        with file:
            for raw in file:
                if not raw.endswith(b"\n"):
                    break  # still being written
                stamp, _, message = raw[:-1].decode(errors="replace").partition(" ")
                if len(stamp) == _STAMP_CHARS:
                    yield port.LogLine(stamp, message)


def _comparable(moment: str) -> str:
    """RFC 3339 with any precision and zone as the text that compares with ours: nanoseconds, UTC."""
    if not moment.endswith("Z"):
        moment = clock.iso(clock.parse_iso(moment))
    seconds, _, fraction = moment.removesuffix("Z").partition(".")
    return f"{seconds}.{fraction:0<9}Z"
