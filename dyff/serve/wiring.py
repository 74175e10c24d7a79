"""What the roles of this process are given: the ports that they need, and no others."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import msgspec

from dyff.accounts import port as accounts
from dyff.bus import embedded as embedded_bus
from dyff.bus import port as bus
from dyff.cluster import embedded as embedded_cluster
from dyff.cluster import port as cluster
from dyff.kernel import clock, ids, listening, settings
from dyff.objects import port as objects
from dyff.objects import signing
from dyff.query import port as query
from dyff.serve import directory, migrating, opening

T = TypeVar("T")

NEEDS: Mapping[str, frozenset[str]] = {
    "api": frozenset({"bus", "query", "accounts", "objects", "cluster"}),
    "aggregator": frozenset({"bus"}),
    "sink": frozenset({"bus", "query"}),
    "orchestrator": frozenset({"bus", "accounts", "objects", "cluster"}),
    "informer": frozenset({"bus", "cluster"}),
    "operator": frozenset({"cluster"}),
}
"""The ports of each role; what is not here it cannot reach."""


class Adapters(msgspec.Struct, frozen=True, kw_only=True):
    """What the roles are given. A port is None where no role of this process needs it.

    `signer`: checks URLs of the embedded object store, which the api serves itself; None: another store has URLs of its own.
    `storage_env`: how trusted steps reach the object store. `listener`: the socket that the api serves on, bound once, so
    that port 0 has a number before URLs are signed and a restart of the role finds its port free; None: there is no api.
    `public_url`: how clients reach it. `probes`: the socket of the probes; None: only the api has them.
    """

    clock: clock.Clock
    ids: ids.Ids
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

    @property
    def local_bus(self) -> embedded_bus.EmbeddedBus | None:
        """The log, where it is the embedded one."""
        return self.bus if isinstance(self.bus, embedded_bus.EmbeddedBus) else None

    @property
    def local_cluster(self) -> embedded_cluster.EmbeddedCluster | None:
        """The cluster, where it is the embedded one."""
        return self.cluster if isinstance(self.cluster, embedded_cluster.EmbeddedCluster) else None


def given(port: T | None) -> T:
    """A port that `NEEDS` promises to the role."""
    if port is None:
        raise AssertionError("a role uses a port that its row in NEEDS does not name")
    return port


def needs(names: tuple[str, ...]) -> frozenset[str]:
    """The ports of these roles together."""
    return frozenset().union(*(NEEDS[name] for name in names))


def public_url(chosen: settings.Api, port: int) -> str:
    """The `public_url` setting, or what follows from the host and the bound port."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(chosen.host, chosen.host)
    return (chosen.public_url or f"http://{f'[{host}]' if ':' in host else host}:{port}").rstrip("/")


@asynccontextmanager
async def open_adapters(
    loaded: settings.Settings, place: directory.DataDirectory, time: clock.Clock, names: tuple[str, ...]
) -> AsyncIterator[Adapters]:
    """Open what the settings choose and these roles need; closed in reverse when the context ends.

    Raises:
        Misconfigured: the topics that are there do not fit the settings, the address is taken, or an engine refuses us.
        LogDiverged: the log is damaged.
        OlderSchema, NewerSchema: what is stored is not of this release.
        Unavailable: an engine does not answer.
    """
    wanted, new_ids = needs(names), ids.RandomIds()
    async with AsyncExitStack() as stack:
        found = _listening(loaded, Adapters(clock=time, ids=new_ids), names, stack)
        if "operator" in names:
            found = msgspec.structs.replace(found, storage_env={"DYFF_STORAGE_URL": opening.storage_url(loaded, place)})
        if "bus" in wanted:
            log = await stack.enter_async_context(opening.open_bus(loaded, place, time, new_ids))
            found = msgspec.structs.replace(found, bus=log)
        await migrating.prepare(loaded, place, time, wanted, found.bus)
        if "query" in wanted:
            found = msgspec.structs.replace(found, query=await stack.enter_async_context(opening.open_query(loaded, place)))
        if "accounts" in wanted:
            found = msgspec.structs.replace(found, accounts=await stack.enter_async_context(opening.open_accounts(loaded, place)))
        if "cluster" in wanted:
            resources = await stack.enter_async_context(opening.open_cluster(loaded, place, time, new_ids))
            found = msgspec.structs.replace(found, cluster=resources)
        if "objects" in wanted:
            signer = await _signer(loaded, found) if "api" in names else None
            found = msgspec.structs.replace(found, objects=await opening.open_objects(loaded, place, time, signer), signer=signer)
        yield found


def _listening(loaded: settings.Settings, found: Adapters, names: tuple[str, ...], stack: AsyncExitStack) -> Adapters:
    """With what this process listens on."""
    if "api" in names:
        listener = listening.bound(loaded.api.host, loaded.api.port, who="the API", advice="choose another with --host and --port")
        url = public_url(loaded.api, stack.enter_context(listener).getsockname()[1])
        found = msgspec.structs.replace(found, listener=listener, public_url=url)
    if loaded.probes.port is not None:
        told = listening.bound(loaded.probes.host, loaded.probes.port, who="the probes", advice="set probes.host and probes.port")
        found = msgspec.structs.replace(found, probes=stack.enter_context(told))
    return found


async def _signer(loaded: settings.Settings, found: Adapters) -> signing.Signer | None:
    """What signs and checks URLs that lead to the api; None: the object store has URLs of its own."""
    if loaded.objects.url is not None:
        return None
    return signing.Signer(await given(found.accounts).signing_secret(), found.public_url, found.clock)
