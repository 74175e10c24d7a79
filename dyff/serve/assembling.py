"""Assembles what runs in this process: the chosen roles, and the background tasks of the embedded adapters.

In addition to the roles that a person can choose, an embedded adapter has background tasks: maintenance of the log, or the local
cluster's controllers and its kubelet. They run in every process that opens the adapter. The probes run if an address is set for them.
"""

from __future__ import annotations

import functools
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import anyio
import anyio.abc

from dyff.bus import port
from dyff.cluster.embedded import EmbeddedCluster
from dyff.kernel import degradation, liveness, settings
from dyff.kernel.telemetry import metrics
from dyff.serve import directory, election, log_clock, log_topics, opening
from dyff.serve.adapters import Adapters, given
from dyff.serve.roles import Process, Report, Row
from dyff.serve.supervisor import Role


def build(rows: Sequence[Row], loaded: settings.Settings, adapters: Adapters, report: Report) -> list[Role]:
    """The chosen roles and the background tasks of the embedded adapters, bound to their dependencies."""
    process = Process(loaded, adapters, report)
    return [*_background(process), *(role for row in rows for role in _roles(row, process))]


def _roles(row: Row, process: Process) -> Iterator[Role]:
    """A role, and the tasks that come with it."""
    for name, run in {row.name: row.run, **row.comes_with}.items():
        role = Role(name, row.stage, functools.partial(run, process))
        yield _elected(role, process.adapters) if row.one_at_a_time else role


def _elected(role: Role, adapters: Adapters) -> Role:
    """Let only one of the processes that share the cluster do the work. The local cluster belongs to one process anyway."""
    if adapters.cluster is None or adapters.local_cluster is not None:
        return role
    return election.elected(role, adapters.cluster, adapters.clock, adapters.ids)


def _background(process: Process) -> list[Role]:
    background: list[Role] = []
    if process.adapters.probes is not None:
        background.append(_probes(process.adapters.probes, process.adapters.metrics, process.report))
    disk = process.adapters.disk
    if disk is not None:
        background.append(Role("disk", 0, lambda task_status, signs: disk.run(task_status=task_status)))
    log = process.adapters.local_bus
    bus = process.adapters.bus
    if bus is not None and log is None:
        background.append(Role("log-clock", 0, _log_clock(bus, process.adapters.troubles)))
        background.append(Role("log-topics", 0, _log_topics(bus, process)))
    if log is not None:
        background.append(Role("log-maintenance", 0, lambda task_status, signs: log.maintain(task_status=task_status)))
    if process.adapters.local_cluster is not None:
        background += _local_cluster(process.settings, process.adapters, process.adapters.local_cluster)
    return background


def _log_clock(bus: port.Bus, troubles: degradation.Troubles) -> Callable[[anyio.abc.TaskStatus[None], liveness.Signs], Awaitable[None]]:
    """Not for the embedded log, which has the same clock."""
    return lambda task_status, signs: log_clock.run(bus, troubles, task_status=task_status)


def _log_topics(bus: port.Bus, process: Process) -> Callable[[anyio.abc.TaskStatus[None], liveness.Signs], Awaitable[None]]:
    """Not for the embedded log, whose file belongs to this process."""
    partitions, troubles = process.settings.bus.partitions, process.adapters.troubles
    return lambda task_status, signs: log_topics.run(bus, partitions, troubles, task_status=task_status)


def _probes(listener: socket.socket, measured: metrics.Metrics, report: Report) -> Role:
    from dyff.serve import probes

    return Role("probes", 0, lambda task_status, signs: probes.run(report, measured, listener, task_status=task_status))


def _local_cluster(loaded: settings.Settings, adapters: Adapters, resources: EmbeddedCluster) -> list[Role]:
    from dyff.cluster.embedded import LocalControllers
    from dyff.cluster.pods.kubelet import Kubelet

    def run_controllers(task_status: anyio.abc.TaskStatus[None], signs: liveness.Signs) -> Any:
        return LocalControllers(resources, clock=adapters.clock, pods_dir=resources.pods_dir).run(task_status=task_status)

    async def run_kubelet(task_status: anyio.abc.TaskStatus[None], signs: liveness.Signs) -> None:
        kubelet = Kubelet(
            resources,
            resources.pods_dir,
            loaded.pods,
            adapters.clock,
            sandboxes=given(adapters.sandboxes),
            storage_url=opening.local_storage_url(loaded, directory.DataDirectory(loaded.data_dir)),
            environments=loaded.analyses.environments,
        )
        try:
            await kubelet.run(task_status=task_status)
        except anyio.get_cancelled_exc_class():
            # Pods are stopped only in an orderly stop of the server; a kubelet that failed finds them again after its restart.
            with anyio.CancelScope(shield=True):
                await kubelet.stop_all(loaded.supervision.shutdown_grace_s / 2)
            raise

    return [Role("local-controllers", 0, run_controllers), Role("kubelet", 0, run_kubelet)]
