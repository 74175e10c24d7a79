"""Compares the age of the log with that of the stores next to it: copies of different moments do not fit together.

What a store has seen must be in the log, since everything is in the log first. What the log reports as done must be in the stores.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence

import msgspec

from dyff.bus import port, topics
from dyff.consumers.verification import proofs, refolding
from dyff.consumers.verification.proofs import ACCOUNTS, CLUSTER, LOG, OBJECTS
from dyff.entities import codecs, registry, statuses
from dyff.kernel import errors
from dyff.query import port as query_port

_WHOLE = "stop the server and restore a whole backup (docs/backup.md)"
LOG_OLD = f"the log is older than that: {_WHOLE}"
ACCOUNTS_OLD = f"tokens and accounts that were revoked or suspended since are valid again: {_WHOLE}"
CLUSTER_OLD = f"the run ends as Interrupted when the server starts; to continue it, {_WHOLE}"
OBJECTS_OLD = "restore the object store's files of the same backup, or a whole backup (docs/backup.md)"
_LAST_CHANGES = 1000


class Seen(msgspec.Struct, frozen=True):
    """What the stores have. Each is None if it is not known, because an engine holds it.

    `relayed`, `made`: the numbers of the last changes that the accounts' database has in the log, and has at all. `runs`: kinds of custom
    resources by the ID of their entity. `objects`: collections and IDs of stored objects.
    """

    relayed: int | None = None
    made: int | None = None
    runs: Mapping[str, str] | None = None
    objects: Collection[tuple[str, str]] | None = None


async def last_change(history: port.History) -> int | None:
    """The highest number of a change of accounts in the log; None if it has none.

    Raises:
        Unavailable: the bus does not answer.
    """
    try:
        held = (await history.ranges(topics.ACCOUNTS))[0]
    except errors.NotFound:
        return None
    found: list[int] = []
    start = max(held.first, held.end - _LAST_CHANGES)
    async for record in refolding.records(history, topics.ACCOUNTS, 0, start, held.end):
        text = dict(record.headers).get("dyff-sequence", b"")
        found += [int(text)] if text.isdigit() else []
    return max(found, default=None)


def of_log(report: proofs.Report, seen: Seen, known: Collection[str], last: int | None) -> proofs.Report:
    """Report what the stores have that the log does not know. `seen`: read before the log. `known`: IDs in the log. `last`: see
    `last_change`.
    """
    found = proofs.Findings(report)
    if seen.relayed and seen.relayed > (last or 0):
        there = f"no change of accounts after number {last}" if last else "no change of accounts"
        found.differ(LOG, "older", ACCOUNTS, there, f"number {seen.relayed}, which the accounts' database has put there", LOG_OLD)
    for entity_id, kind in sorted((seen.runs or {}).items()):
        if entity_id not in known:
            found.differ(
                LOG, "older", f"{kind}/{entity_id}", "no such entity", "the one that has a custom resource in the cluster", LOG_OLD
            )
    for entity_id, collections in _by_id(seen.objects or ()).items():
        if entity_id not in known:
            there = f"{', '.join(collections)}/{entity_id}/"
            found.differ(LOG, "older", entity_id, "no such entity", f"the one that has objects in {there}", LOG_OLD)
    return _with(report, found)


async def of_stores(
    report: proofs.Report, query: query_port.QueryScanner, seen: Seen, look: Callable[[], Awaitable[Seen]], last: int | None
) -> proofs.Report:
    """Report what the log has that the stores do not have. `look`: what they have now. `last`: see `last_change`.

    What was there before the log was read, or is there after that, is not missing: a server may be at work.

    Raises:
        Unavailable: a store does not answer.
    """
    found = proofs.Findings(report)
    needed = [each async for document in _documents(query) if (each := _needs(document)) is not None]
    now = await look()
    if now.made is not None and last is not None and last > now.made:
        there = f"nothing after change {now.made}"
        found.differ(ACCOUNTS, "older", "all of it", there, f"change {last}, which is in the log", ACCOUNTS_OLD)
    runs = None if now.runs is None else {*now.runs, *(seen.runs or ())}
    objects = None if now.objects is None else {entity_id for _, entity_id in (*now.objects, *(seen.objects or ()))}
    for each in needed:
        name = f"{each.kind}/{each.id}"
        if runs is not None and each.run and each.id not in runs:
            found.differ(CLUSTER, "older", name, "no custom resource", "that of a run that is in progress", CLUSTER_OLD)
        if objects is not None and each.files and each.id not in objects:
            found.differ(OBJECTS, "older", name, "nothing of it", f"the files of a {each.kind} that is {each.status}", OBJECTS_OLD)
    return _with(report, found)


class _Needs(msgspec.Struct, frozen=True):
    """What the stores must have of an entity: a custom resource if `run`, objects if `files`."""

    kind: str
    id: str
    status: str
    run: bool
    files: bool


def _needs(document: query_port.Document) -> _Needs | None:
    row = registry.BY_PLURAL.get(document.collection)
    if row is None or document.body is None:
        return None
    try:
        entity = codecs.decode_object(document.body)
        status, is_run = entity["status"], row.runs(entity)
        has_files = row.download is not None and (is_run or bool(row.upload and row.upload.files(entity)))
    except (ValueError, KeyError, TypeError, AttributeError):
        return None  # the query store's own verification reports that
    run, files = is_run and status == statuses.ADMITTED, has_files and status == row.success
    return _Needs(row.name, document.id, status, run, files) if run or files else None


async def _documents(query: query_port.QueryScanner) -> AsyncIterator[query_port.Document]:
    seen: set[str] = set()
    while True:
        try:
            async for batch in query.scan():
                for each in batch:
                    if each.document.id not in seen:
                        seen.add(each.document.id)
                        yield each.document
        except errors.Fenced:  # by a replay, which ends some time
            continue
        return


def _by_id(objects: Iterable[tuple[str, str]]) -> dict[str, Sequence[str]]:
    found: dict[str, list[str]] = {}
    for collection, entity_id in sorted(objects):
        found.setdefault(entity_id, []).append(collection)
    return dict(found)


def _with(report: proofs.Report, found: proofs.Findings) -> proofs.Report:
    return msgspec.structs.replace(report, count=found.count, differences=found.differences, notes=found.notes)
