"""Position of an event in the log, and the map of positions that a client carries in order to read its own writes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Position(msgspec.Struct, frozen=True, gc=False):
    """(log epoch, partition, offset). Offsets of different epochs or partitions are never compared."""

    epoch: str
    partition: int
    offset: int

    def text(self) -> str:
        """The notation in headers: `epoch:partition:offset`."""
        return f"{self.epoch}:{self.partition}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Parse the output of `text`.

        Raises:
            ValueError: it is malformed.
        """
        epoch, partition, offset = text.rsplit(":", 2)
        return cls(epoch, int(partition), int(offset))


def header(epoch: str, ends: Mapping[int, int]) -> str:
    """The `Dyff-Position` header: for each partition, the offset below which all events must be visible."""
    if len(ends) == 1:
        ((partition, end),) = ends.items()
        return f"{epoch};{partition}={end}"
    return f"{epoch};" + ",".join(f"{partition}={end}" for partition, end in sorted(ends.items()))


def parse_header(text: str) -> tuple[str, dict[int, int]]:
    """Parse the output of `header` into the epoch and the map.

    Raises:
        ValueError: it is malformed.
    """
    epoch, _, rest = text.partition(";")
    pairs = (part.split("=", 1) for part in rest.split(",") if part)
    return epoch, {int(partition): int(end) for partition, end in pairs}
