"""The one place where an adapter is chosen: settings in, ports out."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from dyff.accounts import embedded as embedded_accounts
from dyff.accounts import port as accounts
from dyff.api import role as api
from dyff.bus import embedded as embedded_bus
from dyff.bus import port as bus
from dyff.bus import topics
from dyff.cluster import embedded as embedded_cluster
from dyff.cluster import port as cluster
from dyff.kernel import clock, errors, ids, settings
from dyff.objects import local, signing
from dyff.objects import port as objects
from dyff.query import embedded as embedded_query
from dyff.query import port as query
from dyff.serve import directory


class Adapters(msgspec.Struct, frozen=True):
    """What the roles are given.

    `signer`: checks URLs of the embedded object store, which the api serves itself. `storage_env`: how trusted steps
    reach the object store. `public_url`: how clients reach the api. `listener`: the socket that it serves on, bound once,
    so that port 0 has a number before URLs are signed and a restart of the role finds its port free. `local_bus`: the
    log, where it is the embedded one.
    """

    clock: clock.Clock
    ids: ids.Ids
    bus: bus.Bus
    query: query.QueryStore
    accounts: accounts.Accounts
    objects: objects.Objects
    cluster: cluster.Cluster
    signer: signing.Signer
    storage_env: Mapping[str, str]
    public_url: str
    listener: socket.socket
    local_bus: embedded_bus.EmbeddedBus | None
    local_cluster: embedded_cluster.EmbeddedCluster


def public_url(chosen: settings.Api, port: int) -> str:
    """The `public_url` setting, or what follows from the host and the bound port."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(chosen.host, chosen.host)
    return (chosen.public_url or f"http://{f'[{host}]' if ':' in host else host}:{port}").rstrip("/")


@asynccontextmanager
async def open_adapters(loaded: settings.Settings, place: directory.DataDirectory, time: clock.Clock) -> AsyncIterator[Adapters]:
    """Open what the settings choose; closed in reverse when the context ends.

    Raises:
        Misconfigured: the topics that are there do not fit the settings, or the address is taken.
        LogDiverged: the log is damaged.
    """
    names = ids.RandomIds()
    async with AsyncExitStack() as stack:
        local_bus: embedded_bus.EmbeddedBus | None = None
        log: bus.Bus
        if loaded.bus.kafka.bootstrap_servers is None:
            log = local_bus = await stack.enter_async_context(embedded_bus.EmbeddedBus.open(place.bus, clock=time, ids=names))
        else:
            log = await stack.enter_async_context(_kafka(loaded.bus.kafka))
        await log.create_topics(topics.specs(loaded.bus.partitions))
        view = await stack.enter_async_context(embedded_query.EmbeddedQuery.open(place.query))
        authorization = await stack.enter_async_context(embedded_accounts.EmbeddedAccounts.open(place.accounts))
        resources = await stack.enter_async_context(
            embedded_cluster.EmbeddedCluster.open(place.cluster, clock=time, ids=names, pods_dir=place.pods)
        )
        listener = stack.enter_context(api.listener(loaded.api.host, loaded.api.port))
        url = public_url(loaded.api, listener.getsockname()[1])
        signer = signing.Signer(await authorization.signing_secret(), url, time)
        yield Adapters(
            clock=time,
            ids=names,
            bus=log,
            query=view,
            accounts=authorization,
            objects=local.LocalObjects.open(place.objects, signer),
            cluster=resources,
            signer=signer,
            storage_env={"DYFF_STORAGE_URL": place.objects.as_uri()},
            public_url=url,
            listener=listener,
            local_bus=local_bus,
            local_cluster=resources,
        )


def _kafka(chosen: settings.Kafka) -> AbstractAsyncContextManager[bus.Bus]:
    """The bus on Kafka, whose client is imported only here: who has the embedded log need not wait for it.

    Raises:
        Misconfigured: a file that the settings name cannot be read.
    """
    from dyff.bus import kafka

    try:
        tls = ssl.create_default_context(cafile=chosen.tls_ca_file) if chosen.tls else None
        password = Path(chosen.sasl_password_file).read_text().strip() if chosen.sasl_password_file is not None else None
    except OSError as error:
        raise errors.Misconfigured(f"settings: bus.kafka: a file cannot be read: {error}") from error
    return kafka.KafkaBus.open(
        kafka.Connection(
            bootstrap_servers=chosen.bootstrap_servers or "",
            tls=tls,
            sasl_mechanism=chosen.sasl_mechanism,
            sasl_username=chosen.sasl_username,
            sasl_password=password,
            replication=chosen.replication,
            compression=chosen.compression,
            prefix=chosen.prefix,
        )
    )
