"""The state that the workers of one kubelet share."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx

from dyff.cluster import port
from dyff.cluster.pods import slots, starting, templates
from dyff.kernel import clock


class Node:
    """The machine, as shared by the workers.

    `ports`: by uid, the loopback port of every pod that has one. `shutdown_grace_s`: the grace period for pods if the server
    is ending; otherwise None. `wake`: triggers the worker of a pod.
    """

    def __init__(
        self,
        cluster: port.Cluster,
        config: starting.NodeConfig,
        time: clock.Clock,
        http: httpx.AsyncClient,
        wake: Callable[[str], None],
        template: templates.Template | None = None,
    ) -> None:
        """`template`: forks the supervisors of pods; None if each is an interpreter of its own."""
        self.template = template
        self.cluster, self.config, self.time, self.http, self.wake = cluster, config, time, http, wake
        self.slots = slots.Slots(config.settings.max_job_pods)
        self.ports: dict[str, int] = {}
        self.shutdown_grace_s: float | None = None
        # A burst of pods should not start dozens of interpreters at the same moment.
        self.spawning = anyio.CapacityLimiter(4)

    def release(self, uid: str) -> None:
        """Release a pod's slot, and wake the pods that wait for one."""
        for waiting in self.slots.leave(uid):
            self.wake(waiting)
