"""The runners of an inference session as a Deployment."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Any

from dyff.cluster import port
from dyff.entities import registry, specs
from dyff.kernel import quantities
from dyff.kernel.telemetry import trace_context
from dyff.operator import plan
from dyff.operator.manifests import containers, metadata, runners

RUNNER = "runner"
"""The name of the serving container."""

_TEMPORARY_VOLUME = "dyff-runner-tmp"
_READINESS = {"periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 3}
_MAX_NAME = 63


def build(session: port.Object, component: str, setup: plan.Setup) -> port.Object:
    """The Deployment of a session whose service has no `runners.problem`."""
    spec = specs.session(session)
    return {
        "apiVersion": port.DEPLOYMENT.api_version,
        "kind": port.DEPLOYMENT.kind,
        "metadata": metadata.of_child(session, session["metadata"]["name"], component),
        "spec": {
            "replicas": spec.replicas,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": metadata.selector(session, component)},
            "template": _template(session, component, spec, setup),
        },
    }


def _template(session: port.Object, component: str, spec: specs.Session, setup: plan.Setup) -> port.Object:
    runner, programs = runners.runner(spec), setup.operator.programs
    volumes = list(zip(volume_names([volume.name for volume in runner.volumes]), runner.volumes, strict=True))
    trace = trace_context.to_variables(trace_context.of_object(session))
    fetches = [_fetch(name, volume, setup, trace) for name, volume in volumes if isinstance(volume, specs.DataVolume)]
    steps = [containers.temporary_volume(programs.data_limit)] if fetches else []
    own = [] if _has_temporary(runner) else [{"name": _TEMPORARY_VOLUME, "emptyDir": {"sizeLimit": programs.tmp_limit}}]
    pod = containers.pod(
        {
            **({"runtimeClassName": programs.runtime_class} if programs.runtime_class else {}),
            **({"hostUsers": False} if programs.user_namespaces else {}),
            **({"initContainers": fetches} if fetches else {}),
            "containers": [_container(spec, runner, volumes, setup)],
            "volumes": [*(_volume(name, volume, setup) for name, volume in volumes), *own, *steps],
        }
    )
    return {"metadata": metadata.of_pods(session, component, [each["name"] for each in fetches]), "spec": pod}


def _has_temporary(runner: runners.Runner) -> bool:
    """Whether the user mounts a volume of their own where the temporary files are."""
    return any("/" + posixpath.normpath(volume.mount_path).lstrip("/") == runners.TEMPORARY_DIR for volume in runner.volumes)


def _container(
    spec: specs.Session, runner: runners.Runner, volumes: list[tuple[str, specs.DataVolume | specs.ScratchVolume]], setup: plan.Setup
) -> port.Object:
    listening = setup.operator.runner_port
    # Our user has no home folder, and some libraries insist on one.
    env = {"HOME": runners.TEMPORARY_DIR, **runner.env, **{each.name: each.value for each in spec.env}, "PORT": str(listening)}
    mounts: list[port.Object] = [
        {"name": name, "mountPath": volume.mount_path, **({"readOnly": True} if isinstance(volume, specs.DataVolume) else {})}
        for name, volume in volumes
    ]
    if not _has_temporary(runner):
        mounts.append({"name": _TEMPORARY_VOLUME, "mountPath": runners.TEMPORARY_DIR})
    return containers.container(
        RUNNER,
        runner.image,
        {
            "command": spec.command,
            "args": list(runner.args),
            "workingDir": spec.working_dir,
            "env": [{"name": name, "value": value} for name, value in env.items()],
            "ports": [{"name": "http", "containerPort": listening, "protocol": "TCP"}],
            "readinessProbe": {"httpGet": {"path": "/ready", "port": listening}, **_READINESS},
            "resources": _resources(spec, runner, setup),
            "volumeMounts": mounts,
        },
    )


def _resources(spec: specs.Session, runner: runners.Runner, setup: plan.Setup) -> port.Object:
    """The requested resources. Memory is also the limit, so a runner that uses more is killed instead of harming its neighbours.

    The limit of the disk is for the whole pod: its volumes, its log and `/tmp`.
    """
    disk = str(_disk(runner, setup))
    requests = {**spec.resources.requests, containers.DISK: containers.disk_request(disk)}
    limits: dict[str, Any] = {containers.DISK: disk}
    if "memory" in requests:
        limits["memory"] = requests["memory"]
    if spec.accelerator is not None and spec.accelerator.gpu is not None:
        limits[spec.accelerator.gpu.hardware_types[0]] = str(spec.accelerator.gpu.count)
    return {"requests": requests, "limits": limits}


def _disk(runner: runners.Runner, setup: plan.Setup) -> int:
    """The bytes that a pod may have on the disk of its node. Kubernetes knows no quantities beyond 2**63."""
    programs = setup.operator.programs
    sizes = [volume.capacity if isinstance(volume, specs.ScratchVolume) else programs.data_limit for volume in runner.volumes]
    return min(sum(quantities.parse_bytes(str(each)) for each in (programs.tmp_limit, programs.tmp_limit, *sizes)), 2**63 - 1)


def _fetch(name: str, volume: specs.DataVolume, setup: plan.Setup, env: Mapping[str, str]) -> port.Object:
    """An init container that fetches an entity's files into the volume. `env`: its variables."""
    args = [
        "fetch-data",
        "--source",
        f"{registry.BY_KIND[volume.source.kind].collection}/{volume.source.id}/",
        "--destination",
        volume.mount_path.replace("$", "$$"),  # or $(VAR) in it would be a variable of the step
    ]
    mount = {"name": name, "mountPath": volume.mount_path}
    fetch_name = f"fetch-{name}"[:_MAX_NAME].rstrip("-")
    return containers.step(
        fetch_name,
        setup.operator.steps_image,
        args,
        setup.storage_env,
        mounts=(mount,),
        env=env,
        disk=setup.operator.programs.data_limit,
        secrets=setup.step_secrets,
    )


def _volume(name: str, volume: specs.DataVolume | specs.ScratchVolume, setup: plan.Setup) -> port.Object:
    limit = volume.capacity if isinstance(volume, specs.ScratchVolume) else setup.operator.programs.data_limit
    return {"name": name, "emptyDir": {"sizeLimit": limit}}


def volume_names(names: list[str]) -> list[str]:
    """Valid, unique Kubernetes names for a service's mounts, whose names are free text. A name that is valid already is kept."""
    chosen: list[str] = []
    for name in names:
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:50].strip("-") or "volume"
        taken = {*chosen, containers.TEMPORARY_VOLUME, _TEMPORARY_VOLUME}
        candidates = [slug, *(f"{slug}-{count}" for count in range(2, len(taken) + 2))]
        chosen.append(next(each for each in candidates if each not in taken))
    return chosen
