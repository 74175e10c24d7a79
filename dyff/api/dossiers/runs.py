"""The runs that a safety case is one of: which ones to look for, and how many there are. Pure.

A deleted run keeps its entity, with the status `Deleted` (`dyff.entities.kind.Kind.stays`). So what is counted here does not shrink.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dyff.entities import codecs, dossiers, labels, statuses

MAX_RUNS = 1000
"""Limit of the runs of one sort that are counted. If there are more, the count is a lower bound, and says so."""

MAX_BYTES = 64 * 2**20
"""Limit of the documents that are read to count runs of one sort."""

MAX_READ = 1000
"""Limit of the IDs by which runs are found that read one of them."""

CANNOT_REVEAL = (
    "This page counts what is in this log. It cannot show runs in other installations, runs outside Dyff, or runs of the same system or"
    " data that were uploaded or described again under another ID, except other services of the same model."
)


class Sort(msgspec.Struct, frozen=True):
    """Runs that have something in common: query parameters of their kind, with their values.

    `terms` must all match. If there is `scope` or `read`, either all of `scope` must match, too, or the run reads one of the IDs in `read`:
    what a run says that it is about can be wrong, and what it reads cannot.
    """

    kind: str
    what: str
    terms: tuple[tuple[str, str], ...] = ()
    scope: tuple[tuple[str, str], ...] = ()
    read: tuple[str, ...] = ()


MAX_REPRODUCTIONS = 20
"""Limit of the reproductions that are listed. All of them are counted."""


class Quantity(msgspec.Struct, frozen=True):
    """A score, as counting needs it."""

    name: str
    quantity: float | None = None


class Seen(msgspec.Struct, frozen=True):
    """What counting needs of a run, as it is stored."""

    id: str
    account: str
    status: str
    creationTime: str | None = None
    labels: dict[str, str | None] = {}
    reproduces: str | None = None
    scores: tuple[Quantity, ...] = ()


class Tally(msgspec.Struct, frozen=True):
    """Runs of a sort in the order of their creation. `is_all`: whether there are no more."""

    sort: Sort
    seen: tuple[Seen, ...]
    is_all: bool = True


class Counted(msgspec.Struct, frozen=True):
    """All that was counted for a case. `left_out`: the sorts of runs that were not counted, because there are too many."""

    tallies: tuple[Tally, ...] = ()
    left_out: int = 0


def counted(tally: Tally, own: Iterable[str], account: str) -> dossiers.Runs:
    """The numbers of a tally. `own`: the IDs of the runs that the case rests on, or its own. `account`: of the case."""
    known, seen = set(own), tally.seen
    return dossiers.Runs(
        kind=tally.sort.kind,
        what=tally.sort.what,
        shown=sum(each.id in known for each in seen),
        total=len(seen),
        atLeast=not tally.is_all,
        outcomes=_outcomes(seen),
        unpublished=sum(each.labels.get(labels.ACCESS) != labels.PUBLIC for each in seen),
        otherAccounts=sum(each.account != account for each in seen),
        reproductions=sum(each.reproduces is not None for each in seen),
        first=seen[0].creationTime if seen else None,
    )


def reproductions(case: codecs.Json, tallies: Iterable[Tally]) -> list[dossiers.Reproduction]:
    """The runs that repeat the case, the oldest first."""
    had = {each["name"]: each.get("quantity") for each in case.get("scores") or [] if isinstance(each.get("name"), str)}
    found = [each for tally in tallies for each in tally.seen if each.reproduces == case["id"]]
    return [_repeated(each, had) for each in found[:MAX_REPRODUCTIONS]]


def _repeated(seen: Seen, had: codecs.Json) -> dossiers.Reproduction:
    both = [each for each in seen.scores if seen.status == statuses.COMPLETE and each.name in had]
    return dossiers.Reproduction(
        id=seen.id, account=seen.account, status=seen.status, created=seen.creationTime, scores=len(both),
        equal=sum(each.quantity == had[each.name] for each in both),
    )  # fmt: skip


def _outcomes(seen: Iterable[Seen]) -> dossiers.Endings:
    counts = {"complete": 0, "failed": 0, "deleted": 0, "unfinished": 0}
    for each in seen:
        if each.status == statuses.DELETED:
            counts["deleted"] += 1
        elif each.status == statuses.COMPLETE:
            counts["complete"] += 1
        else:
            counts["failed" if statuses.is_terminal(each.status) else "unfinished"] += 1
    return dossiers.Endings(**counts)
