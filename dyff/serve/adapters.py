"""The adapters and shared objects that the roles of this process use."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TypeVar

import msgspec

from dyff.accounts import codes
from dyff.accounts import port as accounts
from dyff.bus import embedded as embedded_bus
from dyff.bus import port as bus
from dyff.cluster import embedded as embedded_cluster
from dyff.cluster import port as cluster
from dyff.cluster.pods.isolation import describing
from dyff.kernel import audit, clock, degradation, ids
from dyff.kernel.telemetry import traces
from dyff.kernel.telemetry.metrics import Metrics
from dyff.objects import port as objects
from dyff.objects import signing
from dyff.query import port as query
from dyff.serve import space

T = TypeVar("T")


class Adapters(msgspec.Struct, frozen=True, kw_only=True):
    """The opened ports and related objects. A port is None if no role of this process needs it.

    `signer`: signs and checks URLs of the embedded object store, which the api serves itself; None if the store has its own URLs.
    `storage_env`: variables that give trusted steps access to the object store. `listener`: the socket that the api serves on; None
    if this process has no api. It is bound once, so that port 0 is resolved before URLs are signed, and the port is still free when
    the role restarts. `public_url`: the base URL for clients. `probes`: the socket of the probes; None if only the api serves them.
    `sandboxes`: how the embedded cluster confines programs of accounts; None without an embedded cluster.
    `troubles`: where roles and adapters report what does not work. `disk`: of the data directory; None if nothing of this process is there.
    `audit`: takes entries of the audit log; None if this process writes none. `tracer`: records spans. `metrics`: of this process.
    `codes`: for links that sign a person in; None if there is no terminal on which one could be printed.
    """

    clock: clock.Clock
    ids: ids.Ids
    troubles: degradation.Troubles = msgspec.field(default_factory=degradation.Troubles)
    disk: space.Space | None = None
    storage_env: Mapping[str, str] = {}
    bus: bus.Bus | None = None
    query: query.QueryStore | None = None
    accounts: accounts.Accounts | None = None
    objects: objects.Objects | None = None
    cluster: cluster.Cluster | None = None
    signer: signing.Signer | None = None
    listener: socket.socket | None = None
    public_url: str = ""
    probes: socket.socket | None = None
    sandboxes: describing.Sandboxes | None = None
    audit: audit.Trail | None = None
    tracer: traces.Tracer = traces.SILENT
    metrics: Metrics = msgspec.field(default_factory=Metrics)
    codes: codes.Codes | None = None

    @property
    def local_bus(self) -> embedded_bus.EmbeddedBus | None:
        """The log if it is the embedded one, otherwise None."""
        return self.bus if isinstance(self.bus, embedded_bus.EmbeddedBus) else None

    @property
    def local_cluster(self) -> embedded_cluster.EmbeddedCluster | None:
        """The cluster if it is the embedded one, otherwise None."""
        return self.cluster if isinstance(self.cluster, embedded_cluster.EmbeddedCluster) else None


def given(port: T | None) -> T:
    """A port that the role's row names, which is therefore never None."""
    if port is None:
        raise AssertionError("a role uses a port that its row in the table of roles does not name")
    return port
