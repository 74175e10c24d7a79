"""Keeps the running processes in line with the cluster's Pods, across restarts and crashes of the server."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from dyff.cluster import port, watching
from dyff.cluster.pods import directory, node, refusals, specs, starting, stopping, templates, worker
from dyff.cluster.pods.isolation import describing
from dyff.cluster.pods.shim import files
from dyff.kernel import clock, errors, settings

LOCK_WAIT_S = 1.0
STOP_LOOK_S = 0.02
STOP_MARGIN_S = 1.0
"""Part of the server's grace period that is reserved for killing remaining pods and recording how all ended."""
_UID = re.compile(r"[0-9a-zA-Z][-0-9a-zA-Z]{0,63}")


class Kubelet:
    """Runs the Pods of a cluster as supervised subprocesses below one directory.

    A pod keeps running if the server is killed or `run` is cancelled, and the next `run` finds it again. When the server ends,
    only `stop_all` stops pods. Only one kubelet at a time can use a directory.
    """

    def __init__(
        self,
        cluster: port.Cluster,
        pods_dir: Path,
        pods: settings.Pods,
        time: clock.Clock,
        *,
        python: str = sys.executable,
        sandboxes: describing.Sandboxes,
        steps: str = templates.STEPS_MODULE,
        storage_url: str | None = None,
        environments: Mapping[str, str] | None = None,
    ) -> None:
        """`python`: the interpreter that this package is installed for; it runs shims and our own images. `sandboxes`: how programs of
        accounts are confined, see `tiers.choose`. `storage_url`: of the object store in the data directory, for steps; None if it is
        elsewhere. `environments`: the setting `analyses.environments`; None if there are none.

        `steps`: the module that the template imports; empty for none, so that it starts at once but steps execute programs.
        """
        self._cluster, self._root, self._time = cluster, pods_dir.absolute(), time
        lock = str(self._root / "server.lock")
        self._config = starting.NodeConfig(lock, python, pods, sandboxes, storage_url, environments or {})
        self._steps = steps
        self._node: node.Node | None = None
        self._workers: dict[str, worker.Worker] = {}

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; ready when all pods that are already running have been found again.

        Raises:
            InUse: another server is running pods in this directory.
        """
        await anyio.Path(self._root).mkdir(mode=0o700, parents=True, exist_ok=True)
        async with self._claimed(), self._template() as template, anyio.create_task_group() as group:
            self._workers.clear()
            self._node = node.Node(self._cluster, self._config, self._time, self._wake, template)
            try:
                await self._reconcile_for_ever(group, self._node, task_status)
            finally:
                self._node = None

    async def stop_all(self, grace_s: float) -> None:
        """Stop all pods because the server ends; nothing new starts. Returns when all have ended, at the latest after `grace_s`.

        Each pod gets its own grace period, but less than `grace_s`, and is then killed. Pods whose restart policy allows it are started
        again by the next `run`; others end as `Failed` with the reason `Shutdown` and the condition `DisruptionTarget`. It works
        without `run` as well; the next one then records how they ended.
        """
        limit_s = max(grace_s - STOP_MARGIN_S, grace_s / 2)
        with anyio.move_on_after(grace_s):
            if self._node is None:
                await self._stop_directories(limit_s)
            else:
                await self._stop_workers(self._node, limit_s)

    async def _stop_workers(self, shared: node.Node, limit_s: float) -> None:
        shared.shutdown_grace_s = limit_s
        for each in self._workers.values():
            each.poke()
        for each in tuple(self._workers.values()):
            await each.stopped.wait()

    async def _stop_directories(self, limit_s: float) -> None:
        asked: set[str] = set()
        # These can be shims of an earlier server; we get no event when they end.
        while await anyio.to_thread.run_sync(self._ask_all, limit_s, asked):  # noqa: ASYNC110
            await anyio.sleep(STOP_LOOK_S)

    def _ask_all(self, limit_s: float, asked: set[str]) -> bool:
        """Ask every pod that was not asked before to stop. Returns whether any is still running."""
        running = False
        for uid in self._uids():
            place = directory.Directory(self._root, uid)
            facts = place.facts()
            running = running or facts.held
            if facts.held and facts.intent is not None and facts.record is not None and uid not in asked:
                asked.add(uid)
                stopping.ask(place, facts.record, directory.SHUTDOWN, min(facts.intent.grace_s, limit_s))
        return running

    @asynccontextmanager
    async def _claimed(self) -> AsyncIterator[None]:
        """Hold the lock that shows shims that a server lives. They take it briefly from time to time, so this retries for a while."""
        lock = files.take(self._config.server_lock)
        deadline = anyio.current_time() + LOCK_WAIT_S
        while lock is None and anyio.current_time() < deadline:
            await anyio.sleep(STOP_LOOK_S)
            lock = files.take(self._config.server_lock)
        if lock is None:
            raise errors.InUse(f"another server runs pods in {self._root}; stop it, or choose another data directory")
        try:
            yield
        finally:
            os.close(lock)

    @asynccontextmanager
    async def _template(self) -> AsyncIterator[templates.Template | None]:
        """The template process, which is already starting; None if the settings want none."""
        if not self._config.settings.template:
            yield None
            return
        template = templates.Template(self._config.python, self._root / "template.log", self._steps)
        await anyio.to_thread.run_sync(template.ensure)
        try:
            yield template
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(template.close)

    async def _reconcile_for_ever(self, group: anyio.abc.TaskGroup, shared: node.Node, task_status: anyio.abc.TaskStatus[None]) -> None:
        found = await anyio.to_thread.run_sync(self._uids)
        # Before any pod starts, so that no new pod gets the user of one that is found again.
        shared.users |= await anyio.to_thread.run_sync(self._users, found)
        names: dict[str, str] = {}

        def changed(obj: port.Object) -> None:
            name, uid = obj["metadata"]["name"], obj["metadata"]["uid"]
            current = cache.get(name)
            before = names.pop(name, uid)
            if current is not None:
                names[name] = uid
                self._enter_queue(shared, obj, started=uid in found)
            for each in {before, uid}:
                is_current = current is not None and current["metadata"]["uid"] == each
                if is_current or each in self._workers:
                    self._worker(group, shared, each).see(current if is_current else None)

        cache = watching.Cache(self._cluster, port.POD, changed)
        await group.start(cache.run)
        for uid in found:
            self._worker(group, shared, uid)  # if its pod was not seen, it is gone, and its worker cleans up
        task_status.started()
        await anyio.sleep_forever()

    def _enter_queue(self, shared: node.Node, obj: port.Object, *, started: bool) -> None:
        """Put Job pods into the queue when they are first seen, so that the oldest comes first. Running ones hold a slot."""
        try:
            pod = specs.parse(obj)
        except refusals.Refused:
            return  # its worker reports that in its status
        if not pod.of_job or pod.ended or pod.metadata.deletion_timestamp or pod.metadata.uid in self._workers:
            return
        if started:
            shared.slots.hold(pod.metadata.uid)
        else:
            shared.slots.enter(pod.metadata.uid, specs.order(pod))

    def _worker(self, group: anyio.abc.TaskGroup, shared: node.Node, uid: str) -> worker.Worker:
        if uid not in self._workers:
            self._workers[uid] = worker.Worker(shared, directory.Directory(self._root, uid))
            group.start_soon(self._work, uid)
        return self._workers[uid]

    async def _work(self, uid: str) -> None:
        await self._workers[uid].run()
        del self._workers[uid]

    def _wake(self, uid: str) -> None:
        if uid in self._workers:
            self._workers[uid].poke()

    def _users(self, found: list[str]) -> dict[str, int]:
        promised = {uid: directory.Directory(self._root, uid).facts().intent for uid in found}
        return {uid: intent.uid for uid, intent in promised.items() if intent is not None and intent.uid is not None}

    def _uids(self) -> list[str]:
        return [uid for uid in directory.uids(self._root) if _UID.fullmatch(uid)]
