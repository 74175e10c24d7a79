"""Publishing, and the fenced owner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import anyio
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka import errors as kafka

from dyff.bus import port, topics
from dyff.bus.kafka import codes
from dyff.bus.kafka.clients import Kept, producer
from dyff.bus.kafka.connecting import FENCED, Connection, needs_an_operator, ours
from dyff.bus.kafka.log_clock import LogClock
from dyff.kernel import errors
from dyff.kernel.positions import Position

DELIVERY_S = 60.0
"""An idempotent producer retries forever if the broker does not answer; after this time we give up, with an unknown outcome."""

Placed = tuple[int, port.Message]
"""A message and its partition."""


def placed(topic: port.Topic, messages: Sequence[port.Message], max_bytes: int) -> list[Placed]:
    """Each message with its partition.

    Raises:
        NotFound: the partition does not exist.
        TooLarge: a message is over the limit.
    """
    found = []
    for message in messages:
        size = len(message.key) + len(message.value or b"")
        for name, value in message.headers:
            size += len(name) + len(value)
        if size > max_bytes:
            raise errors.TooLarge(f"a message has {size} bytes; the limit is {max_bytes}")
        at = topics.partition_of(message.key, topic.partitions) if message.partition is None else message.partition
        if not 0 <= at < topic.partitions:
            raise errors.NotFound(f"topic {topic.name} has the partitions 0 to {topic.partitions - 1}, not {at}")
        found.append((at, message))
    return found


class Publisher:
    """Publishes with one producer, which is replaced when it is no longer usable."""

    def __init__(self, connection: Connection, time: LogClock) -> None:
        """Connects on first use. `time`: learns from the acknowledgements."""
        self._connection, self._time = connection, time
        self._kept: Kept[AIOKafkaProducer] = Kept(lambda: producer(connection), "connecting to Kafka")

    async def close(self) -> None:
        """Deliver the queued messages, then close the connection."""
        await self._kept.close()

    async def publish(self, topic: port.Topic, messages: Sequence[Placed]) -> list[Position]:
        """Returns once all messages are durable.

        Raises:
            Unavailable: nothing was appended.
            OutcomeUnknown: some may have been appended.
            Blocked: the broker does not allow it; nothing was appended.
        """
        client = await self._kept.get()
        sent: list[asyncio.Future[Any]] = []
        started_ms = self._time.now_ms()
        try:
            with anyio.fail_after(DELIVERY_S):
                await send(client, self._connection.named(topic.name), messages, sent)
                outcomes = await asyncio.gather(*sent)
                self._time.compare(started_ms, outcomes)
                return positions(topic, outcomes)
        except (kafka.MessageSizeTooLargeError, kafka.RecordListTooLargeError) as error:
            raise errors.TooLarge(ours(f"publishing to {topic.name}", error).message) from error
        except (kafka.KafkaError, OSError, TimeoutError) as error:
            # After an error the producer's state is unpredictable, so it is replaced; the commands' IDs identify duplicates.
            await self._kept.discard(client)
            refused = ours(f"publishing to {topic.name}", error)
            if not sent or (len(messages) == 1 and needs_an_operator(error)):
                raise refused from error
            raise errors.OutcomeUnknown(refused.message) from error


async def send(client: AIOKafkaProducer, topic: str, messages: Sequence[Placed], sent: list[asyncio.Future[Any]]) -> None:
    """Pass messages to the producer, in order; their outcomes are added to `sent`."""
    for partition, message in messages:
        sent.append(await client.send(topic, value=message.value, key=message.key, partition=partition, headers=list(message.headers)))


Place = tuple[int, int]
"""The number of a batch, and an index in it."""


async def send_together(client: AIOKafkaProducer, topic: str, messages: Sequence[Placed], sent: list[asyncio.Future[Any]]) -> list[Place]:
    """Like `send`, for many messages of one writer: in as few batches as possible, with one outcome per batch. Returns their places."""
    by_partition: dict[int, list[int]] = {}
    for number, (partition, _) in enumerate(messages):
        by_partition.setdefault(partition, []).append(number)
    places = [(0, 0)] * len(messages)
    for partition, numbers in by_partition.items():
        batch = client.create_batch()
        for number in numbers:
            if not _added(batch, messages[number][1]):
                sent.append(await client.send_batch(batch, topic, partition=partition))
                batch = client.create_batch()
                _added(batch, messages[number][1])  # the first one always fits
            places[number] = (len(sent), batch.record_count() - 1)
        sent.append(await client.send_batch(batch, topic, partition=partition))
    return places


def _added(batch: Any, message: port.Message) -> bool:
    return batch.append(timestamp=None, key=message.key, value=message.value, headers=list(message.headers)) is not None


def positions(topic: port.Topic, outcomes: Sequence[Any]) -> list[Position]:
    """The positions of the messages."""
    return [Position(topic.epoch, each.partition, each.offset) for each in outcomes]


class KafkaOwner:
    """A transactional producer. See `dyff.bus.port.Owner`. After any error but a refusal it is no longer usable."""

    def __init__(
        self, client: AIOKafkaProducer, connection: Connection, known: Callable[[str], Awaitable[port.Topic]], time: LogClock
    ) -> None:
        """`known`: returns a topic by its name. `time`: learns from the acknowledgements."""
        self._client, self._connection, self._topic, self._time = client, connection, known, time
        self._one = anyio.Lock()
        self._lost: errors.DyffError | None = None

    @property
    def spacing(self) -> int:
        return 1  # the transaction's end

    async def fence(self) -> None:
        """Become the owner: from now on the previous one is fenced.

        Raises:
            Unavailable: the broker does not answer.
        """
        await self._client.begin_transaction()
        await self._client.abort_transaction()

    async def append(self, topic: str, messages: Sequence[port.Message], commit: port.Commit | None = None) -> list[Position]:
        known = await self._topic(topic)
        if commit is not None:
            await self._topic(commit.topic)
        wanted = placed(known, messages, self._connection.max_message_bytes)
        if not wanted and commit is None:
            return []
        async with self._one:
            if self._lost is not None:
                raise self._lost
            try:
                return await self._append(known, wanted, commit)
            except FENCED as error:
                self._lost = errors.Fenced("another owner of this name was opened since")
                raise self._lost from error
            except errors.DyffError as error:
                self._lost = error
                raise
            except BaseException:
                self._lost = errors.OutcomeUnknown("an append was interrupted: open a new owner and look")
                raise

    async def _append(self, topic: port.Topic, wanted: Sequence[Placed], commit: port.Commit | None) -> list[Position]:
        sent: list[asyncio.Future[Any]] = []
        committing, started_ms = False, self._time.now_ms()
        try:
            with anyio.fail_after(DELIVERY_S):
                await self._client.begin_transaction()
                places = await send_together(self._client, self._connection.named(topic.name), wanted, sent)
                # Offsets are added after the records: for a moment, the broker refuses records of a transaction that is being changed.
                found = await asyncio.gather(*sent)
                self._time.compare(started_ms, found)
                if commit is not None:
                    offsets = {TopicPartition(self._connection.named(commit.topic), commit.partition): commit.offset}
                    await self._client.send_offsets_to_transaction(offsets, self._connection.named(commit.group))
                committing = True
                await self._client.commit_transaction()
                return [Position(topic.epoch, found[batch].partition, found[batch].offset + place) for batch, place in places]
        except FENCED:
            raise
        except (kafka.KafkaError, OSError, TimeoutError, KeyError) as error:
            # A transaction that was not committed is never visible: the next owner's fencing aborts it.
            kind = errors.OutcomeUnknown if committing else errors.Unavailable
            raise kind(f"appending to {topic.name}: {codes.row_of(error).advice} ({codes.shown(error)})") from error
        finally:
            for each in sent:
                each.cancel()
