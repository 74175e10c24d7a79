"""Kubernetes as a port: objects are plain JSON in the form of the Kubernetes API, in one namespace.

The semantics are those of Kubernetes: `metadata.resourceVersion` changes with every write, `metadata.generation` with every
change of the spec, `status` is a subresource, `metadata.ownerReferences` let dependents be garbage-collected with their owner,
`metadata.finalizers` keep an object (with `deletionTimestamp`) until the last one is removed, and labels select objects.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any, Literal, Protocol

import msgspec

from dyff.entities.custom_resource import GROUP_VERSION, CustomResource

Object = dict[str, Any]
"""A Kubernetes object: `{"apiVersion", "kind", "metadata", "spec", "status"}`."""


class Kind(msgspec.Struct, frozen=True):
    """Identifies a resource type, e.g. `Kind("batch/v1", "Job", "jobs")`."""

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
NETWORK_POLICY = Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")


class Listing(msgspec.Struct, frozen=True):
    """A consistent list, and the version from which to watch."""

    items: tuple[Object, ...]
    resource_version: str


class Event(msgspec.Struct, frozen=True):
    """A change. The object of a BOOKMARK has only `metadata.resourceVersion`."""

    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
    object: Object


class Upstream(msgspec.Struct, frozen=True):
    """How this process reaches a Service: at `url`, which has a host and can have a path, with additional `headers`.

    `tls`: for an https URL; None for the machine's default.
    """

    url: str
    headers: tuple[tuple[str, str], ...] = ()
    tls: ssl.SSLContext | None = None


class LogLine(msgspec.Struct, frozen=True):
    """A line of a container's log. `timestamp`: RFC 3339."""

    timestamp: str
    message: str


class Cluster(Protocol):
    """One namespace of a cluster.

    All methods raise `Unavailable` if the API server does not answer. A write can have taken effect all the same, so callers must
    read before they write again. They raise `Blocked` if a permission, a type or the namespace is missing. Writes raise
    `Refused` if the server refuses this one object for now, because of a policy or a quota.
    """

    def now(self) -> datetime:
        """The present time by the cluster's clock, by which the times in objects are."""
        ...

    async def create(self, kind: Kind, obj: Object) -> Object:
        """Create an object; returns it with uid, resourceVersion and creationTimestamp.

        Raises:
            AlreadyExists: the name is taken.
            InvalidFields, TooLarge: the server can never take the object as it is.
        """
        ...

    async def get(self, kind: Kind, name: str) -> Object | None:
        """The object; None if it does not exist."""
        ...

    async def list(self, kind: Kind, labels: Mapping[str, str] | None = None) -> Listing:
        """All objects of a kind that have all of `labels`."""
        ...

    def watch(
        self, kind: Kind, resource_version: str, *, timeout_s: float, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[Event]:
        """Changes after `resource_version`, in order, each once. Ends on its own after about `timeout_s` seconds.

        Raises:
            WatchExpired: that version is too old; list again.
        """
        ...

    async def replace(self, kind: Kind, obj: Object) -> Object:
        """Replace metadata and spec (not status); `metadata.resourceVersion` must be the current one.

        Raises:
            StaleVersion: it is not the current one.
            NotFound: the object does not exist.
        """
        ...

    async def patch(self, kind: Kind, name: str, patch: Object, *, status: bool = False) -> Object:
        """Apply a JSON merge patch to metadata and spec, or with `status` to the status only.

        A `metadata.resourceVersion` or `metadata.uid` in the patch is a precondition.

        Raises:
            StaleVersion: a precondition does not hold.
            NotFound: the object does not exist.
        """
        ...

    async def delete(self, kind: Kind, name: str, *, uid: str | None = None) -> None:
        """Delete an object and, in the background, its dependents. It need not exist. `uid`: delete it only if it has this UID.

        Raises:
            StaleVersion: another object has that name now.
        """
        ...

    async def logs(
        self, pod: str, *, container: str | None = None, since: str | None = None, limit: int | None = None
    ) -> tuple[LogLine, ...]:
        """The last `limit` lines that a pod's container wrote after `since` (RFC 3339); empty if there are none (any more).

        `container`: None for all containers, init containers first.
        """
        ...

    def follow(self, pod: str, container: str, *, since: str | None = None) -> AsyncIterator[LogLine]:
        """The lines that a pod's container wrote after `since` (RFC 3339; None for all lines), then new lines as it writes them.

        Ends when the container has ended or the pod is gone, and all its lines have been yielded; ends immediately if the pod or
        the container does not exist. Waits for a container that has not started yet. To follow a container that starts again, call
        this again, from the last line that was seen. Close the iterator if you leave it early.
        """
        ...

    async def service_url(self, name: str) -> Upstream | None:
        """How this process reaches a Service; None if it does not exist."""
        ...

    async def pod_service_url(self, name: str) -> str | None:
        """The base URL at which pods reach a Service, unchanged as long as the Service exists. None if it does not exist."""
        ...
