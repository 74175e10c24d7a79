"""Opens each port with the adapter that the settings choose: the only module that knows all adapters.

An engine's client is imported only here, and only if it is chosen: embedded installations do not wait for it, and need not have it.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio.to_thread

from dyff.accounts import embedded as embedded_accounts
from dyff.accounts import port as accounts
from dyff.bus import embedded as embedded_bus
from dyff.bus import port as bus
from dyff.bus import topics
from dyff.cluster import embedded as embedded_cluster
from dyff.cluster import port as cluster
from dyff.kernel import clock, degradation, engines, errors, extras, ids, patience, settings, sqlite
from dyff.objects import local, signing, stores
from dyff.objects import port as objects
from dyff.query import embedded as embedded_query
from dyff.query import maintenance
from dyff.query import port as query
from dyff.serve import directory, engine_clients

if TYPE_CHECKING:
    from dyff.kernel import mongo
    from dyff.objects import cloud
    from dyff.query.mongo import MongoQuery


def embedded(loaded: settings.Settings) -> frozenset[str]:
    """The ports with an embedded adapter. Their data is in the data directory."""
    engine = {
        "bus": loaded.bus.kafka.bootstrap_servers is not None,
        "query": loaded.query.mongodb.uri is not None,
        "accounts": loaded.accounts.mongodb.uri is not None,
        "objects": loaded.objects.url is not None,
        "cluster": on_kubernetes(loaded),
    }
    return frozenset(name for name, there in engine.items() if not there)


def on_kubernetes(loaded: settings.Settings) -> bool:
    """Whether the cluster is a Kubernetes cluster, not the embedded one of this machine."""
    chosen = loaded.cluster.kubernetes
    return chosen.in_cluster or chosen.kubeconfig is not None


def open_bus(
    loaded: settings.Settings,
    place: directory.DataDirectory,
    time: clock.Clock,
    names: ids.Ids,
    troubles: degradation.Troubles | None = None,
) -> AbstractAsyncContextManager[bus.Bus]:
    """Open the log. `troubles`: here and below, where the adapter reports faults that it works around; None if they are only logged.

    Raises:
        Misconfigured: a file that the settings name cannot be read.
        LogDiverged: the log is damaged.
    """
    chosen = loaded.bus.kafka
    if chosen.bootstrap_servers is None:
        return embedded_bus.EmbeddedBus.open(place.bus, clock=time, ids=names, troubles=troubles, patience_s=patience_s(loaded))
    engine_clients.require("bus", loaded)
    from dyff.bus import kafka

    try:
        tls = ssl.create_default_context(cafile=chosen.tls_ca_file) if chosen.tls else None
    except OSError as error:
        raise errors.Misconfigured(f"settings: bus.kafka.tls_ca_file: it cannot be used: {error}") from error
    return kafka.KafkaBus.open(
        kafka.Connection(
            bootstrap_servers=chosen.bootstrap_servers,
            tls=tls,
            sasl_mechanism=chosen.sasl_mechanism,
            sasl_username=chosen.sasl_username,
            sasl_password=_secret("bus.kafka.sasl_password_file", chosen.sasl_password_file),
            replication=chosen.replication,
            compression=chosen.compression,
            prefix=chosen.prefix,
            used={topics.SCHEMA: 1, **{spec.name: spec.partitions for spec in topics.specs(loaded.bus.partitions)}},
        ),
        troubles,
    )


def open_history(
    loaded: settings.Settings, place: directory.DataDirectory, time: clock.Clock, names: ids.Ids
) -> AbstractAsyncContextManager[bus.History]:
    """Open the log for reading only. Works while servers are running.

    Raises:
        Misconfigured: the log does not exist, or a file that the settings name cannot be read.
        LogDiverged: the log is damaged.
    """
    if loaded.bus.kafka.bootstrap_servers is None:
        return embedded_bus.EmbeddedHistory.open(place.bus)
    return open_bus(loaded, place, time, names)


def open_query(
    loaded: settings.Settings, place: directory.DataDirectory, troubles: degradation.Troubles | None = None
) -> AbstractAsyncContextManager[query.QueryStore]:
    """Open the query store.

    Raises:
        Misconfigured: a file that the settings name cannot be read.
    """
    return _mongo_query(loaded, troubles) or embedded_query.EmbeddedQuery.open(place.query, troubles=troubles)


@asynccontextmanager
async def open_query_for_maintenance(loaded: settings.Settings, place: directory.DataDirectory) -> AsyncIterator[query.QueryMaintenance]:
    """Open the query store to verify or rebuild it. Works while servers are running.

    Raises:
        Misconfigured: a file that the settings name cannot be read.
    """
    remote = _mongo_query(loaded)
    if remote is None:
        yield maintenance.EmbeddedMaintenance(place.query)
        return
    async with remote as found:
        yield found


def patience_s(loaded: settings.Settings) -> float:
    """How long a request waits for space or a lock: less than until its outcome would be unknown."""
    return min(patience.PATIENCE_S, loaded.api.publish_timeout_s / 2)


def open_accounts(
    loaded: settings.Settings, place: directory.DataDirectory, troubles: degradation.Troubles | None = None
) -> AbstractAsyncContextManager[accounts.Accounts]:
    """Open the accounts database.

    Raises:
        Misconfigured: a file that the settings name cannot be read.
    """
    chosen = loaded.accounts.mongodb
    if chosen.uri is None:
        return embedded_accounts.EmbeddedAccounts.open(place.accounts, troubles=troubles, patience_s=patience_s(loaded))
    engine_clients.require("accounts", loaded)
    from dyff.accounts.mongo import MongoAccounts

    return MongoAccounts.open(_mongodb("accounts.mongodb", chosen, chosen.uri), prepared=True)


def open_database(loaded: settings.Settings, name: str) -> AbstractAsyncContextManager[mongo.Database]:
    """Open the database of a port on MongoDB directly, for migrations. `name`: `query` or `accounts`.

    Raises:
        Misconfigured: a file that the settings name cannot be read.
    """
    engine_clients.require(name, loaded)
    from dyff.kernel import mongo

    chosen: engines.QueryDatabase | engines.AccountsDatabase = loaded.query.mongodb if name == "query" else loaded.accounts.mongodb
    return mongo.Database.open(_mongodb(f"{name}.mongodb", chosen, chosen.uri or ""), f"the database of {name}")


async def open_objects(
    loaded: settings.Settings, place: directory.DataDirectory, time: clock.Clock, signer: signing.Signer | None
) -> objects.Objects:
    """Open the object store. It need not be closed. `signer`: for URLs of the local store; None if it signs none.

    Raises:
        Misconfigured: the URL is invalid, the store refuses access, or it does not support put-if-absent.
        Unavailable, OutcomeUnknown: the store does not answer.
    """
    if loaded.objects.url is None:
        return await anyio.to_thread.run_sync(local.LocalObjects.open, place.objects, signer)
    engine_clients.require("objects", loaded)
    from dyff.objects import cloud

    connection = cloud.Connection.from_url(loaded.objects.url, os.environ)
    return await anyio.to_thread.run_sync(cloud.CloudObjects.open, connection, time)


def local_storage_url(loaded: settings.Settings, place: directory.DataDirectory) -> str | None:
    """The URL by which steps on this machine reach the object store in the data directory; None if it is elsewhere."""
    return place.objects.as_uri() if loaded.objects.url is None else None


def storage_url(loaded: settings.Settings) -> str:
    """The URL of the object store as Jobs have it, without credentials. That of a directory is relative: the kubelet completes it when it
    starts a step, because the data directory can be moved meanwhile.

    Raises:
        Misconfigured: the URL is invalid, or it is not set although the cluster is a Kubernetes cluster.
    """
    chosen = loaded.objects
    if chosen.url is None:
        if on_kubernetes(loaded):
            raise errors.Misconfigured(
                "settings: objects.url is not set: pods of a Kubernetes cluster cannot reach a directory of this machine"
            )
        return stores.RELATIVE
    engine_clients.require("objects", loaded)
    from dyff.objects import cloud

    return cloud.Connection.from_url(chosen.url, os.environ, anonymous=True).url(endpoint=chosen.steps_endpoint)


def store_address(loaded: settings.Settings, *, with_environment: bool = True) -> cloud.Connection | None:
    """The parsed address of the object store, without a look at credentials; None if it is a directory, its URL is wrong, or its client is
    not installed.

    `with_environment`: whether variables of this process, such as `AWS_ENDPOINT_URL`, count.
    """
    if loaded.objects.url is None or extras.lacking("cloud"):
        return None
    from dyff.objects import cloud

    try:
        return cloud.Connection.from_url(loaded.objects.url, os.environ if with_environment else {}, anonymous=True)
    except errors.Misconfigured:
        return None


@asynccontextmanager
async def open_cluster(
    loaded: settings.Settings,
    place: directory.DataDirectory,
    time: clock.Clock,
    names: ids.Ids,
    troubles: degradation.Troubles | None = None,
) -> AsyncIterator[cluster.Cluster]:
    """Open the cluster.

    Raises:
        Misconfigured: the credentials cannot be read, or the API server's certificate is not trusted.
        Locked: another program holds the lock of the embedded one's file.
    """
    if not on_kubernetes(loaded):
        async with AsyncExitStack() as stack:
            opened = embedded_cluster.EmbeddedCluster.open(place.cluster, clock=time, ids=names, pods_dir=place.pods, troubles=troubles)
            try:
                resources = await stack.enter_async_context(opened)
            except errors.InUse as error:  # not a server: the data directory is ours
                raise sqlite.locked("the cluster database") from error
            yield resources
        return
    engine_clients.require("cluster", loaded)
    from dyff.cluster import kubernetes

    chosen = loaded.cluster.kubernetes
    connection = kubernetes.Connection(
        kubeconfig=chosen.kubeconfig,
        context=chosen.context,
        in_cluster=chosen.in_cluster,
        namespace=chosen.namespace,
        timeout_s=chosen.timeout_s,
    )
    async with kubernetes.KubernetesCluster.open(connection, troubles, time) as remote:
        yield remote


def _mongo_query(loaded: settings.Settings, troubles: degradation.Troubles | None = None) -> AbstractAsyncContextManager[MongoQuery] | None:
    """The query store on MongoDB, prepared by `dyff migrate`; None if the embedded one is chosen."""
    chosen = loaded.query.mongodb
    if chosen.uri is None:
        return None
    engine_clients.require("query", loaded)
    from dyff.query.mongo import MongoQuery

    return MongoQuery.open(_mongodb("query.mongodb", chosen, chosen.uri), prepared=True, troubles=troubles)


def _mongodb(name: str, chosen: engines.QueryDatabase | engines.AccountsDatabase, uri: str) -> mongo.Connection:
    from dyff.kernel import mongo

    return mongo.Connection(
        uri=uri,
        database=chosen.database,
        username=chosen.username,
        password=_secret(f"{name}.password_file", chosen.password_file),
        tls_ca_file=chosen.tls_ca_file,
        tls_key_file=chosen.tls_key_file,
        driver=chosen.driver,
        timeout_s=chosen.timeout_s,
    )


def _secret(name: str, file: str | None) -> str | None:
    """The content of the file that the setting `name` names; None if it is not set."""
    if file is None:
        return None
    try:
        return Path(file).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise errors.Misconfigured(f"settings: {name}: the file cannot be read: {error}") from error
