"""A step as a Job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dyff.cluster import port
from dyff.kernel.telemetry import trace_context
from dyff.operator import plan
from dyff.operator.manifests import containers, metadata


class Run(msgspec.Struct, frozen=True):
    """How a step runs.

    `name`: of the Job and of its ConfigMap. `program`: in the steps image. `retries`: after failures that can be
    transient. `final_codes`: exit codes for which a retry is useless. `deadline_s`: for all attempts together.
    `env`, `secrets`: as in `containers.step`, in addition to those that all steps have.
    """

    name: str
    component: str
    program: str
    retries: int
    final_codes: tuple[int, ...]
    deadline_s: int
    requests: Mapping[str, str] = {}
    env: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()


def build(owner: port.Object, run: Run, setup: plan.Setup) -> port.Object:
    """The Job of a step of `owner`. A finalizer protects its outcome from being lost."""
    return {
        "apiVersion": port.JOB.api_version,
        "kind": port.JOB.kind,
        "metadata": {**metadata.of_child(owner, run.name, run.component), "finalizers": [metadata.FINALIZER]},
        "spec": {
            "backoffLimit": run.retries,
            "activeDeadlineSeconds": run.deadline_s,
            # An attempt begins only when the previous pod has really ended, not when its termination was merely requested.
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules(run.final_codes)},
            "template": {"metadata": metadata.of_pods(owner, run.component, (containers.STEP,)), "spec": _pod(owner, run, setup)},
        },
    }


def _failure_rules(final_codes: tuple[int, ...]) -> list[dict[str, Any]]:
    # The first matching rule counts: a pod that ends because its node does can fail in any way, so its exit code must not count.
    disruption = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    if not final_codes:
        return [disruption]
    codes = {"containerName": containers.STEP, "operator": "In", "values": sorted(final_codes)}
    return [disruption, {"action": "FailJob", "onExitCodes": codes}]


def _pod(owner: port.Object, run: Run, setup: plan.Setup) -> port.Object:
    args = [run.program, "--manifest", f"{containers.MANIFEST_DIR}/{containers.MANIFEST_FILE}"]
    step = containers.step(
        containers.STEP,
        setup.operator.steps_image,
        args,
        setup.storage_env,
        disk=setup.operator.programs.data_limit,
        mounts=(containers.manifest_mount(),),
        requests=run.requests,
        env={**trace_context.to_variables(trace_context.of_object(owner)), **run.env},
        secrets=(*setup.step_secrets, *run.secrets),
    )
    return containers.pod(
        {
            "restartPolicy": "Never",
            "containers": [step],
            "volumes": [containers.manifest_volume(run.name), containers.temporary_volume(setup.operator.programs.data_limit)],
        }
    )
