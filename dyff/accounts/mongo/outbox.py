"""The outbox: changes of accounts on their way to the log.

A change is recorded where it is made: in the account's own document, as `pending`, in the same write. From there it is moved to
the single document of the outbox, which assigns its sequence number. That document has an edition, which every update raises, so
that of several processes that move changes one succeeds, and no change is moved twice: the outbox is read before the pending
changes, and a pending change is removed only after it was moved. So sequence numbers rise in the order in which changes are moved.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from dyff.accounts import port
from dyff.kernel import mongo

PENDING = "pending"
INDEX = mongo.Index(name="pending", paths=(f"{PENDING}.number",), only={f"{PENDING}.number": {"$exists": True}})

_SHELF = {"_id": "outbox"}
_ANY = {f"{PENDING}.number": {"$gt": 0}}
_AT_ONCE = 500
"""Accounts that are checked for pending changes in one step."""
_MAX_BYTES = 4 * 2**20
"""Limit of the changes in the outbox; a single larger one is in it alone."""


class Pending(msgspec.Struct, frozen=True):
    """A change in its account's document. `number`: rises per account. `time`: ISO 8601. `body`: as in `port.Change`, as text."""

    account: str
    number: int
    time: str
    body: str


class Outbox:
    """The changes of a database's accounts. Several processes can use it."""

    def __init__(self, database: mongo.Database, accounts: mongo.Collection) -> None:
        """`accounts`: the collection with the pending changes."""
        self._accounts, self._outbox = accounts, database.collection("outbox")

    async def first(self, limit: int) -> list[port.Change]:
        """The oldest changes, in order."""
        while True:
            shelf = await self._shelf()
            entries: list[dict[str, Any]] = shelf["entries"]
            room = _MAX_BYTES - sum(len(each["body"]) for each in entries)
            if len(entries) >= limit or (entries and room <= 0) or not await self._bring(shelf, room):
                return [port.Change(each["sequence"], each["account"], each["body"].encode()) for each in entries[: max(limit, 0)]]

    async def is_empty(self) -> bool:
        """Whether no change is waiting, neither in the outbox nor pending."""
        waiting = await self._outbox.get({**_SHELF, "entries.sequence": {"$gt": 0}}, {"_id": 1})
        return waiting is None and await self._accounts.get(_ANY, {"_id": 1}) is None

    async def forget(self, sequence: int) -> None:
        """Remove all changes up to and including `sequence`. From the accounts first; otherwise they would be moved again."""
        done = [each for each in (await self._shelf())["entries"] if each["sequence"] <= sequence]
        if done:
            await self._take_out({each["account"]: each["number"] for each in done})
            gone = {"sequence": {"$lte": done[-1]["sequence"]}}
            await self._outbox.update(_SHELF, {"$pull": {"entries": gone}, "$inc": {"edition": 1}})

    async def _shelf(self) -> dict[str, Any]:
        """The document of the outbox."""
        found = await self._outbox.get(_SHELF)
        while found is None:
            await self._outbox.insert({**_SHELF, "edition": 0, "last": 0, "entries": []})
            found = await self._outbox.get(_SHELF)
        return found

    async def _bring(self, shelf: dict[str, Any], room: int) -> bool:
        """Move pending changes to the outbox, if it still is what `shelf` says. False if there are none."""
        pending = _in_order(await self._accounts.find(_ANY, {PENDING: 1}, limit=_AT_ONCE))
        known = {(each["account"], each["number"]) for each in shelf["entries"]}
        brought = [each for each in pending if (each.account, each.number) in known]
        news = _within([each for each in pending if (each.account, each.number) not in known], room)
        if news:
            entries = [
                {"sequence": shelf["last"] + count, "account": each.account, "number": each.number, "body": each.body}
                for count, each in enumerate(news, start=1)
            ]
            change = {"$push": {"entries": {"$each": entries}}, "$inc": {"edition": 1, "last": len(entries)}}
            if not await self._outbox.update({**_SHELF, "edition": shelf["edition"]}, change):
                return True
        await self._take_out({each.account: each.number for each in [*brought, *news]})
        return bool(news)

    async def _take_out(self, last: dict[str, int]) -> None:
        """Remove the changes that are in the outbox from each account, up to and including that number."""
        for account, number in last.items():
            brought = {"number": {"$lte": number}}
            await self._accounts.update({"_id": account, PENDING: {"$elemMatch": brought}}, {"$pull": {PENDING: brought}})


def _in_order(accounts: Sequence[dict[str, Any]]) -> list[Pending]:
    """Sorted by time; those of one account in the order in which they were made, whatever the clocks said."""
    found: list[tuple[str, Pending]] = []
    for account in accounts:
        latest = ""
        for each in sorted(account[PENDING], key=lambda each: each["number"]):
            latest = max(latest, each["time"])
            found.append((latest, Pending(account["_id"], each["number"], each["time"], each["body"])))
    return [each for _, each in sorted(found, key=lambda pair: (pair[0], pair[1].account, pair[1].number))]


def _within(pending: Sequence[Pending], room: int) -> list[Pending]:
    """As many changes as fit into `room` bytes, but at least one."""
    found: list[Pending] = []
    for each in pending:
        room -= len(each.body)
        if found and room < 0:
            break
        found.append(each)
    return found
