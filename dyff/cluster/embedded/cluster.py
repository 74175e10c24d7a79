"""The `Cluster` port on one SQLite file.

A write runs in the writer's thread: read, decide, store, commit, together with all other waiting writes. When it is durable,
the event loop applies it to the memory, wakes the watches and only then returns to the caller, so callers read their own
writes. Reads and watches use only the memory.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec

from dyff.cluster import port
from dyff.cluster.embedded import codec, kinds, logs, memory, ports, store, tails, verbs
from dyff.cluster.instants import instant
from dyff.kernel import clock as clocks
from dyff.kernel import degradation, errors, ids, sqlite_writer

T = TypeVar("T")

WRITER_LIMITS = sqlite_writer.Limits(group_count=256, waiting_count=10_000)

_BOOKMARK_S = 10.0
"""Interval of bookmarks, which update the version of a client whose watch gets no events."""

_FOLLOW_S = 0.25
"""Polling interval of a followed log that did not grow."""


class EmbeddedCluster:
    """Kubernetes' semantics for the types in `kinds.ALL`, in one file that is locked by one server."""

    def __init__(self, database: store.Store, snapshot: store.Snapshot, clock: clocks.Clock, new_ids: ids.Ids, pods_dir: Path) -> None:
        """Use `open`."""
        self.pods_dir = pods_dir
        self._memory = memory.Memory(snapshot)
        self._writer = sqlite_writer.Writer(database, WRITER_LIMITS, refusals=Exception)  # a verb raises before it writes
        self._clock = clock
        self._ids = new_ids
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path | str,
        *,
        clock: clocks.Clock,
        ids: ids.Ids,
        pods_dir: Path | str | None = None,
        limits: store.Limits | None = None,
        troubles: degradation.Troubles | None = None,
    ) -> AsyncIterator[EmbeddedCluster]:
        """Open the cluster in the file `path`, which is created if it does not exist.

        `pods_dir`: where the kubelet keeps the Pods, one directory a uid; None: `pods` next to the file. `limits`: of the
        history that watches can continue from. `troubles`: where failed maintenance is reported; None if it is only logged.

        Raises:
            InUse: another server has locked the file.
            Damaged: the file is damaged; the message says what to do.
            Misconfigured: the file cannot be used.
            NewerSchema: a newer release wrote it.
        """
        first_version = clocks.epoch_ms(clock.now())
        database, snapshot = await anyio.to_thread.run_sync(store.Store.open, Path(path), first_version, limits or store.Limits(), troubles)
        try:
            self = cls(database, snapshot, clock, ids, Path(pods_dir or Path(path).parent / "pods"))
        except (msgspec.DecodeError, ValueError) as error:
            await anyio.to_thread.run_sync(database.close)
            raise errors.Damaged(f"the cluster database {path} is damaged ({error}): {store.REMEDY}") from error
        self._writer.start(self._apply)
        try:
            yield self
        finally:
            with anyio.CancelScope(shield=True):
                self._closed = True
                await self._writer.stop()
                self._memory.wake()
                await anyio.to_thread.run_sync(database.close)

    def now(self) -> datetime:
        return self._clock.now()

    async def create(self, kind: port.Kind, obj: port.Object) -> port.Object:
        resource, body = kinds.resource(kind), codec.encode(obj)
        uid, now = str(uuid.UUID(self._ids.new())), self._clock.now()
        return await self._write(verbs.create, resource=resource, body=body, uid=uid, now=now)

    async def get(self, kind: port.Kind, name: str) -> port.Object | None:
        self._check_open()
        return self._memory.get(kinds.resource(kind).key, name)

    async def list(self, kind: port.Kind, labels: Mapping[str, str] | None = None) -> port.Listing:
        self._check_open()
        return port.Listing(self._memory.select(kinds.resource(kind).key, labels or {}), str(self._memory.version))

    async def watch(
        self, kind: port.Kind, resource_version: str, *, timeout_s: float, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[port.Event]:
        key, wanted, position = kinds.resource(kind).key, dict(labels or {}), _version(resource_version)
        reported, ends = position, anyio.current_time() + timeout_s
        while True:
            self._check_open()
            for change in self._memory.after(key, position):
                position = change.version
                event = _event(change, wanted)
                if event is not None:
                    reported = position
                    yield event
            # More can have happened while an event was handled, but nothing can happen between here and the wait.
            if self._memory.after(key, position):
                continue
            position = self._memory.version
            remaining_s = ends - anyio.current_time()
            changed = False
            with anyio.move_on_after(min(remaining_s, _BOOKMARK_S)):
                await self._memory.changed(key).wait()
                changed = True
            if not changed and reported < position:
                reported = position
                yield port.Event("BOOKMARK", {"metadata": {"resourceVersion": str(position)}})
            if anyio.current_time() >= ends:
                return

    async def replace(self, kind: port.Kind, obj: port.Object) -> port.Object:
        return await self._write(verbs.replace, resource=kinds.resource(kind), body=codec.encode(obj))

    async def patch(self, kind: port.Kind, name: str, patch: port.Object, *, status: bool = False) -> port.Object:
        resource, body = kinds.resource(kind), codec.encode(patch)
        return await self._write(verbs.patch, resource=resource, name=name, body=body, status=status)

    async def delete(self, kind: port.Kind, name: str, *, uid: str | None = None) -> None:
        await self._write(verbs.delete, resource=kinds.resource(kind), name=name, uid=uid, now=self._clock.now())

    async def logs(
        self, pod: str, *, container: str | None = None, since: str | None = None, limit: int | None = None
    ) -> tuple[port.LogLine, ...]:
        obj = await self.get(port.POD, pod)
        if obj is None:
            return ()
        chosen = [each for each in _containers(obj) if container in (None, each)]
        after = None if since is None else _instant(since)
        return await anyio.to_thread.run_sync(logs.read, self.pods_dir / obj["metadata"]["uid"], chosen, after, limit)

    async def follow(self, pod: str, container: str, *, since: str | None = None) -> AsyncIterator[port.LogLine]:
        obj = await self.get(port.POD, pod)
        if obj is None or container not in _containers(obj):
            return
        uid = obj["metadata"]["uid"]
        tail = tails.Tail(self.pods_dir / uid, container, None if since is None else _instant(since))
        try:
            while True:
                ended = _has_ended(await self.get(port.POD, pod), uid, container)
                lines = await anyio.to_thread.run_sync(tail.read)
                for line in lines:
                    yield line
                if not lines and ended:
                    return
                if not lines:
                    await anyio.sleep(_FOLLOW_S)
        finally:
            tail.close()

    async def service_url(self, name: str) -> port.Upstream | None:
        url = await self.pod_service_url(name)
        return None if url is None else port.Upstream(url)

    async def pod_service_url(self, name: str) -> str | None:
        service = await self.get(port.SERVICE, name)
        return None if service is None else f"http://{ports.HOST}:{ports.of(service)}"

    async def _write(self, verb: Callable[..., T], **arguments: Any) -> T:
        size = len(arguments.get("body", b""))
        return await self._writer.submit(functools.partial(verb, **arguments), size)

    def _apply(self, committed: store.Transaction) -> None:
        self._memory.apply(committed.changes, committed.horizon)

    def _check_open(self) -> None:
        if self._closed:
            raise errors.Unavailable("the cluster is closed")


def _event(change: memory.Seen, labels: Mapping[str, str]) -> port.Event | None:
    """The event of a change for a watch with these labels: an object that starts to match is ADDED, one that stops is DELETED."""
    matches = memory.matches(change.entry, labels)
    if change.event != "MODIFIED" or change.previous is None:
        return port.Event(change.event, codec.decode(change.entry.body)) if matches else None
    matched = memory.matches(change.previous, labels)
    if matches:
        return port.Event("MODIFIED" if matched else "ADDED", codec.decode(change.entry.body))
    if not matched:
        return None
    before = codec.decode(change.previous.body)
    before["metadata"]["resourceVersion"] = str(change.version)
    return port.Event("DELETED", before)


def _version(text: str) -> int:
    if not text.isdecimal():
        raise errors.InvalidFields(errors.Problem(("query", "resourceVersion"), f"must be one that the cluster gave: {text!r} is not"))
    return int(text)


def _containers(pod: port.Object) -> list[str]:
    return [each["name"] for field in ("initContainers", "containers") for each in pod["spec"].get(field) or []]


def _has_ended(pod: port.Object | None, uid: str, container: str) -> bool:
    """Whether a container of the Pod with this uid has stopped writing, at least for now."""
    if pod is None or pod["metadata"]["uid"] != uid:
        return True
    status = pod.get("status") or {}
    if status.get("phase") in ("Succeeded", "Failed"):
        return True
    statuses = [each for field in ("initContainerStatuses", "containerStatuses") for each in status.get(field) or []]
    return any(each["name"] == container and "terminated" in (each.get("state") or {}) for each in statuses)


def _instant(text: str) -> str:
    try:
        return instant(text)
    except ValueError as error:
        raise errors.InvalidFields(errors.Problem(("query", "since"), f"must be an RFC 3339 time: {text!r} is not")) from error
