"""Folds all events of a partition again, for a verification. Holds the newest state of each entity in its written form."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator

import msgspec

from dyff.bus import envelope, port, topics
from dyff.consumers.aggregator import partitions
from dyff.entities import folding
from dyff.kernel.positions import Epochs

BATCH = 1000
WAIT_S = 1.0
_RECENT = 4096
"""Number of states that are kept decoded."""


class Made(msgspec.Struct, frozen=True, gc=False):
    """The state of an entity according to its events. `version`: offset of the last event."""

    kind: str
    version: int
    message: port.Message


class Refolding:
    """One partition. `newest`: by key. `quarantined`: by offset, the values of the events that cannot be folded."""

    def __init__(self, partition: int, epochs: Epochs, version: int = 1) -> None:
        """`epochs`: of the events. `version`: of the fold, at the first of them."""
        self.newest: dict[bytes, Made] = {}
        self.quarantined: dict[int, bytes] = {}
        self._partition, self._epochs, self._version = partition, epochs, version
        self._recent: OrderedDict[bytes, folding.State] = OrderedDict()

    def fold(self, record: port.Record) -> Made | None:
        """Fold the next event, and return the state that it left; None if it left none.

        Raises:
            NewerSchema: a newer release wrote the event.
        """
        try:
            version = envelope.marker(record)
            if version is not None:
                self._version = max(self._version, version)
                return None
            after, _, message = partitions.fold_one(record, self._state(record.key), self._epochs, self._version)
        except partitions.POISON:
            self.quarantined[record.offset] = record.value or b""
            return None
        if after is None or message is None:
            return None
        made = self.newest[record.key] = Made(after.kind, record.offset, message)
        self._recent[record.key] = after
        self._recent.move_to_end(record.key)
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        return made

    def _state(self, key: bytes) -> folding.State | None:
        known = self._recent.get(key)
        if known is not None or key not in self.newest:
            return known
        message = self.newest[key].message
        return envelope.state(port.Record(topics.STATE, self._partition, 0, 0, message.key, message.value, message.headers))


async def records(history: port.History, topic: str, partition: int, start: int, stop: int) -> AsyncIterator[port.Record]:
    """The records with `start <= offset < stop`, in order.

    Raises:
        Unavailable: the bus does not answer.
    """
    if start >= stop:
        return
    async with history.read(topic, partition, start) as reader:
        while reader.position < stop:
            for record in await reader.poll(BATCH, WAIT_S):
                if record.offset < stop:
                    yield record
