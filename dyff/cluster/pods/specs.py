"""The parts of a Kubernetes Pod that the local cluster supports. Everything else is ignored, or refused if it would matter.

Ignored: liveness and startup probes, cpu, accelerators, security contexts, scheduling. Refused with a reason: see `refusals`.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from dyff.cluster import port
from dyff.cluster.pods import refusals

FINALIZER = "dyff.io/kubelet"
"""Keeps a Pod until its processes are gone."""
LOCAL_PORT = "dyff.io/local-port"
"""Annotation: the loopback port on which the pod's container listens."""
LOCAL_SOCKET = "dyff.io/local-socket"
"""Annotation: the Unix socket by which the server reaches that port, if it is one of the pod's own network."""
DEFAULT_GRACE_S = 5.0
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class _Part(msgspec.Struct, frozen=True, rename="camel"):
    """Base of the structs here. Unknown fields are ignored."""


class Owner(_Part, frozen=True):
    """An owner reference."""

    kind: str = ""
    name: str = ""


class Metadata(_Part, frozen=True):
    """Metadata of a Pod. `deletion_timestamp`: None unless it is being deleted. `creation_timestamp`: orders waiting pods."""

    name: str
    uid: str
    namespace: str = "default"
    resource_version: str = ""
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[Owner, ...] = ()
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class FieldRef(_Part, frozen=True):
    """A field of the pod itself."""

    field_path: str


class EnvSource(_Part, frozen=True):
    """The source of a variable's value; `field_ref` is None for a source that is not supported here."""

    field_ref: FieldRef | None = None


class Env(_Part, frozen=True):
    """An environment variable."""

    name: str
    value: str | None = None
    value_from: EnvSource | None = None


class SecretSource(_Part, frozen=True):
    """A Secret all of whose keys become variables."""

    name: str
    optional: bool = False


class EnvFrom(_Part, frozen=True):
    """A source of variables; `secret_ref` is None for a source that is not supported here."""

    secret_ref: SecretSource | None = None
    prefix: str = ""


class Mount(_Part, frozen=True):
    """A volume mount of a container. `sub_path`: mount only this path below the volume. `read_only`: for a sandboxed program."""

    name: str
    mount_path: str
    sub_path: str = ""
    read_only: bool = False


class HttpGet(_Part, frozen=True):
    """An HTTP probe."""

    path: str = "/"


class Probe(_Part, frozen=True):
    """A readiness probe. `http_get`: None if a TCP connection is enough. The thresholds count consecutive results."""

    http_get: HttpGet | None = None
    initial_delay_seconds: float = 0.0
    timeout_seconds: float = 1.0
    success_threshold: int = 1
    failure_threshold: int = 3


class ContainerPort(_Part, frozen=True):
    """A port on which the program listens inside a container. Here it only means that the program listens at all."""

    container_port: int


class Resources(_Part, frozen=True):
    """Kubernetes quantities."""

    limits: dict[str, str | int | float] = {}


class Container(_Part, frozen=True):
    """A container. Its `command` is omitted because the image mapping's command replaces it."""

    name: str
    image: str = ""
    args: tuple[str, ...] = ()
    working_dir: str = ""
    env: tuple[Env, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    volume_mounts: tuple[Mount, ...] = ()
    readiness_probe: Probe | None = None
    resources: Resources = Resources()


class Item(_Part, frozen=True):
    """A key of a ConfigMap, and its path below the volume."""

    key: str
    path: str


class ConfigMapSource(_Part, frozen=True):
    """A ConfigMap as a volume. `items`: empty for all keys, under their own names."""

    name: str
    items: tuple[Item, ...] = ()
    optional: bool = False


class Volume(_Part, frozen=True):
    """A volume; one that is neither a ConfigMap nor an empty directory is refused."""

    name: str
    config_map: ConfigMapSource | None = None
    empty_dir: dict[str, Any] | None = None


class Spec(_Part, frozen=True):
    """The spec of a Pod. `restart_policy`: Always, OnFailure or Never. `active_deadline_seconds`: from the pod's start."""

    containers: tuple[Container, ...]
    init_containers: tuple[Container, ...] = ()
    volumes: tuple[Volume, ...] = ()
    restart_policy: str = "Always"
    active_deadline_seconds: float | None = None
    termination_grace_period_seconds: float = DEFAULT_GRACE_S


class Pod(_Part, frozen=True):
    """A Pod. `status`: as in the cluster, arbitrary JSON."""

    metadata: Metadata
    spec: Spec
    status: dict[str, Any] = {}

    @property
    def main(self) -> Container:
        """The only container that is not an init container."""
        return self.spec.containers[0]

    @property
    def of_job(self) -> bool:
        """Whether a Job created it. The number of running Job pods is limited, that of serving pods is not."""
        return any(owner.kind == "Job" for owner in self.metadata.owner_references)

    @property
    def ended(self) -> bool:
        """Whether its outcome is already in the cluster."""
        return self.status.get("phase") in ("Succeeded", "Failed")


def parse(obj: port.Object) -> Pod:
    """Parse a Kubernetes object.

    Raises:
        Refused: the object is invalid (reason `InvalidSpec`); the message names the field.
    """
    try:
        pod = msgspec.convert({**obj, "status": obj.get("status") or {}}, Pod)
    except msgspec.ValidationError as error:
        raise refusals.Refused(refusals.INVALID, f"the pod cannot be understood: {error}") from error
    _check(pod)
    return pod


def _check(pod: Pod) -> None:
    if len(pod.spec.containers) != 1:
        raise refusals.Refused(refusals.INVALID, f"spec.containers: the local cluster runs one, not {len(pod.spec.containers)}")
    if pod.spec.restart_policy not in ("Always", "OnFailure", "Never"):
        raise refusals.Refused(refusals.INVALID, f"spec.restartPolicy: {pod.spec.restart_policy!r} is none of Always, OnFailure, Never")
    names = [each.name for each in (*pod.spec.init_containers, *pod.spec.containers)]
    for name in (*names, *(volume.name for volume in pod.spec.volumes)):
        # Names become file names.
        if not _NAME.fullmatch(name):
            raise refusals.Refused(refusals.INVALID, f"{name!r} is no name: lowercase letters, digits and -, at most 63")
    if len(set(names)) != len(names):
        raise refusals.Refused(refusals.INVALID, f"spec: two containers have the same name: {', '.join(names)}")


def order(pod: Pod) -> tuple[str, str]:
    """The key that sorts pods by age."""
    return pod.metadata.creation_timestamp, pod.metadata.name
