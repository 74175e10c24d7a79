"""Container logs, as the kubelet stores them: `<pods>/<pod uid>/<container>.log`, lines of an RFC 3339 time, a space and the message."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import IO

from dyff.cluster import port
from dyff.kernel import clock

_BLOCK_BYTES = 64 * 2**10


def read(directory: Path, containers: list[str], since: datetime | None, limit: int | None) -> tuple[port.LogLine, ...]:
    """The last `limit` lines after `since` of the containers, in their order; a file that is not there has none."""
    found: list[port.LogLine] = []
    for container in reversed(containers):
        for line in _lines_from_the_end(directory / f"{container}.log"):
            if limit is not None and len(found) >= limit:
                break
            moment = _moment(line.timestamp)
            if since is not None and moment is not None and moment <= since:
                break
            found.append(line)
    return tuple(reversed(found))


def _lines_from_the_end(path: Path) -> Iterator[port.LogLine]:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        for raw in _raw_from_the_end(file):
            timestamp, _, message = raw.decode("utf-8", "replace").partition(" ")
            yield port.LogLine(timestamp, message)


def _raw_from_the_end(file: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, the last one first, read in blocks: a log is long and its end is what is asked for.

    What follows the last line feed is still being written and is left out.
    """
    position = file.seek(0, os.SEEK_END)
    begun, ended = b"", False
    while position > 0:
        size = min(_BLOCK_BYTES, position)
        position -= size
        file.seek(position)
        first, *lines = (file.read(size) + begun).split(b"\n")
        if lines and not ended:
            lines.pop()
            ended = True
        yield from reversed(lines)
        begun = first
    if ended:
        yield begun


def _moment(timestamp: str) -> datetime | None:
    """None: it is no time, because the line was cut off by a crash."""
    try:
        return clock.parse_iso(timestamp)
    except ValueError:
        return None
