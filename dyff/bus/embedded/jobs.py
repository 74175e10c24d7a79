"""The operations on the log. Each job's `apply` is a write for the group-commit writer; jobs share transactions.

A job either does all of its work in the transaction or raises one of our errors before it has done any, so that the other
jobs in the same transaction are not affected. Its result is returned to the caller once it is durable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from dyff.bus import port, topics
from dyff.bus.embedded import logfile, transactions
from dyff.kernel import errors, ids


class Append(msgspec.Struct, frozen=True):
    """Append messages, each to its partition. Returns their offsets.

    `owner`: name and epoch of the owner that appends; None for anyone. `commit`: recorded in the same transaction.
    """

    messages: Sequence[tuple[logfile.Partition, port.Message]]
    owner: tuple[str, int] | None = None
    commit: port.Commit | None = None

    def apply(self, transaction: transactions.Transaction) -> list[int]:
        if self.owner is not None:
            name, epoch = self.owner
            if transaction.connection.execute("SELECT epoch FROM owners WHERE name = ?", (name,)).get != epoch:
                raise errors.Fenced(f"another owner {name} was opened since")
        if self.commit is not None:
            CommitOffsets([self.commit]).apply(transaction)
        return transaction.append(self.messages)


class CommitOffsets(msgspec.Struct, frozen=True):
    """Record the next offsets of groups."""

    commits: Sequence[port.Commit]

    def apply(self, transaction: transactions.Transaction) -> None:
        transaction.connection.executemany(
            "INSERT INTO committed VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET offset = excluded.offset",
            [(each.group, each.topic, each.partition, each.offset) for each in self.commits],
        )


class Own(msgspec.Struct, frozen=True):
    """Become the owner called `name`. Returns its epoch, which is higher than any before."""

    name: str

    def apply(self, transaction: transactions.Transaction) -> int:
        statement = "INSERT INTO owners VALUES (?, 1) ON CONFLICT DO UPDATE SET epoch = epoch + 1 RETURNING epoch"
        return int(transaction.connection.execute(statement, (self.name,)).get)


class CreateTopics(msgspec.Struct, frozen=True):
    """Create the topics that do not exist yet; all of them or, if one conflicts, none."""

    specs: Sequence[port.TopicSpec]
    ids: ids.Ids

    def apply(self, transaction: transactions.Transaction) -> None:
        known = {each.name: each for each in logfile.stored_topics(transaction.connection)}
        for spec in self.specs:
            topic = known.get(spec.name)
            if topic is not None:
                topics.require_same(topic, spec)
        for spec in self.specs:
            if spec.name not in known:
                known[spec.name] = self._create(transaction, spec)

    def _create(self, transaction: transactions.Transaction, spec: port.TopicSpec) -> port.Topic:
        connection = transaction.connection
        topic = port.Topic(spec.name, spec.partitions, spec.compacted, self.ids.new())
        connection.execute("INSERT INTO topics VALUES (?, ?, ?, ?)", (topic.name, topic.partitions, int(topic.compacted), topic.epoch))
        first_id = int(connection.execute("SELECT coalesce(max(id), 0) + 1 FROM partitions").get)
        made = []
        for partition in range(spec.partitions):
            logfile.create_partition(connection, first_id + partition, spec.name, partition)
            made.append(logfile.Partition(first_id + partition, spec.name, partition, port.Range(0, 0)))
        transaction.created.append((topic, made))
        return topic


class Truncate(msgspec.Struct, frozen=True):
    """Delete the records of a partition below an offset."""

    partition: logfile.Partition
    below: int

    def apply(self, transaction: transactions.Transaction) -> None:
        transaction.connection.execute(f"DELETE FROM log_{self.partition.id} WHERE last < ?", (self.below,))
        transaction.connection.execute("UPDATE partitions SET first = ? WHERE id = ?", (self.below, self.partition.id))
        transaction.firsts[self.partition.id] = self.below


class Rewrite(msgspec.Struct, frozen=True):
    """Replace batches of a compacted partition that contained superseded records."""

    partition: logfile.Partition
    batches: Mapping[int, logfile.Batch | None]

    @property
    def size(self) -> int:
        return sum(len(each.body) for each in self.batches.values() if each is not None)

    def apply(self, transaction: transactions.Transaction) -> None:
        for first, batch in self.batches.items():
            logfile.rewrite(transaction.connection, self.partition.id, first, batch)
        transaction.thinned.add(self.partition.id)


class Compacted(msgspec.Struct, frozen=True):
    """Record that a partition is compacted below `clean`, and that `kept` records are left there."""

    partition: logfile.Partition
    clean: int
    kept: int

    def apply(self, transaction: transactions.Transaction) -> None:
        transaction.connection.execute("UPDATE partitions SET clean = ?, kept = ? WHERE id = ?", (self.clean, self.kept, self.partition.id))
