"""Verification of the stored data and rebuilding of the query store, with or without running servers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from dyff.bus import port as bus
from dyff.consumers.verification import proofs, replaying, stored, verifying
from dyff.kernel import clock, ids, settings
from dyff.query import port as query
from dyff.serve import directory, migrating, opening, supervisor

T = TypeVar("T")


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
        report = await verifying.verify(history, view)
        if not objects:
            return report
        store = await opening.open_objects(loaded, directory.DataDirectory(loaded.data_dir), clock.SystemClock(), None)
        return await stored.verify(view, store, report)

    return _with_both(loaded, act)


def replay(loaded: settings.Settings) -> int:
    """Rebuild the view and switch over; returns the number of documents written.

    Raises:
        InUse: another replay is running.
        Fenced: a server reset the view meanwhile.
        Also what `verify` raises.
    """
    return _with_both(loaded, replaying.replay)


def _with_both(loaded: settings.Settings, act: Callable[[bus.History, query.QueryMaintenance], Awaitable[T]]) -> T:
    async def run() -> T:
        place = directory.DataDirectory(loaded.data_dir)
        place.require_finished()
        await migrating.require_query(loaded, place)
        async with (
            opening.open_history(loaded, place, clock.SystemClock(), ids.RandomIds()) as history,
            opening.open_query_for_maintenance(loaded, place) as view,
        ):
            return await act(history, view)

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
