"""Migrates stored data to this release (`dyff migrate`), and refuses to work on data of another one.

The embedded stores belong to one process, which migrates them when it starts, so no manual step is needed. Engines are shared with
processes of the previous release, so there a person (or a deployment job) decides when to migrate.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from importlib import metadata

import anyio
import msgspec
import structlog

from dyff.bus import evidence, topics
from dyff.bus import port as bus
from dyff.bus.schema import BusStore
from dyff.kernel import clock, errors, ids, schema, settings
from dyff.kernel.schema_sqlite import SqliteStore
from dyff.serve import directory, numbered, opening

log = structlog.get_logger()

PORTS = frozenset({"bus", "query", "accounts", "cluster"})
"""The ports whose stores have a schema. The object store has none; the cluster's kinds are installed by `dyff manifests`."""


class Line(msgspec.Struct, frozen=True):
    """A line of a report for people. `what`: `done`, `due`, `unknown`, `wrong` (not corrected yet), `set right` or `skipped`."""

    store: str
    what: str
    about: str


def release() -> str:
    """The release of this program."""
    return metadata.version("dyff-platform")


Report = Callable[[Line], None]
"""Called with each line of a report, when it applies."""


def in_the_log(line: Line) -> None:
    """Write the line to the log, as a server does."""
    write = log.info if line.what == "done" else log.warning
    write("migration", store=line.store, what=line.what, about=line.about)


async def prepare(
    loaded: settings.Settings,
    place: directory.DataDirectory,
    time: clock.Clock,
    ports: Collection[str],
    log_there: bus.Bus | None,
    *,
    phases: Sequence[schema.Phase] = schema.PHASES,
    report: Report = in_the_log,
) -> None:
    """Before these ports are used: migrate the stores in the data directory, and refuse an engine that was not migrated.

    `log_there`: the opened bus; None if it is not among the ports. `phases`: to run for stores in the data directory.

    Raises:
        OlderSchema: a required step has not been done.
        NewerSchema: a newer release has migrated a store.
        Misconfigured: the topics do not fit the settings.
    """
    everywhere = loaded.migrations.at_start == "everywhere"
    local = opening.embedded(loaded)
    async with _stores(loaded, place, ports, log_there) as stores:
        for store in stores:
            here = store.name.partition(":")[0] in local
            if here or everywhere:
                await apply_due(store, phases if here else ("pre",), time, report)
            await require(store, report)
    if log_there is not None:
        await topics.require(log_there, loaded.bus.partitions)
        await evidence.require(log_there, loaded.bus.partitions)


async def require_query(loaded: settings.Settings, place: directory.DataDirectory) -> None:
    """Refuse a query store on an engine if this release must not work on it. The file of an embedded one records its own schema.

    Raises:
        OlderSchema, NewerSchema: the store is refused.
    """
    async with _stores(loaded, place, {"query"}, None) as stores:
        for store in stores:
            await require(store, in_the_log)


async def require(store: schema.Store, report: Report) -> None:
    """Refuse a store if this release must not work on it.

    Raises:
        OlderSchema, NewerSchema: the store is refused.
    """
    found = await _look(store)
    refused = schema.refusal(store.name, found)
    if refused is not None:
        raise refused
    for name in found.unknown["pre"]:
        report(Line(store.name, "unknown", f"{name}  an upgrade to a newer release has begun"))


def migrate(loaded: settings.Settings, phase: schema.Phase, report: Report, *, dry_run: bool) -> None:
    """Run the due steps of a phase in all stores of the settings.

    `report`: called for each step that is done; with `dry_run`, nothing is done and it is called for each step that would be.

    Raises:
        InUse: a server is using the data directory, and no store is elsewhere.
        NewerSchema: a newer release has migrated a store.
        OlderSchema: `post` was requested before `pre` was done.
        Misconfigured: the migration is not possible with these settings.
        Unavailable, OutcomeUnknown: a store does not answer; the steps done so far are recorded.
    """

    async def run(stores: Sequence[schema.Store]) -> None:
        for store in stores:
            refused = schema.refusal(store.name, await _look(store))
            if refused is not None and (phase == "post" or isinstance(refused, errors.NewerSchema)):
                raise refused
        for store in stores:
            if dry_run:
                for line in await _found(store, (phase,)):
                    report(line)
            else:
                await apply_due(store, (phase,), clock.SystemClock(), report)

    _with_stores(loaded, run, report, dry_run=dry_run)


