"""Administration of topics: create, inspect, configure, truncate, look up records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import anyio
import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka import errors as kafka
from aiokafka.admin import AIOKafkaAdminClient, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from dyff.bus import port, topics
from dyff.bus.kafka import added, codes, lookups, requests
from dyff.bus.kafka.clients import Kept, consumer
from dyff.bus.kafka.connecting import Connection, translated
from dyff.kernel import degradation, errors

T = TypeVar("T")

COMPACTION_LAG = timedelta(days=1)
"""Longer than any pause of an owner that we tolerate."""

TOMBSTONE_LAG = timedelta(days=28)
"""Time within which a reader that starts at the beginning must reach a tombstone."""

VISIBLE_S = 10.0
"""How long to wait until a broker shows what it was asked to configure."""

_LOOK_S = 0.05
_POLICY = "cleanup.policy"
_AT_LEAST = frozenset({"max.message.bytes", "min.compaction.lag.ms", "delete.retention.ms"})
_MOST_REPLICAS = 3
_TRIES = 4
_PAUSE_S = 0.25
_TRANSIENT = (
    kafka.NotLeaderForPartitionError,
    kafka.LeaderNotAvailableError,
    kafka.NotControllerError,
    kafka.GroupCoordinatorNotAvailableError,
    kafka.NotCoordinatorForGroupError,
    kafka.GroupLoadInProgressError,
    kafka.NodeNotReadyError,
    kafka.KafkaConnectionError,
)
_UNKNOWN_TOPIC = kafka.UnknownTopicOrPartitionError.errno


class _Admin(AIOKafkaAdminClient):
    """An admin client with the same `stop` as the other clients."""

    async def stop(self) -> None:
        await self.close()


class Described(msgspec.Struct, frozen=True):
    """A topic according to the metadata. `leaders`: the number of partitions that have a leader."""

    name: str
    partitions: int
    epoch: str
    leaders: int


class Administration:
    """Manages topics. Safe for concurrent use."""

    def __init__(self, connection: Connection, troubles: degradation.Troubles) -> None:
        """Connects on first use. `troubles`: where partitions are reported that someone has added."""
        self._connection, self._troubles = connection, troubles
        self._admin: Kept[_Admin] = Kept(lambda: _Admin(**connection.options()), "connecting to Kafka")
        self._looking: Kept[AIOKafkaConsumer] = Kept(lambda: consumer(connection), "connecting to Kafka")

    async def close(self) -> None:
        """Close the connections."""
        await self._admin.close()
        await self._looking.close()

    async def create(self, specs: Sequence[port.TopicSpec]) -> None:
        """See `Bus.create_topics`."""
        known = {spec.name: await self._found(spec.name) for spec in specs}
        for spec in specs:
            topic = known[spec.name]
            if topic is not None:
                topics.require_same(topic, spec)
        missing = [spec for spec in specs if known[spec.name] is None]
        if missing:
            await self._create(missing)
            await self._wait_for_leaders(missing)

    async def amend(self, specs: Sequence[port.TopicSpec], *, dry_run: bool) -> list[str]:
        """See `Bus.amend_topics`. A configuration that the broker doesn't know can't be wrong."""
        problems, wrong = [], {}
        for spec in specs:
            described = await self._described(spec.name)
            if described is None:
                problems.append(f"topic {spec.name} is missing")
                continue
            found = await self._configs(spec.name)
            used = await self._used(described)
            topics.require_same(port.Topic(spec.name, used, spec.compacted, described.epoch), spec)
            wrong[spec.name] = amiss(found, self._kept(spec))
            problems += [f"topic {spec.name}: {name} is {found[name]}, needed is {value}" for name, value in wrong[spec.name].items()]
        if problems and not dry_run:
            for name, configs in wrong.items():
                if configs:
                    await self._set(name, configs)
            await self.create(specs)
        return problems

    async def topic(self, name: str) -> port.Topic:
        """See `Bus.topic`; never cached."""
        found = await self._found(name)
        if found is None:
            raise errors.NotFound(f"there is no topic {name}")
        return found

    async def ranges(self, topic: str, partitions: int) -> dict[int, port.Range]:
        """The committed offsets of a topic's partitions."""
        places = [TopicPartition(self._connection.named(topic), partition) for partition in range(partitions)]

        async def look(client: AIOKafkaConsumer) -> dict[int, port.Range]:
            first, end = await client.beginning_offsets(places), await client.end_offsets(places)
            return {each.partition: port.Range(first[each], end[each]) for each in places}

        return await self._tried(self._looking, f"looking at {topic}", look)

    async def committed(self, group: str, topic: str, partitions: int) -> dict[int, int]:
        """The next offsets of a group, by partition."""
        request = requests.OffsetsRequest(self._connection.named(group), self._connection.named(topic), partitions)

        async def look(client: _Admin) -> dict[int, int]:
            coordinator = await client.find_coordinator(self._connection.named(group))
            while True:
                response = await client._send_request(request, coordinator)
                places = [place for _, found, _ in response.topics for place in found]
                answered = {response.error_code, *(place[4] for place in places)} - {0}
                if not answered:
                    return {place[0]: place[1] for place in places if place[1] >= 0}
                if answered != {requests.UNSTABLE_OFFSET_COMMIT}:
                    raise codes.error((answered - {requests.UNSTABLE_OFFSET_COMMIT}).pop(), group)
                await anyio.sleep(_PAUSE_S / 10)

        return await self._tried(self._admin, f"looking at the offsets of {group}", look)

    async def lookup(self, topic: str, partition: int, offsets: Collection[int]) -> dict[int, port.Record]:
        """See `Bus.lookup`."""
        place = TopicPartition(self._connection.named(topic), partition)

        async def look(client: AIOKafkaConsumer) -> dict[int, port.Record]:
            return await lookups.records(client._client, topic, place, offsets)

        return await self._tried(self._looking, f"looking into {topic}/{partition}", look)

    async def truncate(self, topic: str, partition: int, below: int) -> None:
        """Delete the records below an offset."""
        place = TopicPartition(self._connection.named(topic), partition)

        async def delete(client: _Admin) -> None:
            await client.delete_records({place: RecordsToDelete(before_offset=below)})

        await self._tried(self._admin, f"truncating {topic}/{partition}", delete)

    async def alter(self, topic: str, configs: dict[str, str]) -> None:
        """Set a topic's configuration; anything not named is reset to the broker's default.

        Returns when the broker shows the new values, which it does a moment after it has accepted them, or after `VISIBLE_S`.
        """

        async def set_them(client: _Admin) -> None:
            await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, self._connection.named(topic), configs)])

        await self._tried(self._admin, f"configuring {topic}", set_them)
        with anyio.move_on_after(VISIBLE_S):
            while amiss(await self._configs(topic), configs):  # noqa: ASYNC110 - the broker announces nothing
                await anyio.sleep(_LOOK_S)

    async def _found(self, name: str) -> port.Topic | None:
        described = await self._described(name)
        if described is None:
            return None

        used = await self._used(described)
        return port.Topic(name, used, "compact" in (await self._configs(name))[_POLICY], described.epoch)

    async def _used(self, described: Described) -> int:
        """The number of partitions that the log has, without those that someone has added.

        Raises:
            Misconfigured: an added partition has records.
        """
        name, there = described.name, described.partitions
        used = min(there, self._connection.used.get(name, there))
        if used == there:
            self._troubles.clear(added.trouble(name))
            return there
        added.require_empty(name, used, await self.ranges(name, there))
        added.report(self._troubles, name, there, used)
        return used

    async def _configs(self, name: str) -> dict[str, str]:
        """A topic's configuration, in the brokers' notation."""

        async def look(client: _Admin) -> dict[str, str]:
            (response,) = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, self._connection.named(name))])
            (_, message, _, _, entries) = response.resources[0]
            found = {entry[0]: entry[1] for entry in entries}
            if _POLICY not in found:
                raise kafka.UnknownTopicOrPartitionError(message)
            return found

        return await self._tried(self._admin, f"looking at {name}", look)

    async def _set(self, name: str, configs: Mapping[str, str]) -> None:
        """Change some entries of a topic's configuration. Any broker forwards the request to the controller."""
        request = requests.SetConfigsRequest(self._connection.named(name), configs)

        async def change(client: _Admin) -> None:
            response = await client._send_request(request)
            for code, message, _, _ in response.responses:
                if code:
                    raise codes.error(code, f"{name}: {message}")

        await self._tried(self._admin, f"configuring {name}", change)

    async def _described(self, name: str) -> Described | None:
        async def look(client: _Admin) -> Described | None:
            response = await client._send_request(requests.TopicsRequest([self._connection.named(name)]))
            code, _, topic_id, _, partitions, _, _ = response.topics[0]
            if code == _UNKNOWN_TOPIC:
                return None
            if code:
                raise codes.error(code, name)
            return Described(name, len(partitions), topic_id.hex(), sum(each[2] >= 0 for each in partitions))

        return await self._tried(self._admin, f"looking at {name}", look)

    async def _create(self, specs: Sequence[port.TopicSpec]) -> None:
        async def create(client: _Admin) -> None:
            replicas = self._connection.replication
            if replicas is None:
                replicas = min(_MOST_REPLICAS, len((await client.describe_cluster())["brokers"]))
            response = await client.create_topics([self._new(spec, replicas) for spec in specs])
            for name, code, message in response.topic_errors:
                if code not in (0, kafka.TopicAlreadyExistsError.errno):
                    raise codes.error(code, f"{name}: {message}")

        await self._tried(self._admin, f"creating {', '.join(spec.name for spec in specs)}", create)

    def _new(self, spec: port.TopicSpec, replicas: int) -> NewTopic:
        configs = {**self._kept(spec), "min.insync.replicas": str(min(2, replicas))}
        return NewTopic(self._connection.named(spec.name), spec.partitions, replicas, topic_configs=configs)

    def _kept(self, spec: port.TopicSpec) -> dict[str, str]:
        """Nothing is ever deleted by age: only by compaction or an explicit truncation."""
        configs = {
            _POLICY: "compact" if spec.compacted else "delete",
            "retention.ms": "-1",
            "retention.bytes": "-1",
            "message.timestamp.type": "LogAppendTime",
            "max.message.bytes": str(self._connection.max_message_bytes + 2**16),
        }
        if spec.compacted:
            configs |= {"min.compaction.lag.ms": _ms(COMPACTION_LAG), "delete.retention.ms": _ms(TOMBSTONE_LAG)}
        return configs

    async def _wait_for_leaders(self, specs: Sequence[port.TopicSpec]) -> None:
        """For a short time after its creation, a topic's partitions have no leader."""
        waiting = {spec.name: spec.partitions for spec in specs}
        with anyio.move_on_after(self._connection.request_timeout_s):
            while waiting:
                for name, partitions in list(waiting.items()):
                    found = await self._described(name)
                    if found is not None and found.leaders == partitions:
                        del waiting[name]
                if waiting:
                    await anyio.sleep(_PAUSE_S / 5)
        if waiting:
            raise errors.Unavailable(f"topic {', '.join(waiting)} was created, but has no leader for all of its partitions yet")

    async def _tried(self, kept: Kept[Any], what: str, call: Callable[[Any], Awaitable[T]]) -> T:
        """The result of the call. It is retried, with a new client if necessary, while brokers move or restart."""
        with translated(what):
            for attempt in range(_TRIES):
                client = await kept.get()
                try:
                    with anyio.fail_after(self._connection.request_timeout_s):
                        return await call(client)
                except (*_TRANSIENT, TimeoutError, OSError):
                    await kept.discard(client)
                    if attempt == _TRIES - 1:
                        raise
                    await anyio.sleep(_PAUSE_S * 2**attempt)
        raise AssertionError("unreachable")


def amiss(found: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """The entries to set. An entry that the brokers do not report is unknown to them; where a minimum is wanted, more is fine."""
    return {
        name: value
        for name, value in wanted.items()
        if name in found and found[name] != value and not (name in _AT_LEAST and int(found[name]) > int(value))
    }


def _ms(lag: timedelta) -> str:
    return str(lag // timedelta(milliseconds=1))
