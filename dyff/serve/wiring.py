"""Opens exactly the adapters that the roles of this process need."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread
import msgspec

from dyff.accounts import restored
from dyff.kernel import backoff, clock, degradation, errors, ids, listening, settings, web_addresses
from dyff.objects import signing
from dyff.serve import directory, migrating, opening, roles
from dyff.serve.adapters import Adapters, given

T = TypeVar("T")

LOOK_CEILING_S = 10.0
"""The longest pause between two attempts of a start to open a file that another program has locked."""


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
        LogDiverged: the log is damaged, or missing while the accounts have seen one.
        OlderSchema, NewerSchema: the stored data has the schema of another release.
        Unavailable: an engine does not answer.
    """
    wanted, new_ids, troubles = roles.ports(rows), ids.RandomIds(), troubles or degradation.Troubles(time)
    async with AsyncExitStack() as stack:
        found = _listening(loaded, Adapters(clock=time, ids=new_ids, troubles=troubles), rows, stack)
        if any(row.starts_steps for row in rows):
            found = msgspec.structs.replace(found, storage_env={"DYFF_STORAGE_URL": opening.storage_url(loaded)})
        if "bus" in wanted:
            if {"bus", "accounts"} <= opening.embedded(loaded):
                await anyio.to_thread.run_sync(_require_log_of, place)
            log = await _entered(stack, partial(opening.open_bus, loaded, place, time, new_ids, troubles), "log", troubles)
            found = msgspec.structs.replace(found, bus=log)
        await _repeated(partial(migrating.prepare, loaded, place, time, wanted, found.bus), "stored data", troubles)
        if "query" in wanted:
            view = await _entered(stack, partial(opening.open_query, loaded, place, troubles), "query store", troubles)
            found = msgspec.structs.replace(found, query=view)
        if "accounts" in wanted:
            database = await _entered(stack, partial(opening.open_accounts, loaded, place, troubles), "accounts", troubles)
            found = msgspec.structs.replace(found, accounts=database)
        if "cluster" in wanted:
            resources = await _entered(stack, partial(opening.open_cluster, loaded, place, time, new_ids, troubles), "cluster", troubles)
            found = msgspec.structs.replace(found, cluster=resources)
        if "objects" in wanted:
            signer = await _signer(loaded, found) if found.listener is not None else None
            found = msgspec.structs.replace(found, objects=await opening.open_objects(loaded, place, time, signer), signer=signer)
        yield found


def _require_log_of(place: directory.DataDirectory) -> None:
    """Refuse to begin a new log next to accounts that have seen another one, as in a copy without it. With the mark, the log knows it."""
    mark = place.bus.with_name(f"{place.bus.name}.mark")
    if place.bus.exists() or mark.exists():
        return
    relayed = restored.sequences(place.accounts).relayed
    if relayed:
        raise errors.LogDiverged(
            f"the log file {place.bus} is missing, but {place.accounts.name} has put {relayed} changes of accounts into it: put the whole"
            f" set of files back, or restore a backup; if you mean to begin with an empty log, create an empty file {mark}"
        )


async def _entered(
    stack: AsyncExitStack, make: Callable[[], AbstractAsyncContextManager[T]], what: str, troubles: degradation.Troubles
) -> T:
    """The opened adapter. Each attempt is a new one."""
    return await _repeated(lambda: stack.enter_async_context(make()), what, troubles)


async def _repeated(act: Callable[[], Awaitable[T]], what: str, troubles: degradation.Troubles) -> T:
    """The result of `act`, which is repeated while another program holds the lock of a file, for as long as that takes.

    It is no reason to end: a start that gave up would have to be repeated by a person. `what`: for the report.

    Raises:
        Misconfigured: an engine refuses something that only an operator can change.
    """
    name, delays = f"start: {what}", backoff.delays(degradation.RETRY_FIRST_S, ceiling_s=LOOK_CEILING_S, jitter=random.Random())
    while True:
        try:
            result = await act()
        except errors.Blocked as error:  # it has never worked, so a person is waiting for the reason
            raise errors.Misconfigured(error.message) from error
        except errors.Locked as error:
            troubles.report(name, error.message)
            await anyio.sleep(next(delays))
        else:
            troubles.clear(name)
            return result


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
