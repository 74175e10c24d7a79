"""Leader election for roles of which one instance does the work: every server has the role, and all but one stand by."""

from __future__ import annotations

import socket

import anyio.abc

from dyff.cluster import leases, port
from dyff.kernel import clock, ids, liveness
from dyff.serve.supervisor import STANDBY, Role


def elected(role: Role, cluster: port.Cluster, time: clock.Clock, names: ids.Ids, *, timing: leases.Timing | None = None) -> Role:
    """`role`, run only while this process holds the Lease `dyff-<role>`. While another process holds it, the phase is `standby`."""

    async def run(task_status: anyio.abc.TaskStatus[None], signs: liveness.Signs) -> None:
        async def term() -> None:
            own = liveness.Signs()
            with signs.during(own.read):
                await role.run(task_status, own)

        identity = f"{socket.gethostname()}_{names.new()}"
        elector = leases.Elector(cluster, f"dyff-{role.name}", identity, time, timing=timing)
        await elector.run(term, lambda: task_status.started(STANDBY))

    return Role(role.name, role.stage, run)
