"""A cache of the objects of one kind: list, then watch, and list again if a watch cannot continue.

A watch can end, go silent, skip a deletion or be refused, and all of that must be noticed. So every watch has a time limit
(the server's and, a little later, ours), and one that delivers nothing for a while is not trusted. A watch that cannot continue,
that fails twice in a row, or that is silent leads to a new list, which is compared with the cache: objects that have vanished meanwhile
count as deleted. Besides, everything is listed again periodically. No answer of the server leads to requests without a pause.

    cache = watching.Cache(cluster, port.JOB, lambda job: workers.add(job["metadata"]["labels"]["dyff.io/id"]))
    await group.start(cache.run)          # returns after the first list
    cache.get("eval-...-client")
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType

import anyio
import anyio.abc
import msgspec
import structlog

from dyff.cluster import port
from dyff.kernel import backoff, errors, liveness

IDLE_S = 90.0
"""A watch that delivers nothing for this long is not trusted. API servers send a bookmark about once a minute."""
_LOOK_S = 0.2
_ASKED_BY_DEFAULT_S = 1.0
"""`RetryLater.retry_after_s` if the server asks for nothing."""

log = structlog.get_logger()


class Timing(msgspec.Struct, frozen=True):
    """`watch_s`: duration of one watch. `grace_s`: additional time after which we end it ourselves. `idle_s`: a watch that delivers
    nothing for this long, not even a bookmark, is ended. `relist_s`: interval of new lists while the watch works. `short_s`: a watch
    that ends earlier counts as a failure; if it had events, the pause after it is at most this long. `first_delay_s`, `ceiling_s`:
    limits of the back-off after failures.
    """

    watch_s: float = 240.0
    grace_s: float = 15.0
    idle_s: float = IDLE_S
    relist_s: float = 600.0
    short_s: float = 1.0
    first_delay_s: float = 0.2
    ceiling_s: float = 30.0


class Cache:
    """The objects of one kind, by name. Run `run` in a task; read at any time, from the same event loop."""

    def __init__(
        self,
        cluster: port.Cluster,
        kind: port.Kind,
        on_change: Callable[[port.Object], None],
        *,
        labels: Mapping[str, str] | None = None,
        group_by: str | None = None,
        timing: Timing | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        """Nothing is read before `run`.

        `on_change`: called after the cache has changed, with each object that is new or has another resourceVersion,
        and with the last known state of each object that is gone. It only says that an object changed, not how: several
        changes can be reported as one, and after a start every object is reported once. It must not block or raise.
        `labels`: only objects that have all of them. `group_by`: the name of a label by which to find objects, see `group`.
        """
        self._cluster, self._kind, self._on_change = cluster, kind, on_change
        self._labels, self._group_by = labels, group_by
        self._timing = timing or Timing()
        self._jitter = jitter or random.Random()
        self._objects: dict[str, port.Object] = {}
        self._groups: dict[str, dict[str, port.Object]] = {}
        self._version: str | None = None
        self._listed = self._heard = float("-inf")
        self._failures = 0
        self._events = 0
        self._settled = anyio.Event()

    @property
    def objects(self) -> Mapping[str, port.Object]:
        """All objects by name: a live, read-only view. Do not modify the objects."""
        return MappingProxyType(self._objects)

    def get(self, name: str) -> port.Object | None:
        """The object; None if it is not in the cache."""
        return self._objects.get(name)

    def group(self, value: str) -> tuple[port.Object, ...]:
        """The objects whose label `group_by` has this value."""
        return tuple(self._groups.get(value, {}).values())

    def groups(self) -> tuple[str, ...]:
        """The values of the label `group_by` that at least one object has."""
        return tuple(self._groups)

    def age_s(self) -> float:
        """Seconds since the last sign of the cluster. More than `watch_s + grace_s` and a few retries means that it is unreachable."""
        return anyio.current_time() - self._heard

    def sign(self) -> liveness.Sign:
        """Liveness sign for the watchdog: whether the cluster has answered within the duration of a watch."""
        is_silent = self.age_s() > self._timing.watch_s + self._timing.grace_s
        return liveness.Sign(f"watch of {self._kind.kind}", f"silent for {self.age_s():.0f} s" if is_silent else None, self._heard)

    @property
    def is_listed(self) -> bool:
        """Whether it has been listed at least once."""
        return self._listed > float("-inf")

    async def settled(self) -> None:
        """Wait until it was listed once, or until it is known that a person must allow that first (`Blocked`)."""
        await self._settled.wait()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Keep the cache current until cancelled; ready after the first list.

        Whatever the cluster answers, it retries forever with back-off, and meanwhile the cache stays as it was.
        """
        delays = self._delays()
        while True:
            version, asked_s, self._events = self._version, 0.0, 0
            try:
                if self._version is None or anyio.current_time() - self._listed > self._timing.relist_s:
                    self._version = await self._list()
                    self._settled.set()
                    task_status.started()
                    task_status = anyio.TASK_STATUS_IGNORED
                healthy = await self._watch(self._version)
                self._failures = 0
            except errors.WatchExpired:
                self._version, healthy = None, False
            except errors.Fatal:
                raise
            except errors.DyffError as error:
                healthy, asked_s = False, error.retry_after_s if isinstance(error, errors.RetryLater) else 0.0
                self._note(error)
            if healthy or (self._version not in (None, version) and not self._events):
                delays = self._delays()
            if not healthy:
                most_s = self._timing.short_s if self._events else self._timing.ceiling_s
                asked_s = 0.0 if asked_s <= _ASKED_BY_DEFAULT_S else asked_s
                await anyio.sleep(backoff.pause_s(next(delays), asked_s, most_s))

    def _note(self, error: errors.DyffError) -> None:
        """Note that a list or a watch failed. The reason is not always said, so after two failures all is listed again."""
        self._failures += 1
        if self._failures > 1 or not isinstance(error, errors.RetryLater):
            self._version = None
        if isinstance(error, errors.Blocked):
            self._settled.set()
        log.warning("watch-failed", kind=self._kind.kind, **errors.details(error))

    async def _list(self) -> str:
        """Update the cache from a fresh list; returns the version from which to watch."""
        listing = await self._cluster.list(self._kind, self._labels)
        self._listed = self._heard = anyio.current_time()
        present = {each["metadata"]["name"]: each for each in listing.items}
        for name in [name for name in self._objects if name not in present]:
            self._remove(self._objects[name])
        for each in present.values():
            self._put(each)
        return listing.resource_version

    async def _watch(self, version: str) -> bool:
        """Run one watch. Returns False if it ended too early, as from a server that is shutting down."""
        begun = anyio.current_time()
        duration_s = self._timing.watch_s * self._jitter.uniform(0.8, 1.0)
        stream = self._cluster.watch(self._kind, version, timeout_s=duration_s, labels=self._labels)
        end = begun + duration_s + self._timing.grace_s
        with anyio.CancelScope(deadline=min(end, begun + self._timing.idle_s)) as silence:
            async with closing(stream):
                async for event in stream:
                    self._events += 1
                    self._take(event)
                    silence.deadline = min(end, anyio.current_time() + self._timing.idle_s)
        if silence.cancelled_caught:
            log.info("watch-silent", kind=self._kind.kind, after_s=round(anyio.current_time() - begun, 1))
            self._version = None
            return True
        self._heard = anyio.current_time()
        return self._heard - begun >= min(self._timing.short_s, duration_s / 2)

    def _take(self, event: port.Event) -> None:
        self._heard = anyio.current_time()
        if event.type == "DELETED":
            self._remove(event.object)
        elif event.type != "BOOKMARK":
            self._put(event.object)
        self._version = event.object["metadata"]["resourceVersion"]

    def _put(self, obj: port.Object) -> None:
        name = obj["metadata"]["name"]
        known = self._objects.get(name)
        if known is not None and known["metadata"]["resourceVersion"] == obj["metadata"]["resourceVersion"]:
            return
        if known is not None and known["metadata"].get("uid") != obj["metadata"].get("uid"):
            self._remove(known)  # another object has the name now
        elif known is not None:
            self._ungroup(known)
        self._objects[name] = obj
        value = self._group_value(obj)
        if value is not None:
            self._groups.setdefault(value, {})[name] = obj
        self._on_change(obj)

    def _remove(self, obj: port.Object) -> None:
        known = self._objects.pop(obj["metadata"]["name"], None)
        if known is not None:
            self._ungroup(known)
            self._on_change(obj)

    def _ungroup(self, known: port.Object) -> None:
        value = self._group_value(known)
        if value is not None:
            group = self._groups[value]
            del group[known["metadata"]["name"]]
            if not group:
                del self._groups[value]

    def _group_value(self, obj: port.Object) -> str | None:
        if self._group_by is None:
            return None
        value = (obj["metadata"].get("labels") or {}).get(self._group_by)
        return None if value is None else str(value)

    def _delays(self) -> Iterator[float]:
        return backoff.delays(self._timing.first_delay_s, ceiling_s=self._timing.ceiling_s, jitter=self._jitter)


async def start(group: anyio.abc.TaskGroup, caches: Iterable[Cache]) -> None:
    """Run caches in a task group. Returns when each was listed once, or cannot be listed before a person allows it; at least one was."""
    started = tuple(caches)
    for each in started:
        group.start_soon(each.run)
    for each in started:
        await each.settled()
    while not any(each.is_listed for each in started):  # noqa: ASYNC110 - any of several can be the first
        await anyio.sleep(_LOOK_S)


def closing(stream: object) -> contextlib.AbstractAsyncContextManager[object]:
    """Closes a watch immediately when it is left. Also accepts a stream that is not a generator and cannot be closed."""
    return contextlib.aclosing(stream) if hasattr(stream, "aclose") else contextlib.nullcontext()
