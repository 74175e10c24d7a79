"""A step as a Job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from dyff.cluster import port
from dyff.kernel.telemetry import trace_context
from dyff.operator import plan
from dyff.operator.manifests import containers, metadata


class Around(msgspec.Struct, frozen=True):
    """What the pod of a step has in addition to the step.

    `initial`: containers that run before it. `steps`: the names of those that are our own steps, too. `volumes`: of the pod. `mounts`,
    `args`: of the step. `fields`: of the pod's spec. `annotations`: of the pod.
    """

    initial: tuple[port.Object, ...] = ()
    steps: tuple[str, ...] = ()
    volumes: tuple[port.Object, ...] = ()
    mounts: tuple[port.Object, ...] = ()
    args: tuple[str, ...] = ()
    fields: Mapping[str, Any] = {}
    annotations: Mapping[str, str] = {}


class Run(msgspec.Struct, frozen=True):
    """How a step runs.

    `name`: of the Job and of its ConfigMap. `program`: in the steps image. `retries`: after failures that can be
    transient. `final_codes`: by container, exit codes for which a retry is useless. `deadline_s`: for all attempts together.
    `env`, `secrets`: as in `containers.step`, in addition to those that all steps have. `around`: the rest of its pod.
    """

    name: str
    component: str
    program: str
    retries: int
    final_codes: Mapping[str, tuple[int, ...]]
    deadline_s: int
    requests: Mapping[str, str] = {}
    env: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()
    around: Around = Around()


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
            "template": {"metadata": _pods_metadata(owner, run), "spec": _pod(owner, run, setup)},
        },
    }


def _pods_metadata(owner: port.Object, run: Run) -> port.Object:
    made = metadata.of_pods(owner, run.component, (*run.around.steps, containers.STEP))
    return {**made, "annotations": {**made["annotations"], **run.around.annotations}}


def _failure_rules(final_codes: Mapping[str, tuple[int, ...]]) -> list[dict[str, Any]]:
    # The first matching rule counts: a pod that ends because its node does can fail in any way, so its exit code must not count.
    disruption = {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}
    final = [{"containerName": name, "operator": "In", "values": sorted(codes)} for name, codes in final_codes.items() if codes]
    return [disruption, *({"action": "FailJob", "onExitCodes": each} for each in final)]


def _pod(owner: port.Object, run: Run, setup: plan.Setup) -> port.Object:
    around = run.around
    args = (run.program, *around.args)
    main = step(owner, setup, containers.STEP, args, mounts=around.mounts, requests=run.requests, env=run.env, secrets=run.secrets)
    own = [containers.manifest_volume(run.name), containers.temporary_volume(setup.operator.programs.data_limit)]
    return containers.pod(
        {
            **around.fields,
            "restartPolicy": "Never",
            **({"initContainers": list(around.initial)} if around.initial else {}),
            "containers": [main],
            "volumes": [*own, *around.volumes],
        }
    )


def step(
    owner: port.Object,
    setup: plan.Setup,
    name: str,
    command: tuple[str, ...],
    *,
    mounts: tuple[port.Object, ...] = (),
    requests: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    secrets: tuple[str, ...] = (),
) -> port.Object:
    """A container that runs one of our programs with the manifest of the pod. `command`: the program and arguments of its own. The other
    parameters are as in `containers.step`.
    """
    program, *args = command
    return containers.step(
        name,
        setup.operator.steps_image,
        [program, "--manifest", f"{containers.MANIFEST_DIR}/{containers.MANIFEST_FILE}", *args],
        setup.storage_env,
        disk=setup.operator.programs.data_limit,
        mounts=(containers.manifest_mount(), *mounts),
        requests=requests,
        env={**trace_context.to_variables(trace_context.of_object(owner)), **(env or {})},
        secrets=(*setup.step_secrets, *secrets),
    )
