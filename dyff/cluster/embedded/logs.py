"""Container logs as the shim writes them: `<container>.log`, lines of a time (RFC 3339 with nanoseconds, increasing), a space and
the message.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from dyff.cluster import port
from dyff.cluster.instants import instant
from dyff.kernel import clock

_BLOCK_BYTES = 64 * 2**10


def read(directory: Path, containers: Sequence[str], after: str | None, limit: int | None) -> tuple[port.LogLine, ...]:
    """The last `limit` lines of the containers, in their order. A missing file counts as empty. Blocks on the disk.

    `after`: only lines later than this `instant`; None for all lines.
    """
    found: list[port.LogLine] = []
    for container in reversed(containers):
        for line in _from_the_end(directory / f"{container}.log"):
            if len(found) == limit or (after is not None and instant(line.timestamp) <= after):
                break
            found.append(line)
    return tuple(reversed(found))


def _from_the_end(path: Path) -> Iterator[port.LogLine]:
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        for raw in _lines_from_the_end(file):
            timestamp, _, message = raw.decode("utf-8", "replace").partition(" ")
            if is_time(timestamp):
                yield port.LogLine(timestamp, message)


def _lines_from_the_end(file: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, the last one first. Reads blocks from the end, since logs are long and usually only the end is requested.

    Text after the last line feed is still being written and is left out.
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


def is_time(text: str) -> bool:
    """Whether a line's first word is a time. A crash of the machine can leave half a line."""
    try:
        clock.parse_iso(text)
    except ValueError:
        return False
    return True