def status(loaded: settings.Settings, report: Report) -> None:
    """Report the done and the due steps of all stores of the settings. Changes nothing.

    Raises:
        InUse: a server is using the data directory, and no store is elsewhere.
        Misconfigured: the topics do not fit the settings.
        Unavailable: a store does not answer.
    """

    async def run(stores: Sequence[schema.Store]) -> None:
        for store in stores:
            for each in await store.applied():
                report(Line(store.name, "done", f"{each.name}  {each.at}  by release {each.release}"))
            for line in await _found(store, schema.PHASES):
                report(line)

    _with_stores(loaded, run, report, dry_run=True)


async def _look(store: schema.Store) -> schema.Situation:
    return schema.compared(numbered.load(), store.name, await store.applied())


async def _found(store: schema.Store, phases: Sequence[schema.Phase]) -> list[Line]:
    """The due steps, and the steps that this release does not know. If no `pre` step is due: also what was changed by hand."""
    found = await _look(store)
    lines = [Line(store.name, "due", _described(step)) for phase in phases for step in found.due[phase]]
    lines += [Line(store.name, "unknown", f"{name}  a newer release knows it") for phase in schema.PHASES for name in found.unknown[phase]]
    if "pre" in phases and not found.due["pre"]:
        lines += [Line(store.name, "wrong", about) for about in await store.amend(dry_run=True)]
    return lines


async def apply_due(store: schema.Store, phases: Sequence[schema.Phase], time: clock.Clock, report: Report) -> None:
    """Run the due steps of these phases; with `pre`, also correct what was changed by hand."""
    found = await _look(store)
    if isinstance(refused := schema.refusal(store.name, found), errors.NewerSchema):
        raise refused
    for phase in phases:
        for step in found.due[phase]:
            await store.apply(step, clock.iso(time.now()), release())
            report(Line(store.name, "done", _described(step)))
    if "pre" in phases:
        for about in await store.amend():
            report(Line(store.name, "set right", about))


def _described(step: schema.Step) -> str:
    return f"{step.name}  {step.description}"


def _with_stores(
    loaded: settings.Settings,
    act: Callable[[Sequence[schema.Store]], Awaitable[None]],
    report: Report,
    *,
    dry_run: bool,
) -> None:
    """Act on all stores of the settings. If a server is using the data directory, only the other stores are handled, if there are any.

    So it is where no server has stored anything yet: its first start makes the directory as this release has it.
    """
    place = directory.DataDirectory(loaded.data_dir)
    local = opening.embedded(loaded) & PORTS
    ports = PORTS

    async def run() -> None:
        time, new_ids = clock.SystemClock(), ids.RandomIds()
        async with AsyncExitStack() as stack:
            there: bus.Bus | None = None
            if "bus" in ports and ("bus" not in local or not dry_run or place.bus.exists()):
                there = await stack.enter_async_context(opening.open_bus(loaded, place, time, new_ids))
            await act(await stack.enter_async_context(_stores(loaded, place, ports, there)))

    with ExitStack() as stack:
        if local == PORTS:
            place.require()
        if local and not place.has_data:
            ports = PORTS - local
        elif local:
            try:
                stack.enter_context(place.claimed())
            except errors.InUse:
                if local == PORTS:
                    raise
                ports = PORTS - local
                report(Line("data directory", "skipped", f"{place.root} is in use by a server, which migrates it when it starts"))
        anyio.run(run)


@asynccontextmanager
async def _stores(
    loaded: settings.Settings, place: directory.DataDirectory, ports: Collection[str], there: bus.Bus | None
) -> AsyncIterator[list[schema.Store]]:
    """The stores of these ports. `there`: the opened bus; None if it is not among the ports or has no file yet.

    The embedded query store is not included: a file with another schema is recreated, and filled from the log.
    """
    local = opening.embedded(loaded)
    async with AsyncExitStack() as stack:
        stores: list[schema.Store] = []
        if there is not None:
            stores.append(BusStore(there, loaded.bus.partitions))
        elif "bus" in ports:
            stores.append(schema.Fresh("bus"))
        for name in ("query", "accounts"):
            if name in ports and name not in local:
                database = await stack.enter_async_context(opening.open_database(loaded, name))
                from dyff.kernel.schema_mongo import MongoStore  # after it is known that the client of the engine is installed

                stores.append(MongoStore(f"{name}:mongodb", database))
        if "accounts" in ports and "accounts" in local:
            stores.append(SqliteStore("accounts:sqlite", place.accounts))
        if "cluster" in ports and "cluster" in local:
            stores.append(SqliteStore("cluster:sqlite", place.cluster))
        yield stores
