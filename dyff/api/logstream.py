"""The logs of all pods of a workflow as one stream: first the existing lines in order of time, then each new line as it comes."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable

import anyio
import anyio.abc

from dyff.cluster import port, watching
from dyff.entities import codecs
from dyff.kernel import errors

Entry = codecs.Json
"""The published WorkflowLogEntry: `{timestamp, message, labels}`."""

Send = Callable[[Entry], Awaitable[None]]
HISTORY_LINES = 10_000
"""The most lines that are sent for each container from before the stream began."""

_LOOK_S = 1.0
"""The interval at which the workflow's status is checked."""

_AGAIN_S = 1.0
"""The delay before a container that may restart is followed again."""

_LEFT_S = 60.0
"""The longest wait for the logs of a workflow that has ended."""


def labels(pod: port.Object) -> dict[str, str]:
    """Return the labels of an entry, which identify the pod that wrote it."""
    metadata = pod["metadata"]
    own = {key: value for key, value in (metadata.get("labels") or {}).items() if key.startswith("dyff.io/")}
    return {**own, "pod": metadata["name"]}


def entry(pod: port.Object, line: port.LogLine) -> Entry:
    """Return a line in the published form."""
    return {"timestamp": line.timestamp, "message": line.message, "labels": labels(pod)}


class LogStream:
    """The log stream of one workflow."""

    def __init__(self, cluster: port.Cluster, entity_id: str, continues: Callable[[], Awaitable[bool]], send: Send) -> None:
        """`continues`: whether the workflow may still write; an error that it raises ends the stream. `send`: waits for a slow reader."""
        self._cluster, self._selector, self._continues, self._send = cluster, {"dyff.io/id": entity_id}, continues, send
        self._changed = anyio.Event()
        self._pods = watching.Cache(cluster, port.POD, lambda _: self._changed.set(), labels=self._selector)
        self._followed: set[tuple[str, str]] = set()
        self._running = 0

    async def run(self) -> None:
        """Send everything; returns when the workflow has ended and its log has been read to the end."""
        async with anyio.create_task_group() as group:
            await group.start(self._pods.run)
            await self._begin(group)
            while await self._continues():
                self._changed = anyio.Event()
                self._follow_all(group, self._pods.objects.values())
                with anyio.move_on_after(_LOOK_S):
                    await self._changed.wait()
            # The workflow has ended, so no new pod can come. List the pods, in case the watch has not reported all of them yet.
            self._follow_all(group, (await self._cluster.list(port.POD, self._selector)).items)
            with anyio.move_on_after(_LEFT_S):
                while self._running:
                    self._changed = anyio.Event()
                    await self._changed.wait()
            group.cancel_scope.cancel()

    async def _begin(self, group: anyio.abc.TaskGroup) -> None:
        """Send what the pods have written up to now, then follow their logs from there."""
        found: list[tuple[str, port.Object, port.LogLine]] = []
        last: dict[tuple[str, str], str] = {}
        pods = list(self._pods.objects.values())
        for pod in pods:
            name = pod["metadata"]["name"]
            for container in _containers(pod):
                lines = await self._cluster.logs(name, container=container, limit=HISTORY_LINES)
                found += [(line.timestamp, pod, line) for line in lines]
                if lines:
                    last[name, container] = lines[-1].timestamp
        found.sort(key=lambda each: each[0])
        for _, pod, line in found:
            await self._send(entry(pod, line))
        del found
        self._follow_all(group, pods, last)

    def _follow_all(self, group: anyio.abc.TaskGroup, pods: Iterable[port.Object], last: dict[tuple[str, str], str] | None = None) -> None:
        for pod in pods:
            for container in _containers(pod):
                key = (pod["metadata"]["name"], container)
                if key not in self._followed:
                    self._followed.add(key)
                    self._running += 1
                    group.start_soon(self._follow, pod, container, (last or {}).get(key))

    async def _follow(self, pod: port.Object, container: str, since: str | None) -> None:
        name = pod["metadata"]["name"]
        try:
            while True:
                with contextlib.suppress(errors.RetryLater):
                    stream = self._cluster.follow(name, container, since=since)
                    async with watching.closing(stream):
                        async for line in stream:
                            since = line.timestamp
                            await self._send(entry(pod, line))
                    if self._is_over(name):
                        return
                await anyio.sleep(_AGAIN_S)
        finally:
            self._running -= 1
            self._changed.set()

    def _is_over(self, name: str) -> bool:
        """Whether a pod whose log stream has ended will not write any more."""
        pod = self._pods.get(name)
        return pod is None or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _containers(pod: port.Object) -> list[str]:
    spec = pod.get("spec") or {}
    return [each["name"] for field in ("initContainers", "containers") for each in spec.get(field) or []]
