"""Kubernetes as a port: objects are plain JSON as the Kubernetes API has them, in one namespace.

Semantics are Kubernetes's: `metadata.resourceVersion` changes with every write, `metadata.generation` with every
change of spec, `status` is a subresource of its own, `metadata.ownerReferences` make dependents go with their owner,
`metadata.finalizers` keep an object (with `deletionTimestamp`) until the last is removed, labels select.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, Protocol

import msgspec

from dyff.entities.custom_resource import GROUP_VERSION, CustomResource

Object = dict[str, Any]
"""A Kubernetes object: `{"apiVersion", "kind", "metadata", "spec", "status"}`."""


class Kind(msgspec.Struct, frozen=True):
    """What identifies a resource type, e.g. `Kind("batch/v1", "Job", "jobs")`."""

    api_version: str
    kind: str
    plural: str


def custom(resource: CustomResource) -> Kind:
    """The kind of one of our custom resources."""
    return Kind(GROUP_VERSION, resource.kind, resource.plural)


JOB = Kind("batch/v1", "Job", "jobs")
DEPLOYMENT = Kind("apps/v1", "Deployment", "deployments")
SERVICE = Kind("v1", "Service", "services")
POD = Kind("v1", "Pod", "pods")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")


class Listing(msgspec.Struct, frozen=True):
    """A consistent list and the version to watch from."""

    items: tuple[Object, ...]
    resource_version: str


class Event(msgspec.Struct, frozen=True):
    """A change. A BOOKMARK has only `metadata.resourceVersion`."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


class Upstream(msgspec.Struct, frozen=True):
    """How this process reaches a Service: at `url`, which has a host and may have a path, with `headers` of its own.

    `tls`: of a URL with https; None: the machine's.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    tls: ssl.SSLContext | None = None


class LogLine(msgspec.Struct, frozen=True):
    """A line that a container wrote. `timestamp`: RFC 3339."""

    timestamp: str
    message: str


class Cluster(Protocol):
    """One namespace of a cluster.

    Raises `Unavailable` where the API server does not answer; a write may have taken effect all the same, so who writes looks
    before it writes again. Raises `Misconfigured` where it does not let us.
    """

    async def create(self, kind: Kind, obj: Object) -> Object:
        """Create it; returns it with uid, resourceVersion, creationTimestamp.

        Raises:
            AlreadyExists: the name is taken.
            InvalidFields: the server refuses the object.
        """
        ...

    async def get(self, kind: Kind, name: str) -> Object | None:
        """The object; None: there is none."""
        ...

    async def list(self, kind: Kind, labels: Mapping[str, str] | None = None) -> Listing:
        """All objects of a kind that have all of `labels`."""
        ...

    def watch(
        self, kind: Kind, resource_version: str, *, timeout_s: float, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[Event]:
        """Changes after `resource_version`, in order, each once; ends by itself after about `timeout_s` seconds.

        Raises:
            WatchExpired: that version is too old: list again.
        """
        ...

    async def replace(self, kind: Kind, obj: Object) -> Object:
        """Replace metadata and spec (not status); `metadata.resourceVersion` must be the current one.

        Raises:
            StaleVersion: it is not.
            NotFound: there is no such object.
        """
        ...

    async def patch(self, kind: Kind, name: str, patch: Object, *, status: bool = False) -> Object:
        """Apply a JSON merge patch to metadata and spec, or with `status` to the status only.

        A `metadata.resourceVersion` or `metadata.uid` in the patch is a precondition.

        Raises:
            StaleVersion: a precondition does not hold.
            NotFound: there is no such object.
        """
        ...

    async def delete(self, kind: Kind, name: str, *, uid: str | None = None) -> None:
        """Delete it and, in the background, its dependents; an absent one is fine. `uid`: only if it is that very one.

        Raises:
            StaleVersion: another object has that name now.
        """
        ...

    async def logs(
        self, pod: str, *, container: str | None = None, since: str | None = None, limit: int | None = None
    ) -> tuple[LogLine, ...]:
        """The last `limit` lines that a pod's container wrote after `since` (RFC 3339); empty if there are none (any more).

        `container` None: all of them, init containers first.
        """
        ...

    def follow(self, pod: str, container: str, *, since: str | None = None) -> AsyncIterator[LogLine]:
        """The lines that a pod's container wrote after `since` (RFC 3339; None: from its first), then those that it writes.

        Ends when the container has ended, or the pod is gone, and all that it wrote was told; at once where there is no such pod
        or container. One that has not started yet is waited for. One that starts again is followed by another call, from the last
        line that was seen. Close it where you leave it early.
        """
        ...

    async def service_url(self, name: str) -> Upstream | None:
        """How this process reaches a Service; None: there is no such Service."""
        ...

    async def pod_service_url(self, name: str) -> str | None:
        """The base URL at which pods reach a Service; it stays the same as long as the Service exists. None: no such Service."""
        ...
