"""The operator as a role of the server."""

from __future__ import annotations

from collections.abc import Mapping

import anyio
import anyio.abc

from dyff.cluster import port
from dyff.kernel import analysis_settings, liveness, settings
from dyff.kernel.telemetry import metrics, traces
from dyff.operator import controller, plan


async def run(
    cluster: port.Cluster,
    *,
    settings: settings.Operator,
    storage_env: Mapping[str, str],
    images: Mapping[str, settings.Image] | None = None,
    analyses: analysis_settings.Analyses | None = None,
    signs: liveness.Signs | None = None,
    tracer: traces.Tracer = traces.SILENT,
    measured: metrics.Metrics | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Reconcile until cancelled; ready when all custom resources and their parts have been listed once.

    `storage_env`: variables that give our own steps, and nothing else, access to the object store. It must not contain
    credentials, since it is visible in the pod specs. `images`: the setting `pods.images`, which grants programs the network.
    `analyses`: how methods run; None for the defaults.
    `tracer`: records the spans of its work, of steps and of pods. `measured`: of this process.
    """
    known = measured or metrics.Metrics()
    setup = plan.Setup(settings, storage_env, images or {}, analyses or analysis_settings.Analyses())
    subject = controller.Controller(cluster, setup, tracer=tracer, measured=known)
    (signs or liveness.Signs()).add(subject.signs)
    with known.reading("operator", subject.samples):
        await subject.run(task_status=task_status)
