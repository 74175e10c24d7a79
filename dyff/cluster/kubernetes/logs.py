"""Container logs, which the API server gets from the node's kubelet. A line consists of a time, a space and a message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import anyio

from dyff.cluster import port
from dyff.cluster.instants import instant
from dyff.cluster.kubernetes import answers, paths
from dyff.cluster.kubernetes.requests import Requests, object_of
from dyff.kernel import errors

_LOOK_S = 0.5
"""Interval of the checks whether a container has started."""
_ASKED_MOST_S = 10.0
"""The longest pause that the server can ask for before the same log is followed again."""
_LINE_BYTES = 2**20
"""A longer line of a followed log is yielded in pieces of about this size."""
SILENCE_S = 60.0
"""After this time without a line, the request is repeated: a dead connection is not noticed otherwise."""


class Logs:
    """The logs of the pods in a namespace."""

    def __init__(self, requests: Requests, namespace: str) -> None:
        self._requests, self._namespace = requests, namespace

    async def read(self, pod: str, container: str, since: str | None, limit: int | None) -> list[port.LogLine]:
        """The last `limit` lines after `since`, of this and of the previous attempt; none if the container has not started or is gone."""
        lines = await self._read(pod, container, since, limit)
        if limit is None or len(lines) < limit:  # a container that starts again has a new log, and the reason is in the one before
            left = None if limit is None else limit - len(lines)
            lines = [*await self._read(pod, container, since, left, {"previous": "true"}), *lines]
        return lines

    async def _read(
        self, pod: str, container: str, since: str | None, limit: int | None, more: Mapping[str, str] | None = None
    ) -> list[port.LogLine]:
        query = _query(container, since) | ({"tailLines": str(limit)} if limit is not None else {}) | dict(more or {})
        try:
            text = await self._requests.text(self._path(pod), what=f"reading the log of {pod}", query=query)
        except (answers.NotReadable, errors.NotFound):
            return []  # it is waiting to start, has no node or no previous attempt, or its log is gone with it
        after = None if since is None else instant(since)
        return [line for raw in text.split(b"\n") if (line := _line(raw)) is not None and _is_later(line, after)]

    async def follow(self, pod: str, container: str, since: str | None) -> AsyncIterator[port.LogLine]:
        """The lines after `since`, then new lines, until the container ends."""
        after, run = (None if since is None else instant(since)), None
        while True:
            obj = await self._pod(pod)
            if obj is None or container not in containers(obj):
                return
            run, before = (obj["metadata"]["uid"], _started(obj, container)), run
            if before is not None and run != before:
                return  # another pod has its name, or the container was restarted
            if run[1] is None:
                if _is_over(obj):
                    return
                run = None
                await anyio.sleep(_LOOK_S)
                continue
            ended = _has_ended(obj, container)
            seen = after
            async for line in self._lines(pod, container, after, ended):
                after = instant(line.timestamp)
                yield line
            if ended:
                return
            if after == seen:
                await anyio.sleep(_LOOK_S)  # it has just ended, but its status does not show it yet

    async def _lines(self, pod: str, container: str, after: str | None, ended: bool) -> AsyncIterator[port.LogLine]:
        """The lines of one connection, which can break any time. `ended`: the container has ended; its last line can lack a line feed."""
        query = _query(container, after) | {"follow": "true"}
        try:
            async with self._requests.stream(
                self._path(pod), what=f"following the log of {pod}", query=query, silence_s=SILENCE_S
            ) as stream:
                async for raw in _split(stream, ended):
                    line = _line(raw)
                    if line is not None and _is_later(line, after):
                        yield line
        except (answers.NotReadable, errors.NotFound):
            return
        except errors.Blocked:
            raise
        except errors.Unavailable as error:
            await anyio.sleep(max(_LOOK_S, min(error.retry_after_s, _ASKED_MOST_S)))

    async def _pod(self, name: str) -> port.Object | None:
        path, what = paths.of(port.POD, self._namespace, name), f"reading Pod {name}"
        try:
            return object_of(port.POD, what, await self._requests.send("GET", path, what=what))
        except errors.NotFound:
            return None

    def _path(self, pod: str) -> str:
        return paths.of(port.POD, self._namespace, pod, "log")


def containers(pod: port.Object) -> list[str]:
    """The names of its containers, init containers first."""
    return [each["name"] for field in ("initContainers", "containers") for each in (pod.get("spec") or {}).get(field) or []]


async def _split(stream: aiohttp.StreamReader, ended: bool) -> AsyncIterator[bytes]:
    """Whole lines of any length. Text without a line feed at the end is a line only if nothing can follow (`ended`)."""
    begun = b""
    try:
        async for piece in stream.iter_any():
            *whole, begun = (begun + piece).split(b"\n")
            for each in whole:
                yield each
            if len(begun) > _LINE_BYTES:
                yield begun
                begun = b""
    except (TimeoutError, aiohttp.ClientError, OSError):
        return
    if ended and begun:
        yield begun


def _query(container: str, since: str | None) -> dict[str, str]:
    # The server takes only whole seconds; lines that are too early are filtered out later.
    given = {"container": container, "timestamps": "true"}
    return given | ({"sinceTime": instant(since)[:19] + "Z"} if since is not None else {})


def _line(raw: bytes) -> port.LogLine | None:
    timestamp, _, message = raw.decode("utf-8", "replace").partition(" ")
    try:
        return port.LogLine(instant(timestamp), message)
    except ValueError:
        return None  # part of a line that was too long for the container runtime


def _is_later(line: port.LogLine, after: str | None) -> bool:
    return after is None or line.timestamp > after


def _statuses(pod: port.Object, container: str) -> list[dict[str, Any]]:
    status = pod.get("status") or {}
    reported = [each for field in ("initContainerStatuses", "containerStatuses") for each in status.get(field) or []]
    return [each for each in reported if each["name"] == container]


def _started(pod: port.Object, container: str) -> str | None:
    """Identifies this run of the container; None if it has not started."""
    for each in _statuses(pod, container):
        state = each.get("state") or {}
        if "running" in state or "terminated" in state:
            return str(each.get("containerID") or each.get("restartCount"))
    return None


def _has_ended(pod: port.Object, container: str) -> bool:
    return _is_over(pod) or any("terminated" in (each.get("state") or {}) for each in _statuses(pod, container))


def _is_over(pod: port.Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
