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


class Era(msgspec.Struct, frozen=True):
    """A time in the life of a log, which a restored backup ended. `epoch`: its identity then. `ends`: by partition, its end then."""

    epoch: str
    ends: dict[int, int]


class Epochs(msgspec.Struct, frozen=True):
    """The identities of a log: `now` that of what is appended, and the `earlier` ones, the oldest first.

    A restored backup continues the log that it is a copy of, under a new epoch. What it contains keeps its positions. So a position
    that the lost end of the original had is never taken for one of the restored log.
    """

    now: str
    earlier: tuple[Era, ...] = ()

    @property
    def before(self) -> tuple[str, ...]:
        """The earlier epochs."""
        return tuple(era.epoch for era in self.earlier)

    def at(self, partition: int, offset: int) -> str:
        """The epoch of the event at an offset."""
        return next((era.epoch for era in self.earlier if offset < era.ends.get(partition, 0)), self.now)

    def has(self, position: Position) -> bool:
        """Whether it is a position of this log."""
        return position.epoch == self.at(position.partition, position.offset)

    def known(self, epoch: str, ends: Mapping[int, int]) -> dict[int, int]:
        """What this log still has of the events below `ends`, which someone has seen in the log `epoch`: by partition, their end."""
        if epoch == self.now:
            return dict(ends)
        era = next((each for each in self.earlier if each.epoch == epoch), None)
        return {} if era is None else {partition: min(end, era.ends.get(partition, 0)) for partition, end in ends.items()}


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
