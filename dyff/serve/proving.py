"""Verification of the stored data and rebuilding of the query store, with or without running servers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

import anyio
import anyio.to_thread

from dyff.accounts import restored as accounts
from dyff.bus import port as bus
from dyff.cluster.embedded import reading as cluster
from dyff.consumers.verification import ages, proofs, replaying, stored, verifying
from dyff.kernel import clock, errors, ids, settings
from dyff.objects import exporting
from dyff.query import maintenance
from dyff.query import port as query
from dyff.serve import directory, migrating, opening, supervisor

T = TypeVar("T")
_ID = re.compile("[0-9a-f]{32}")


def verify(loaded: settings.Settings, *, objects: bool = False) -> proofs.Report:
    """Fold all events again and compare the result with the stored data. `objects`: also read and compare all stored files.

    Raises:
        Misconfigured: there is no log, or an engine refuses access.
        LogDiverged: the log is damaged.
        OlderSchema: the query store was not migrated to this release.
        NewerSchema: a newer release wrote some of the data.
        Unavailable: an engine does not answer.
    """

    async def act(history: bus.History, view: query.QueryMaintenance) -> proofs.Report:
        place, known = directory.DataDirectory(loaded.data_dir), set[str]()
        look = partial(anyio.to_thread.run_sync, _seen, loaded, place)
        seen = await look()  # before the log, which is at least as new then
        report = await verifying.verify(history, view, known=known)
        last = await ages.last_change(history)
        report = ages.of_log(report, seen, known, last)
        report = await ages.of_stores(report, view, seen, look, last)
        if not objects:
            return report
        store = await opening.open_objects(loaded, place, clock.SystemClock(), None)
        return await stored.verify(view, store, report)

    return _with_both(loaded, act, proves=True)


def replay(loaded: settings.Settings) -> int:
    """Rebuild the view and switch over; returns the number of documents written.

    Raises:
        InUse: another replay is running.
        Fenced: a server reset the view meanwhile.
        Also what `verify` raises.
    """
    return _with_both(loaded, replaying.replay)


def _seen(loaded: settings.Settings, place: directory.DataDirectory) -> ages.Seen:
    """What the stores in the data directory have."""
    local = opening.embedded(loaded)
    changes = accounts.sequences(place.accounts) if "accounts" in local else None
    return ages.Seen(
        relayed=None if changes is None else changes.relayed,
        made=None if changes is None else changes.made,
        runs=cluster.runs(place.cluster) if "cluster" in local else None,
        objects=[each for each in exporting.roots(place.objects) if _ID.fullmatch(each[1])] if "objects" in local else None,
    )


class _NoView(maintenance.EmbeddedMaintenance):
    """The query store of a data directory that has none, as in a copy without it: nothing is compared with it, and a note says so."""

    async def reached(self) -> query.Reached:
        raise errors.OlderSchema("there is none, as in a copy without it; a server fills it from the log when it starts")

    async def scan(self) -> AsyncIterator[Sequence[query.Scanned]]:
        return
        yield  # makes this a generator


def _with_both(loaded: settings.Settings, act: Callable[[bus.History, query.QueryMaintenance], Awaitable[T]], *, proves: bool = False) -> T:
    async def run() -> T:
        place = directory.DataDirectory(loaded.data_dir)
        place.require_finished()
        here = opening.embedded(loaded)
        needed = [("bus", place.bus)] if proves else [("bus", place.bus), ("query", place.query)]
        files = [file for name, file in needed if name in here]
        if files:
            place.require(*files)
        await migrating.require_query(loaded, place)
        no_view = proves and "query" in opening.embedded(loaded) and not place.query.exists()
        async with (
            opening.open_history(loaded, place, clock.SystemClock(), ids.RandomIds()) as history,
            opening.open_query_for_maintenance(loaded, place) as view,
        ):
            return await act(history, _NoView(place.query) if no_view else view)

    try:
        return anyio.run(run)
    except BaseExceptionGroup as group:
        raise supervisor.first_of_ours(group) from group


def lines(report: proofs.Report) -> list[str]:
    """The report as lines for people. The last line contains the number of differences."""
    ends = ", ".join(f"{partition}={end}" for partition, end in sorted(report.ends.items()))
    width = max(map(len, report.roots))
    text = [f"{report.entities} entities of {report.events} events of log {report.epoch}, up to {ends}"]
    text += [f"{name:<{width}}  {root}" for name, root in report.roots.items()]
    if report.objects is not None:
        found = report.objects
        text.append(f"object store: {found.files} files of {found.manifests} manifests, {found.size_bytes} bytes")
    text += [f"note: {each}" for each in report.notes]
    text += [each.text() for each in report.differences]
    if report.count > len(report.differences):
        text.append(f"... and {report.count - len(report.differences)} more")
    return [*text, f"{report.count} difference{'' if report.count == 1 else 's'}"]
