"""What an administrator does to the whole: prove it. Beside running servers, or without any."""

from __future__ import annotations

import anyio

from dyff.consumers import proofs, verification
from dyff.kernel import clock, ids, settings
from dyff.serve import directory, opening


def verify(loaded: settings.Settings) -> proofs.Report:
    """Fold all events again and compare.

    Raises:
        Misconfigured: there is nothing there, or an engine refuses us.
        LogDiverged: the log is damaged.
        NewerSchema: a newer release wrote some of it.
        Unavailable: an engine does not answer.
    """
    return anyio.run(_verify, loaded)


async def _verify(loaded: settings.Settings) -> proofs.Report:
    place = directory.DataDirectory(loaded.data_dir)
    async with (
        opening.open_history(loaded, place, clock.SystemClock(), ids.RandomIds()) as history,
        opening.open_query_beside(loaded, place) as query,
    ):
        return await verification.verify(history, query)


def lines(report: proofs.Report) -> list[str]:
    """The report for people. The last line says how many differences there are."""
    ends = ", ".join(f"{partition}={end}" for partition, end in sorted(report.ends.items()))
    width = max(map(len, report.roots))
    told = [f"{report.entities} entities of {report.events} events of log {report.epoch}, up to {ends}"]
    told += [f"{name:<{width}}  {root}" for name, root in report.roots.items()]
    told += [f"note: {each}" for each in report.notes]
    told += [each.text() for each in report.differences]
    if report.count > len(report.differences):
        told.append(f"... and {report.count - len(report.differences)} more")
    return [*told, f"{report.count} difference{'' if report.count == 1 else 's'}"]
