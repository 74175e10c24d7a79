"""Settings of the pods of a Kubernetes cluster that run what an account chose."""

from __future__ import annotations

import ipaddress
from typing import Annotated

import msgspec

from dyff.kernel import quantities

Network = str
"""A range of addresses, such as `10.0.0.0/8`."""


class Programs(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How pods that run accounts' programs are contained. The local cluster ignores all but `max_life_s`.

    `runtime_class`: the RuntimeClass of these pods, such as gVisor's or Kata's; None for the cluster's default. `user_namespaces`:
    whether they get a user namespace of their own (`hostUsers: false`), which the nodes must support. `tmp_limit`: a quantity, what a
    runner may write to `/tmp`; its log may have as much. `data_limit`: a quantity, the files of one mounted entity, and the temporary
    files of a step. `max_life_s`: the life of a session that has no end of its own. `callers`: networks from which services are
    called, besides our own pods, such as those of the API server if Dyff's API runs outside the cluster. `storage`: networks of the
    object store, to which a pod that fetches data may connect; empty to derive them from the store's URL.
    """

    runtime_class: str | None = None
    user_namespaces: bool = False
    tmp_limit: str = "10Gi"
    data_limit: str = "1Ti"
    max_life_s: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = 31 * 86400.0
    callers: tuple[Network, ...] = ()
    storage: tuple[Network, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what the API server would refuse for every session."""
        for name in ("tmp_limit", "data_limit"):
            try:
                quantities.parse_bytes(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        for name, network in (*(("callers", each) for each in self.callers), *(("storage", each) for each in self.storage)):
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise ValueError(f"{name}: {network!r} is no network such as 10.0.0.0/8: {error}") from error
