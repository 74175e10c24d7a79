"""The runners of an inference session as a Deployment."""

from __future__ import annotations

import re

from dyff.cluster import port
from dyff.entities import registry, specs
from dyff.operator import plan
from dyff.operator.manifests import containers, metadata, runners

RUNNER = "runner"
"""The name of the serving container."""

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
            "template": {"metadata": metadata.of_pods(session, component), "spec": _pod(spec, setup)},
        },
    }


def _pod(spec: specs.Session, setup: plan.Setup) -> port.Object:
    runner = runners.runner(spec)
    names = volume_names([volume.name for volume in runner.volumes])
    volumes = list(zip(names, runner.volumes, strict=True))
    fetches = [_fetch(name, volume, setup) for name, volume in volumes if isinstance(volume, specs.DataVolume)]
    return containers.pod(
        {
            **({"initContainers": fetches} if fetches else {}),
            "containers": [_container(spec, runner, volumes, setup)],
            "volumes": [*(_volume(name, volume) for name, volume in volumes), *([containers.temporary_volume()] if fetches else [])],
        }
    )


def _container(
    spec: specs.Session, runner: runners.Runner, volumes: list[tuple[str, specs.DataVolume | specs.ScratchVolume]], setup: plan.Setup
) -> port.Object:
    listening = setup.operator.runner_port
    env = {**runner.env, **{each.name: each.value for each in spec.env}, "PORT": str(listening)}
    mounts = [
        {"name": name, "mountPath": volume.mount_path, **({"readOnly": True} if isinstance(volume, specs.DataVolume) else {})}
        for name, volume in volumes
    ]
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
            "resources": _resources(spec),
            "volumeMounts": mounts,
        },
    )


def _resources(spec: specs.Session) -> port.Object:
    """The requested resources. Memory is also the limit, so a runner that uses more is killed instead of harming its neighbours."""
    requests = spec.resources.requests
    limits = {"memory": requests["memory"]} if "memory" in requests else {}
    if spec.accelerator is not None and spec.accelerator.gpu is not None:
        limits[spec.accelerator.gpu.hardware_types[0]] = str(spec.accelerator.gpu.count)
    return {key: value for key, value in (("requests", dict(requests)), ("limits", limits)) if value}


def _fetch(name: str, volume: specs.DataVolume, setup: plan.Setup) -> port.Object:
    """An init container that fetches an entity's files into the volume."""
    args = [
        "fetch-data",
        "--source",
        f"{registry.BY_KIND[volume.source.kind].collection}/{volume.source.id}/",
        "--destination",
        volume.mount_path,
    ]
    mount = {"name": name, "mountPath": volume.mount_path}
    fetch_name = f"fetch-{name}"[:_MAX_NAME].rstrip("-")
    return containers.step(fetch_name, setup.operator.steps_image, args, setup.storage_env, mounts=(mount,), secrets=setup.step_secrets)


def _volume(name: str, volume: specs.DataVolume | specs.ScratchVolume) -> port.Object:
    limit = {"sizeLimit": volume.capacity} if isinstance(volume, specs.ScratchVolume) else {}
    return {"name": name, "emptyDir": limit}


def volume_names(names: list[str]) -> list[str]:
    """Valid, unique Kubernetes names for a service's mounts, whose names are free text. A name that is valid already is kept."""
    chosen: list[str] = []
    for name in names:
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower())[:50].strip("-") or "volume"
        taken = {*chosen, containers.TEMPORARY_VOLUME}
        candidates = [slug, *(f"{slug}-{count}" for count in range(2, len(taken) + 2))]
        chosen.append(next(each for each in candidates if each not in taken))
    return chosen
