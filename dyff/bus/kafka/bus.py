"""The bus port on Kafka."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager

from aiokafka import TopicPartition

from dyff.bus import port
from dyff.bus.kafka import clients, consuming, log_clock, producing
from dyff.bus.kafka.administration import Administration
from dyff.bus.kafka.connecting import Connection, translated
from dyff.kernel import clock, degradation, errors
from dyff.kernel.positions import Position


class KafkaBus:
    """Topics of a Kafka cluster. See `dyff.bus.port.Bus`."""

    def __init__(self, connection: Connection, troubles: degradation.Troubles | None = None) -> None:
        """Use `open`."""
        self._connection = connection
        self._administration = Administration(connection, troubles or degradation.Troubles())
        self._clock = log_clock.LogClock(clock.SystemClock())
        self._publisher = producing.Publisher(connection, self._clock)
        self._topics: dict[str, port.Topic] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, connection: Connection, troubles: degradation.Troubles | None = None) -> AsyncIterator[KafkaBus]:
        """A bus on these brokers, which are contacted on first use. `troubles`: where faults that are worked around are reported; None
        if they are only logged.
        """
        bus = cls(connection, troubles)
        try:
            yield bus
        finally:
            await bus._publisher.close()
            await bus._administration.close()

    @property
    def administration(self) -> Administration:
        """Administrative operations beyond the port."""
        return self._administration

    async def create_topics(self, specs: Sequence[port.TopicSpec]) -> None:
        await self._administration.create(specs)

    async def amend_topics(self, specs: Sequence[port.TopicSpec], *, dry_run: bool = False) -> list[str]:
        return await self._administration.amend(specs, dry_run=dry_run)

    async def topic(self, name: str) -> port.Topic:
        found = self._topics[name] = await self._administration.topic(name)
        return found

    async def ranges(self, topic: str) -> dict[int, port.Range]:
        return await self._administration.ranges(topic, (await self._known(topic)).partitions)

    async def committed(self, group: str, topic: str) -> dict[int, int]:
        return await self._administration.committed(group, topic, (await self._known(topic)).partitions)

    async def lookup(self, topic: str, partition: int, offsets: Collection[int]) -> dict[int, port.Record]:
        known = await self._known(topic)
        if not 0 <= partition < known.partitions:
            raise errors.NotFound(f"topic {topic} has the partitions 0 to {known.partitions - 1}, not {partition}")
        return await self._administration.lookup(topic, partition, offsets)

    async def publish(self, topic: str, messages: Sequence[port.Message]) -> list[Position]:
        known = await self._known(topic)
        placed = producing.placed(known, messages, self._connection.max_message_bytes)
        return await self._publisher.publish(known, placed) if placed else []

    def clock_offset_s(self) -> float | None:
        return self._clock.offset_s

    @asynccontextmanager
    async def subscribe(self, group: str, topic: str) -> AsyncIterator[consuming.KafkaSubscription]:
        known = await self._known(topic)
        async with clients.running(
            clients.consumer(self._connection, self._connection.named(group)), f"joining the group {group}"
        ) as client:
            subscription = consuming.KafkaSubscription(client, self._connection, group, known, self._administration)
            subscription.join()
            try:
                yield subscription
            finally:
                subscription.leave()

    @asynccontextmanager
    async def read(self, topic: str, partition: int, offset: int) -> AsyncIterator[consuming.KafkaReader]:
        known = await self._known(topic)
        if not 0 <= partition < known.partitions:
            raise errors.NotFound(f"topic {topic} has the partitions 0 to {known.partitions - 1}, not {partition}")
        place = TopicPartition(self._connection.named(topic), partition)
        async with clients.running(clients.consumer(self._connection), f"reading {topic}/{partition}") as client:
            reader = consuming.KafkaReader(client, known, place, offset, self._administration)
            await reader.require_inside()
            client.assign([place])
            client.seek(place, offset)
            yield reader

    @asynccontextmanager
    async def own(self, name: str) -> AsyncIterator[producing.KafkaOwner]:
        async with clients.running(
            clients.producer(self._connection, self._connection.named(name)), f"becoming the owner {name}"
        ) as client:
            owner = producing.KafkaOwner(client, self._connection, self._known, self._clock)
            with translated(f"becoming the owner {name}"):
                await owner.fence()
            yield owner

    async def _known(self, name: str) -> port.Topic:
        """A topic, cached from its first use: its partitions and its identity do not change during the life of a role."""
        return self._topics.get(name) or await self.topic(name)
