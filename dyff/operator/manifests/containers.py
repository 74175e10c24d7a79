"""What all pods of ours have in common: nothing that they do not need, under Kubernetes' "restricted" standard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dyff.cluster import port

USER_ID = 65532
"""Nobody in particular. A fixed number, since images whose user is root or a name are refused by `runAsNonRoot` alone."""

STEP = "step"
"""The name of the container of one of our steps."""

STEPS_COMMAND = ["python3", "-P", "-m", "dyff.workflows"]
"""What runs a step in our image, whose entry point is the command `dyff`."""

MANIFEST_DIR = "/dyff/manifest"
MANIFEST_FILE = "manifest.json"
TEMPORARY_DIR = "/dyff/tmp"
_MANIFEST_VOLUME = "dyff-manifest"
TEMPORARY_VOLUME = "dyff-tmp"
GRACE_S = 5
"""From SIGTERM to SIGKILL. A step stores what it has within a second or is done again; a runner has nothing to save. Kubernetes's
own 30 s would only let a stubborn pod hold up what waits for its end."""
_STEP_REQUESTS = {"cpu": "250m", "memory": "512Mi"}


def pod(spec: port.Object) -> port.Object:
    """A pod's spec with what every pod of ours has."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **spec,
    }


def container(name: str, image: str, spec: port.Object, *, read_only_root: bool = False) -> port.Object:
    """A container without rights, whose last log lines stay in the pod's status if it fails."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {**security, "readOnlyRootFilesystem": True} if read_only_root else security,
        **{key: value for key, value in spec.items() if value not in (None, [], {})},
    }


def step(
    name: str,
    image: str,
    args: list[str],
    storage_env: Mapping[str, str],
    *,
    mounts: tuple[port.Object, ...] = (),
    requests: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
) -> port.Object:
    """One of our own programs: it alone reaches the storage, and it writes nowhere but to its mounts.

    `requests`: of resources; None: little. `env`: more variables. `secrets`: names of Secrets whose keys are more of them.
    """
    own = [
        {"name": "DYFF_ATTEMPT", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "TMPDIR", "value": TEMPORARY_DIR},
    ]
    given = [{"name": key, "value": value} for key, value in sorted({**(env or {}), **storage_env}.items())]
    temporary = {"name": TEMPORARY_VOLUME, "mountPath": TEMPORARY_DIR}
    spec = {
        "command": STEPS_COMMAND,
        "args": args,
        "env": [*own, *given],
        "envFrom": [{"secretRef": {"name": name}} for name in secrets],
        "resources": {"requests": {**_STEP_REQUESTS, **(requests or {})}},
        "volumeMounts": [temporary, *mounts],
    }
    return container(name, image, spec, read_only_root=True)


def temporary_volume() -> port.Object:
    """Where steps write what they need for a while."""
    return {"name": TEMPORARY_VOLUME, "emptyDir": {}}


def manifest_volume(config_map: str) -> port.Object:
    """A step's manifest."""
    return {"name": _MANIFEST_VOLUME, "configMap": {"name": config_map}}


def manifest_mount() -> port.Object:
    """Where a step finds its manifest."""
    return {"name": _MANIFEST_VOLUME, "mountPath": MANIFEST_DIR, "readOnly": True}
