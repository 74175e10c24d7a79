"""The replay: rebuilds the view from the state topic, next to the present one, and switches over when it has caught up."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import anyio.abc
import structlog

from dyff.bus import port, topics
from dyff.consumers import sink
from dyff.kernel import backoff, errors
from dyff.query import port as query_port

log = structlog.get_logger()

PATIENCE_S = 3.0
"""If the present view makes no progress for that long, its sink is not running, and the replay does not wait for it."""

_BATCH = 1000
_WAIT_S = 1.0
_AHEAD = 2
"""Number of batches that are read ahead while one is written."""
_LOOK_S = 0.05
_TRIES_S = 30.0
"""The replay fails if the database does not answer for that long."""


async def replay(history: port.History, query: query_port.QueryRebuilder, *, patience_s: float = PATIENCE_S) -> int:
    """Rebuild the view and switch over; returns the number of documents written.

    Raises:
        InUse: another replay is running.
        Fenced: the view was reset meanwhile; start again.
        NotFound: the log does not exist.
        NewerSchema: a newer release wrote a state.
        Unavailable: an engine does not answer.
    """
    epoch = (await history.topic(topics.STATE)).epoch
    async with query.rebuild() as rebuild:
        work = _Replay(history, rebuild, epoch)
        await work.follow({partition: held.end for partition, held in (await history.ranges(topics.STATE)).items()})
        await _caught_up(query, epoch, work.positions, patience_s)
        beyond: dict[int, int] = {}
        while needed := await rebuild.promote(beyond):
            held = await history.ranges(topics.STATE)  # read after the view's position, so a log that is shorter has lost its end
            gone = {partition: end for partition, end in needed.items() if end > held[partition].end}
            if gone:
                log.warning("view-beyond-log", seen=gone, log_ends={partition: held[partition].end for partition in gone})
            beyond |= gone
            needed = {partition: min(end, held[partition].end) for partition, end in needed.items()}
            log.info("replay-behind", needed=needed)
            await work.follow(needed)
    log.info("view-replaced", documents=work.written, positions=dict(work.positions))
    return work.written


class _Replay:
    def __init__(self, history: port.History, rebuild: query_port.Rebuild, epoch: str) -> None:
        self.positions: dict[int, int] = {}
        self.written = 0
        self._history, self._rebuild, self._epoch = history, rebuild, epoch

    async def follow(self, ends: Mapping[int, int]) -> None:
        """Advance the new view to these offsets of the state topic."""
        send, receive = anyio.create_memory_object_stream[tuple[int, int, tuple[port.Record, ...]]](_AHEAD)
        async with anyio.create_task_group() as group:
            group.start_soon(self._read, ends, send)
            async with receive:
                async for partition, position, records in receive:
                    await self._write(partition, position, records)

    async def _read(self, ends: Mapping[int, int], send: anyio.abc.ObjectSendStream[tuple[int, int, tuple[port.Record, ...]]]) -> None:
        async with send:
            for partition, end in sorted(ends.items()):
                start = self.positions.get(partition, (await self._history.ranges(topics.STATE))[partition].first)
                if start >= end:
                    await send.send((partition, start, ()))
                    continue
                async with self._history.read(topics.STATE, partition, start) as reader:
                    while reader.position < end:
                        records = await reader.poll(_BATCH, _WAIT_S)
                        inside = tuple(each for each in records if each.offset < end)
                        await send.send((partition, min(reader.position, end), inside))

    async def _write(self, partition: int, position: int, records: tuple[port.Record, ...]) -> None:
        documents, reached = sink.view_of(records, self._epoch, partition, position)
        newest = {(each.collection, each.id): each for each in sorted(documents, key=lambda each: each.version)}
        since, delays = anyio.current_time(), backoff.delays()
        while True:
            try:
                self.written += await self._rebuild.apply(list(newest.values()), reached)
            except errors.RetryLater as error:
                if anyio.current_time() - since > _TRIES_S:
                    raise
                log.warning("replay-waits", **errors.details(error))
                await anyio.sleep(backoff.pause_s(next(delays), error.retry_after_s, _TRIES_S))
            else:
                self.positions[partition] = position
                return


async def _caught_up(query: query_port.QueryRebuilder, epoch: str, ends: Mapping[int, int], patience_s: float) -> None:
    """Wait until the present view has caught up with the new one, so that readers of both see the same progress."""
    last, moved_at = query_port.Reached(), anyio.current_time()
    while True:
        reached = await query.reached()
        if reached.epoch != epoch or all(reached.state.get(partition, 0) >= end for partition, end in ends.items()):
            return
        if reached != last:
            last, moved_at = reached, anyio.current_time()
        elif anyio.current_time() - moved_at > patience_s:
            return
        await anyio.sleep(_LOOK_S)
