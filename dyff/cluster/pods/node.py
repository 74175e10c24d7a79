"""The state that the workers of one kubelet share."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from dyff.cluster import port
from dyff.cluster.pods import slots, starting, templates
from dyff.kernel import clock


class Node:
    """The machine, as shared by the workers.

    `ports`: by uid, the loopback port of every pod that has one. `users`: by uid, the user ID of every pod that has one of its own.
    `shutdown_grace_s`: the grace period for pods if the server is ending; otherwise None. `wake`: triggers the worker of a pod.
    """

    def __init__(
        self,
        cluster: port.Cluster,
        config: starting.NodeConfig,
        time: clock.Clock,
        wake: Callable[[str], None],
        template: templates.Template | None = None,
    ) -> None:
        """`template`: forks the supervisors of pods; None if each is an interpreter of its own."""
        self.template = template
        self.cluster, self.config, self.time, self.wake = cluster, config, time, wake
        self.slots = slots.Slots(config.settings.max_job_pods)
        self.ports: dict[str, int] = {}
        self.users: dict[str, int] = {}
        self.shutdown_grace_s: float | None = None
        # A burst of pods should not start dozens of interpreters at the same moment.
        self.spawning = anyio.CapacityLimiter(4)

    def release(self, uid: str) -> None:
        """Release a pod's slot, and wake the pods that wait for one."""
        for waiting in self.slots.leave(uid):
            self.wake(waiting)

    def forget(self, uid: str) -> None:
        """Release everything that a pod of which nothing runs any more has: its slot, port and user ID."""
        self.release(uid)
        self.ports.pop(uid, None)
        self.users.pop(uid, None)
