"""The progress object of a run, which the API serves."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from dyff.entities import codecs
from dyff.kernel import clock, errors
from dyff.objects import port
from dyff.workflows import background, endings

INTERVAL_S = 1.0
_WINDOW_S = 10.0


class Progress:
    """Counts items, and writes `{"stage", "done", "total", "rate"}` at most once a second, and at the start and the end.

    `stage` and `done` may be set at any time. `rate`: items per second over the last ten seconds. `describe`: returns what the run waits
    for or retries, which is written as `message`, unless it is empty. `tally`: returns how many items the client has done and given up,
    `{"done", "errors", "total"}`, which is written as `items` for the metrics; a later step passes it on (`items_of`).
    """

    def __init__(self, store: port.Objects, key: str, stage: str, total: int, done: int = 0, time: clock.Clock | None = None) -> None:
        """`total`: the number of all items. `done`: how many of them earlier attempts have finished."""
        self.stage, self.total, self.done = stage, total, done
        self._store, self._key = store, key
        self._clock = time or clock.SystemClock()
        self._seen: deque[tuple[float, int]] = deque([(self._clock.monotonic(), done)])
        self._written = b""
        self._silent = False
        self.describe: Callable[[], str] = str
        self.tally: Callable[[], dict[str, int]] = dict

    @asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Write the progress while the block runs, and once more at its end, even after an error or a cancellation."""
        await self._write()
        async with background.running(self._follow, self._write):
            yield

    async def _follow(self) -> None:
        while True:
            await anyio.sleep(INTERVAL_S)
            await self._write()

    def _value(self) -> bytes:
        now = self._clock.monotonic()
        self._seen.append((now, self.done))
        while now - self._seen[0][0] > _WINDOW_S and len(self._seen) > 2:
            self._seen.popleft()
        since, before = self._seen[0]
        rate = (self.done - before) / (now - since) if now > since else 0.0
        message = self.describe()
        said = {"message": message} if message else {}
        items = {"items": tally} if (tally := self.tally()) else {}
        return codecs.encode({"stage": self.stage, "done": self.done, "total": self.total, "rate": round(rate, 3), **said, **items})

    async def _write(self) -> None:
        """Write the progress if it has changed. A store that does not answer is reported once, and does not end the run."""
        value = self._value()
        if value == self._written:
            return
        try:
            await self._store.put(self._key, value)
            self._written, self._silent = value, False
        except (errors.RetryLater, errors.OutcomeUnknown) as error:
            if not self._silent:
                endings.say(f"the progress cannot be written: {error.message}")
            self._silent = True


async def items_of(store: port.Objects, key: str) -> dict[str, int]:
    """What an earlier step has written as `items`; empty if there is nothing, or it cannot be read: no run depends on it."""
    try:
        found = codecs.decode_object(await store.get(key)).get("items")
    except (errors.DyffError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
