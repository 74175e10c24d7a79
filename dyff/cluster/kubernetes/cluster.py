"""The `Cluster` port on a real API server."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime

import aiohttp
import anyio
import structlog

from dyff.cluster import port
from dyff.cluster.instants import instant
from dyff.cluster.kubernetes import answers, paths
from dyff.cluster.kubernetes.connecting import Access, Connection
from dyff.cluster.kubernetes.logs import Logs, containers
from dyff.cluster.kubernetes.requests import MERGE_PATCH, Requests, object_of, slim, whole
from dyff.entities import codecs
from dyff.kernel import backoff, clock, degradation, errors

PAGE = 500
_LIST_TRIES = 5
_LIST_PAUSE_S = 0.2
GRACE_S = 5.0
"""Additional time after which we end a watch that the server does not end."""

_EVENTS = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})


log = structlog.get_logger()


class KubernetesCluster:
    """One namespace of a Kubernetes cluster; use `open`."""

    def __init__(
        self, connection: Connection, access: Access, troubles: degradation.Troubles | None = None, time: clock.Clock | None = None
    ) -> None:
        self._connection, self._access = connection, access
        self.namespace = connection.namespace
        """The namespace of all objects."""
        self._requests = Requests(access, connection.timeout_s, troubles, time)
        self._logs = Logs(self._requests, connection.namespace)

    @classmethod
    @asynccontextmanager
    async def open(
        cls, connection: Connection, troubles: degradation.Troubles | None = None, time: clock.Clock | None = None
    ) -> AsyncIterator[KubernetesCluster]:
        """Open the namespace. Open only one per process: it blocks the event loop for a while.

        An API server that does not answer, or that refuses us, need not do so for long: that is reported, and every call says it again.
        `troubles`: where missing permissions and types are reported; None for nowhere. `time`: None for the system clock.

        Raises:
            Misconfigured: the credentials cannot be read, or the API server's certificate is not trusted.
        """
        access = await Access.open(connection)
        try:
            cluster = cls(connection, access, troubles, time)
            await cluster._greet()
            yield cluster
        finally:
            with anyio.CancelScope(shield=True):
                await access.close()

    async def _greet(self) -> None:
        try:
            await self._requests.send("GET", "/version", what="asking the API server for its version")
        except errors.Blocked as error:
            if isinstance(error.__cause__, aiohttp.ClientSSLError):
                raise errors.Misconfigured(error.message) from error
            log.warning("cluster-not-available", **errors.details(error))
        except errors.DyffError as error:
            log.warning("cluster-not-available", **errors.details(error))

    def now(self) -> datetime:
        return self._requests.servers_clock.now()

    async def create(self, kind: port.Kind, obj: port.Object) -> port.Object:
        what = f"creating {kind.kind} {(obj.get('metadata') or {}).get('name')}"
        body = {**obj, "apiVersion": kind.api_version, "kind": kind.kind}
        return object_of(kind, what, await self._requests.send("POST", paths.of(kind, self.namespace), what=what, body=body))

    async def get(self, kind: port.Kind, name: str) -> port.Object | None:
        what = f"reading {kind.kind} {name}"
        try:
            found = await self._requests.send("GET", paths.of(kind, self.namespace, name), what=what)
        except errors.NotFound:
            return None
        return object_of(kind, what, found)

    async def list(self, kind: port.Kind, labels: Mapping[str, str] | None = None) -> port.Listing:
        pauses = backoff.delays(_LIST_PAUSE_S, jitter=random.Random())
        for number in range(_LIST_TRIES):
            # The version of its first page can expire before the last page is read; after some tries everything is asked for at once.
            limit = {"limit": str(PAGE)} if number < _LIST_TRIES - 1 else {}
            with suppress(errors.WatchExpired):
                return await self._listed(kind, paths.selector(dict(labels or {})) | limit)
            await anyio.sleep(next(pauses))
        raise errors.Unavailable(f"listing {kind.plural}: the API server forgets a version before all its pages were read")

    async def _listed(self, kind: port.Kind, query: dict[str, str]) -> port.Listing:
        """All pages, which belong to one version."""
        what = f"listing {kind.plural}"
        items: list[port.Object] = []
        more = ""
        while True:
            given = query | ({"continue": more} if more else {})
            page = await self._requests.send("GET", paths.of(kind, self.namespace), what=what, query=given)
            try:
                items += [whole(slim(kind, each)) for each in page["items"] or ()]
                about = page.get("metadata") or {}
                before, more = more, about.get("continue") or ""
                if not more:
                    return port.Listing(tuple(items), str(about["resourceVersion"]))
            except (KeyError, TypeError, AttributeError) as error:
                raise errors.Unavailable(f"{what}: the API server did not answer with a list: {error!r}") from error
            if more == before:
                raise errors.Unavailable(f"{what}: the API server repeats a page")

    async def watch(
        self, kind: port.Kind, resource_version: str, *, timeout_s: float, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[port.Event]:
        what, end = f"watching {kind.plural}", anyio.current_time() + timeout_s
        query = paths.selector(dict(labels or {})) | {
            "watch": "true",
            "resourceVersion": resource_version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(math.ceil(timeout_s), 1)),
        }
        path = paths.of(kind, self.namespace)
        async with self._requests.stream(path, what=what, query=query, silence_s=timeout_s + GRACE_S) as stream:
            while (raw := await _next(stream, end, what)) is not None:
                yield _event(kind, raw, what)

    async def replace(self, kind: port.Kind, obj: port.Object) -> port.Object:
        name = obj["metadata"]["name"]
        what, path = f"replacing {kind.kind} {name}", paths.of(kind, self.namespace, name)
        body = {**obj, "apiVersion": kind.api_version, "kind": kind.kind}
        return object_of(kind, what, await self._requests.send("PUT", path, what=what, body=body))

    async def patch(self, kind: port.Kind, name: str, patch: port.Object, *, status: bool = False) -> port.Object:
        path = paths.of(kind, self.namespace, name, *(("status",) if status else ()))
        what = f"changing {'the status of ' if status else ''}{kind.kind} {name}"
        return object_of(kind, what, await self._requests.send("PATCH", path, what=what, body=patch, content_type=MERGE_PATCH))

    async def delete(self, kind: port.Kind, name: str, *, uid: str | None = None) -> None:
        options: port.Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        try:
            await self._requests.send("DELETE", paths.of(kind, self.namespace, name), what=f"deleting {kind.kind} {name}", body=options)
        except errors.NotFound:
            return

    async def logs(
        self, pod: str, *, container: str | None = None, since: str | None = None, limit: int | None = None
    ) -> tuple[port.LogLine, ...]:
        _check_time(since)
        obj = await self.get(port.POD, pod)
        if obj is None:
            return ()
        lines = [line for each in containers(obj) if container in (None, each) for line in await self._logs.read(pod, each, since, limit)]
        return tuple(lines if limit is None else lines[max(len(lines) - limit, 0) :])

    async def follow(self, pod: str, container: str, *, since: str | None = None) -> AsyncIterator[port.LogLine]:
        _check_time(since)
        async for line in self._logs.follow(pod, container, since):
            yield line

    async def service_url(self, name: str) -> port.Upstream | None:
        if self._connection.in_cluster:
            url = await self.pod_service_url(name)
            return None if url is None else port.Upstream(url)
        number = await self._service_port(name)
        if number is None:
            return None
        path = paths.of(port.SERVICE, self.namespace, f"{name}:{number}", "proxy")
        return port.Upstream(self._access.url + path, tuple((await self._access.headers()).items()), self._access.tls)

    async def pod_service_url(self, name: str) -> str | None:
        number = await self._service_port(name)
        return None if number is None else f"http://{name}.{self.namespace}.svc:{number}"

    async def _service_port(self, name: str) -> int | None:
        service = await self.get(port.SERVICE, name)
        ports = ((service or {}).get("spec") or {}).get("ports")
        return int(ports[0]["port"]) if ports else None


async def _next(stream: aiohttp.StreamReader, end: float, what: str) -> bytes | None:
    """The next line; None if the watch has ended."""
    try:
        async with asyncio.timeout_at(end + GRACE_S):
            return await stream.readline() or None
    except TimeoutError:
        return None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise errors.Unavailable(f"{what}: the connection to the API server broke: {error}") from error


def _event(kind: port.Kind, raw: bytes, what: str) -> port.Event:
    """Decode an event of a watch.

    Raises:
        WatchExpired, Unavailable: the server sent an error instead of an event.
    """
    try:
        event = codecs.decode_object(raw)
        event_type, obj = event["type"], event["object"]
        if event_type in _EVENTS:
            return port.Event(event_type, whole(slim(kind, obj), is_named=event_type != "BOOKMARK"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.Unavailable(f"{what}: the API server broke off: {error!r}") from error
    raise answers.error(answers.of_event(what, obj))


def _check_time(since: str | None) -> None:
    try:
        if since is not None:
            instant(since)
    except ValueError as error:
        raise errors.InvalidFields(errors.Problem(("query", "since"), f"must be an RFC 3339 time: {since!r} is not")) from error
