"""What all our pods have in common: only the rights that they need, within Kubernetes' "restricted" pod security standard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dyff.cluster import port
from dyff.kernel import quantities

USER_ID = 65532
"""An arbitrary unprivileged user. The number is fixed because `runAsNonRoot` alone rejects images whose user is root or a name."""

STEP = "step"
"""The container name of our steps."""

STEPS_COMMAND = ["python3", "-P", "-m", "dyff.workflows"]
"""The command that runs a step in our image, whose entry point is `dyff`."""

MANIFEST_DIR = "/dyff/manifest"
MANIFEST_FILE = "manifest.json"
TEMPORARY_DIR = "/dyff/tmp"
_MANIFEST_VOLUME = "dyff-manifest"
TEMPORARY_VOLUME = "dyff-tmp"
GRACE_S = 5
"""Time from SIGTERM to SIGKILL. A step saves its results within a second or is repeated; a runner has nothing to save. With
Kubernetes' default of 30 s, a pod that ignores SIGTERM would only delay everything that is waiting for its end."""
DISK = "ephemeral-storage"
"""Space on the disk of a node."""
_RESERVED_DISK = "64Mi"
_STEP_REQUESTS = {"cpu": "250m", "memory": "512Mi"}


def pod(spec: port.Object) -> port.Object:
    """A pod spec with the fields that all our pods share."""
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


def container(name: str, image: str, spec: port.Object) -> port.Object:
    """A container without privileges and with a read-only root, whose last log lines are kept in the pod's status if it fails."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": security,
        **{key: value for key, value in spec.items() if value not in (None, [], {})},
    }


def step(
    name: str,
    image: str,
    args: list[str],
    storage_env: Mapping[str, str],
    *,
    disk: str,
    mounts: tuple[port.Object, ...] = (),
    requests: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    secrets: Sequence[str] = (),
) -> port.Object:
    """A container for one of our own programs. Only these get access to the storage, and they write only to their mounts.

    `disk`: a quantity, what it may write to its node. `requests`: resource requests; None for the small defaults. `env`: additional
    variables. `secrets`: names of Secrets whose keys become variables, too.
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
        "resources": {"requests": {**_STEP_REQUESTS, DISK: disk_request(disk), **(requests or {})}, "limits": {DISK: disk}},
        "volumeMounts": [temporary, *mounts],
    }
    return container(name, image, spec)


def disk_request(limit: str) -> str:
    """The space that is reserved for a container with that limit: little, and not more. Without a request, all of it would be."""
    return min(limit, _RESERVED_DISK, key=quantities.parse_bytes)


def temporary_volume(limit: str) -> port.Object:
    """The volume for temporary files of steps. `limit`: a quantity."""
    return {"name": TEMPORARY_VOLUME, "emptyDir": {"sizeLimit": limit}}


def manifest_volume(config_map: str) -> port.Object:
    """The volume with a step's manifest."""
    return {"name": _MANIFEST_VOLUME, "configMap": {"name": config_map}}


def manifest_mount() -> port.Object:
    """The mount where a step finds its manifest."""
    return {"name": _MANIFEST_VOLUME, "mountPath": MANIFEST_DIR, "readOnly": True}
