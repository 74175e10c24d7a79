"""Runs the controllers of the local cluster."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.abc

from dyff.cluster import port, watching
from dyff.cluster.embedded import kinds
from dyff.cluster.embedded.controllers import garbage, informers, jobs, reconciling, services
from dyff.kernel import clock as clocks


class LocalControllers:
    """All controllers: Jobs and Deployments create Pods, Services route to them, garbage is collected."""

    def __init__(
        self,
        cluster: port.Cluster,
        *,
        clock: clocks.Clock,
        delays: jobs.Delays | None = None,
        timing: watching.Timing | None = None,
        pods_dir: Path | None = None,
    ) -> None:
        """`delays`: between the attempts of a Job. `timing`: of the watches. `pods_dir`: of the kubelet; None if no Pod has a door.

        It can run only once; create a new one to run again.
        """
        self._informers = informers.Informers(cluster, [each.kind for each in kinds.ALL], timing)
        self._controllers = (
            garbage.Garbage(cluster, self._informers),
            reconciling.Controller(cluster, self._informers, clock, reconciling.job_maker(delays or jobs.Delays())),
            reconciling.Controller(cluster, self._informers, clock, reconciling.deployment_maker()),
            services.Services(self._informers, pods_dir or Path("/")),
        )

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Run until cancelled; ready when everything has been listed once."""
        async with anyio.create_task_group() as group:
            for controller in self._controllers:
                await group.start(controller.run)
            await group.start(self._informers.run)
            task_status.started()
