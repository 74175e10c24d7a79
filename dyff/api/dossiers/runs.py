"""The runs that a safety case is one of: which ones to look for, and how many there are. Pure.

A deleted run keeps its entity, with the status `Deleted` (`dyff.entities.kind.Kind.stays`). So what is counted here does not shrink.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from dyff.entities import codecs, dossiers, labels, statuses
from dyff.entities.exports.evidence import Gathered

MAX_RUNS = 1000
"""Limit of the runs of one sort that are counted. If there are more, the count is a lower bound, and says so."""

MAX_BYTES = 64 * 2**20
"""Limit of the documents that are read to count runs of one sort."""

MAX_SORTS = 8
"""Limit of the sorts of runs of one case: a case can rest on several evaluations and measurements."""

CANNOT_REVEAL = (
    "This page counts what is in this log. It cannot show runs in other installations, runs outside Dyff, or runs of the same system or"
    " data that were uploaded or described again under another ID."
)


class Sort(msgspec.Struct, frozen=True):
    """Runs that have something in common. `kind`: of the runs. `terms`: query parameters of that kind, with their values."""

    kind: str
    what: str
    terms: tuple[tuple[str, str], ...]


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


def sorts(gathered: Gathered) -> list[Sort]:
    """The sorts of runs that this case belongs to, each once: evaluations first, then measurements, then safety cases."""
    found = [*_evaluations(gathered), *_measurements(gathered), *_cases(gathered.root)]
    return list(dict.fromkeys(found))[:MAX_SORTS]


def _evaluations(gathered: Gathered) -> Iterator[Sort]:
    for each in gathered.read("Evaluation"):
        service = ((each.get("inferenceSession") or {}).get("inferenceService") or {}).get("id")
        yield from _sort("Evaluation", "evaluations of this system on this dataset", inferenceService=service, dataset=each.get("dataset"))
    scope = gathered.root.get("scope") or {}
    terms = {"inferenceService": scope.get("inferenceService"), "dataset": scope.get("dataset")}
    yield from _sort("Evaluation", "evaluations of this system on this dataset", **terms)


def _measurements(gathered: Gathered) -> Iterator[Sort]:
    for each in gathered.read("Measurement"):
        scope, method = each.get("scope") or {}, (each.get("method") or {}).get("id")
        terms = {"method": method, "inferenceService": scope.get("inferenceService"), "dataset": scope.get("dataset")}
        yield from _sort("Measurement", "measurements of this system on this dataset by this method", **terms)


def _cases(case: codecs.Json) -> Iterator[Sort]:
    scope, method = case.get("scope") or {}, (case.get("method") or {}).get("id")
    system, dataset = scope.get("inferenceService"), scope.get("dataset")
    if dataset is None:
        yield from _sort("SafetyCase", "safety cases about this system by this method", method=method, inferenceService=system)
    else:
        what = "safety cases about this system on this dataset by this method"
        yield from _sort("SafetyCase", what, method=method, inferenceService=system, dataset=dataset)


def _sort(kind: str, what: str, **terms: Any) -> Iterator[Sort]:
    if all(isinstance(each, str) for each in terms.values()):
        yield Sort(kind, what, tuple(sorted(terms.items())))


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
