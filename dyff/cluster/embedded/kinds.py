"""The resource types that the embedded cluster serves."""

from __future__ import annotations

import msgspec

from dyff.cluster import port
from dyff.entities import registry
from dyff.kernel import errors

SUBDOMAIN_LENGTH = 253
LABEL_LENGTH = 63


class Resource(msgspec.Struct, frozen=True):
    """The properties of a type.

    `status`: whether it has a status subresource. `generation`: whether `metadata.generation` counts the changes of its spec.
    `name_length`: maximum length of names; the names of Jobs and Services become labels and host names.
    """

    kind: port.Kind
    status: bool = True
    generation: bool = True
    name_length: int = SUBDOMAIN_LENGTH

    @property
    def key(self) -> str:
        """The name of the type in the database, e.g. `batch/v1/jobs`."""
        return f"{self.kind.api_version}/{self.kind.plural}"


ALL = (
    Resource(port.JOB, name_length=LABEL_LENGTH),
    Resource(port.DEPLOYMENT),
    Resource(port.SERVICE, generation=False, name_length=LABEL_LENGTH),
    Resource(port.POD),
    Resource(port.CONFIG_MAP, status=False, generation=False),
    Resource(port.NETWORK_POLICY, status=False),
    Resource(port.LEASE, status=False, generation=False),
    *(Resource(port.custom(each)) for each in registry.RESOURCES),
)
_BY_KIND = {each.kind: each for each in ALL}
_BY_NAME = {(each.kind.api_version, each.kind.kind): each.kind for each in ALL}


def resource(kind: port.Kind) -> Resource:
    """The properties of a type.

    Raises:
        InvalidFields: the cluster does not serve the type.
    """
    try:
        return _BY_KIND[kind]
    except KeyError:
        served = ", ".join(sorted(each.key for each in ALL))
        problem = errors.Problem(
            ("body", "kind"), f"{kind.api_version} {kind.kind} ({kind.plural}) is not served here; served are: {served}"
        )
        raise errors.InvalidFields(problem) from None


def named(api_version: str, kind: str) -> port.Kind | None:
    """The type that an owner reference names; None if it is not served here."""
    return _BY_NAME.get((api_version, kind))
