"""Opens exactly the adapters that the roles of this process need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from dyff.kernel import clock, degradation, ids, listening, settings, web_addresses
from dyff.objects import signing
from dyff.serve import directory, migrating, opening, roles
from dyff.serve.adapters import Adapters, given


def public_url(chosen: settings.Api, port: int) -> str:
    """The `public_url` setting, or a URL from the host and the bound port if it is not set."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(chosen.host, chosen.host)
    return web_addresses.normal(chosen.public_url or f"http://{f'[{host}]' if ':' in host else host}:{port}")


@asynccontextmanager
async def open_adapters(
    loaded: settings.Settings,
    place: directory.DataDirectory,
    time: clock.Clock,
    rows: Sequence[roles.Row],
    troubles: degradation.Troubles | None = None,
) -> AsyncIterator[Adapters]:
    """Open the adapters that the settings choose and these roles need. They are closed in reverse order when the context ends.

    `troubles`: of this process; None for new ones.

    Raises:
        Misconfigured: the existing topics do not fit the settings, the address is taken, or an engine refuses access.
        LogDiverged: the log is damaged.
        OlderSchema, NewerSchema: the stored data has the schema of another release.
        Unavailable: an engine does not answer.
    """
    wanted, new_ids, troubles = roles.ports(rows), ids.RandomIds(), troubles or degradation.Troubles(time)
    async with AsyncExitStack() as stack:
        found = _listening(loaded, Adapters(clock=time, ids=new_ids, troubles=troubles), rows, stack)
        if any(row.starts_steps for row in rows):
            found = msgspec.structs.replace(found, storage_env={"DYFF_STORAGE_URL": opening.storage_url(loaded)})
        if "bus" in wanted:
            log = await stack.enter_async_context(opening.open_bus(loaded, place, time, new_ids, troubles))
            found = msgspec.structs.replace(found, bus=log)
        await migrating.prepare(loaded, place, time, wanted, found.bus)
        if "query" in wanted:
            view = await stack.enter_async_context(opening.open_query(loaded, place, troubles))
            found = msgspec.structs.replace(found, query=view)
        if "accounts" in wanted:
            found = msgspec.structs.replace(found, accounts=await stack.enter_async_context(opening.open_accounts(loaded, place)))
        if "cluster" in wanted:
            resources = await stack.enter_async_context(opening.open_cluster(loaded, place, time, new_ids, troubles))
            found = msgspec.structs.replace(found, cluster=resources)
        if "objects" in wanted:
            signer = await _signer(loaded, found) if found.listener is not None else None
            found = msgspec.structs.replace(found, objects=await opening.open_objects(loaded, place, time, signer), signer=signer)
        yield found


def _listening(loaded: settings.Settings, found: Adapters, rows: Sequence[roles.Row], stack: AsyncExitStack) -> Adapters:
    """`found` with the sockets that this process listens on."""
    if any(row.serves_http for row in rows):
        listener = listening.bound(loaded.api.host, loaded.api.port, who="the API", advice="choose another with --host and --port")
        url = public_url(loaded.api, stack.enter_context(listener).getsockname()[1])
        found = msgspec.structs.replace(found, listener=listener, public_url=url)
    if loaded.probes.port is not None:
        probes = listening.bound(loaded.probes.host, loaded.probes.port, who="the probes", advice="set probes.host and probes.port")
        found = msgspec.structs.replace(found, probes=stack.enter_context(probes))
    return found


async def _signer(loaded: settings.Settings, found: Adapters) -> signing.Signer | None:
    """Signs and checks URLs that lead to the api; None if the object store has its own URLs."""
    if loaded.objects.url is not None:
        return None
    secret = await given(found.accounts).signing_secret()
    return signing.Signer(secret, found.public_url, found.clock, loaded.api.clock_leeway_s)
