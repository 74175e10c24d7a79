"""The accounts on MongoDB. Every change is one write of one document, so there is no intermediate state.

An account's document includes its tokens and its pending changes (`outbox.py`). One more document, whose ID is empty, concerns all
accounts: the signing secret, and how often it was rotated. That number is part of every account's revision, so that a new secret
raises all of them at the same time. A write names the edition that its decision was based on; if the edition has changed, it is
decided again.
"""

from __future__ import annotations

import asyncio
import secrets
import string
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio
import msgspec

from dyff.accounts import port
from dyff.accounts.grants import Grant
from dyff.accounts.mongo import outbox
from dyff.entities import codecs
from dyff.kernel import clock, errors, mongo

_NAME = "the accounts database"
_COLLECTION = "accounts"
_BODY_VERSION = "0.1"
_LOOK_S = 1.0
"""Interval at which the outbox is checked for changes by other processes."""
_SECRET_LENGTH = 64
_ALPHABET = string.ascii_letters + string.digits
_ALL = ""
"""The ID of the document that concerns all accounts."""
_ACCOUNT = {"kind": "account"}
_HEAD = {"keys": 0, outbox.PENDING: 0}
"""Projection without the keys and the pending changes; the rest of a document is small."""
_INDEXES = (
    mongo.Index(name="name", paths=("name",), unique=True, only=_ACCOUNT),
    mongo.Index(name="created", paths=("created", "_id"), only=_ACCOUNT),
    mongo.Index(name="keys", paths=("keys.id",), unique=True, only={"keys.id": {"$exists": True}}),
    outbox.INDEX,
)

_account = msgspec.json.Decoder(port.Account)
_key = msgspec.json.Decoder(port.Key)

Document = dict[str, Any]
Change = tuple[str, Any, Document]
"""The name and data of a change for the log, and the update that makes it."""


async def prepare(database: mongo.Database) -> None:
    """Create the missing indexes."""
    await database.collection(_COLLECTION).ensure(_INDEXES)


class MongoAccounts:
    """The `Accounts` on MongoDB; use `open`. Several processes can have it open."""

    def __init__(self, database: mongo.Database) -> None:
        self._accounts = database.collection(_COLLECTION)
        self._outbox = outbox.Outbox(database, self._accounts)
        self._changing = anyio.Lock()
        self._wrote = anyio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, connection: mongo.Connection, *, prepared: bool = False) -> AsyncIterator[MongoAccounts]:
        """Open the accounts of a database and create missing indexes, unless `prepared`, which means that they exist.

        Raises:
            Unavailable, OutcomeUnknown: the database does not answer.
            Misconfigured: it refuses us.
        """
        async with mongo.Database.open(connection, _NAME) as database:
            if not prepared:
                await prepare(database)
            yield cls(database)

    async def signing_secret(self) -> bytes:
        return str((await self._all())["secret"]).encode()

    async def rotate_signing_secret(self) -> None:
        await self._all()
        recorded: Change = ("RotateSigningSecret", {}, {"$set": {"secret": _new_secret()}, "$inc": {"rotations": 1}})
        await self._change(_ALL, {}, _always(recorded))

    async def create(self, account: port.Account) -> None:
        rotations = (await self._all())["rotations"]
        recorded = _pending(account.id, 1, "CreateAccount", account)
        counted = {"revision": account.revision - rotations, "edition": 1}
        given = {"_id": account.id, **_ACCOUNT, **counted, **_described(account), "keys": [], outbox.PENDING: [recorded]}
        try:
            added = await self._accounts.insert(given)
        finally:
            self._announce()
        if not added:
            raise errors.AlreadyExists(f"the account name {account.name!r} or the ID {account.id} is taken")

    async def get(self, account_id: str) -> port.Account | None:
        found = await self._accounts.find({"_id": {"$in": [_ALL, account_id]}}, _HEAD)
        rotations = next((each["rotations"] for each in found if each["_id"] == _ALL), 0)
        return next((_known(each, rotations) for each in found if each["_id"] == account_id and account_id != _ALL), None)

    async def find(self, *, name: str | None = None, limit: int | None = None) -> list[port.Account]:
        if limit is not None and limit <= 0:
            return []
        rotations = (await self._all())["rotations"]
        where = _ACCOUNT if name is None else {**_ACCOUNT, "name": name}
        found = await self._accounts.find(where, _HEAD, order=[("created", 1), ("_id", 1)], limit=limit or 0)
        return [_known(each, rotations) for each in found]

    async def revision(self, account_id: str) -> int | None:
        found = await self._accounts.find({"_id": {"$in": [_ALL, account_id]}}, {"revision": 1, "rotations": 1})
        known = {each["_id"]: each for each in found}
        if account_id not in known or account_id == _ALL:
            return None
        return int(known[account_id]["revision"] + known.get(_ALL, {"rotations": 0})["rotations"])

    async def set_permissions(self, account_id: str, permissions: Sequence[Grant], version: str) -> None:
        await self._edit(account_id, "SetAccountPermissions", permissions=tuple(permissions), permissions_version=version)

    async def set_status(self, account_id: str, status: str, reason: str | None) -> None:
        await self._edit(account_id, "SetAccountStatus", status=status, reason=reason)

    async def add_key(self, key: port.Key) -> None:
        kept = {"id": key.id, "created": clock.iso(key.created), "body": codecs.encode(key).decode()}

        async def added(_: Document) -> Change:
            if await self._accounts.get({"keys.id": key.id}, {"_id": 1}) is not None:
                raise errors.AlreadyExists(f"the key ID {key.id} is taken")
            return "AddAccountKey", _without_hash(key), {"$push": {"keys": kept}}

        try:
            done = await self._change(key.account, _ACCOUNT, added)
        except errors.TooLarge as error:
            raise errors.TooLarge(f"account {key.account} has too many tokens; revoke those that are not needed") from error
        if not done:
            raise errors.NotFound(f"there is no account {key.account}")

    async def get_key(self, key_id: str) -> port.Key | None:
        found = await self._accounts.get({"keys.id": key_id}, {"keys": {"$elemMatch": {"id": key_id}}})
        return _key.decode(found["keys"][0]["body"]) if found else None

    async def keys(self, account_id: str) -> list[port.Key]:
        found = await self._accounts.get({"_id": account_id, **_ACCOUNT}, {"keys": 1})
        kept = sorted(found["keys"], key=lambda each: (each["created"], each["id"])) if found else []
        return [_key.decode(each["body"]) for each in kept]

    async def use_key(self, account_id: str, key_id: str, uses: Sequence[port.Use]) -> bool:
        async def used(_: Document) -> Change:
            key = await self.get_key(key_id)
            if key is None or key.invitation is None:  # it was revoked since, so the update finds no document
                return "UseInvitation", {"id": key_id, "uses": []}, {}
            after = msgspec.structs.replace(key, invitation=key.invitation.used(uses))
            return "UseInvitation", {"id": key_id, "uses": list(uses)}, {"$set": {"keys.$.body": codecs.encode(after).decode()}}

        key = await self.get_key(key_id)
        if key is None or key.account != account_id or key.invitation is None:
            return False
        return await self._change(account_id, {**_ACCOUNT, "keys.id": key_id}, used)

    async def revoke_key(self, account_id: str, key_id: str) -> bool:
        gone: Change = ("RevokeAccountKey", {"id": key_id}, {"$pull": {"keys": {"id": key_id}}, "$inc": {"revision": 1}})
        return await self._change(account_id, {**_ACCOUNT, "keys.id": key_id}, _always(gone))

    async def outbox(self, limit: int) -> list[port.Change]:
        return await self._outbox.first(limit)

    async def wait_outbox(self, timeout_s: float) -> bool:
        loop = asyncio.get_running_loop()
        end = loop.time() + timeout_s
        while True:
            wrote = self._wrote
            if not await self._outbox.is_empty():
                return True
            left = end - loop.time()
            if left <= 0:
                return False
            with anyio.move_on_after(min(left, _LOOK_S)):
                await wrote.wait()

    async def acknowledge(self, sequence: int) -> None:
        await self._outbox.forget(sequence)

    async def _all(self) -> Document:
        """The document that concerns all accounts; the first call, in any process, creates it."""
        found = await self._accounts.get({"_id": _ALL}, _HEAD)
        while found is None:
            await self._accounts.insert(
                {"_id": _ALL, "kind": "all", "secret": _new_secret(), "rotations": 0, "edition": 0, outbox.PENDING: []}
            )
            found = await self._accounts.get({"_id": _ALL}, _HEAD)
        return found

    async def _edit(self, account_id: str, name: str, **fields: Any) -> None:
        async def edited(head: Document) -> Change:
            before = _known(head, (await self._all())["rotations"])
            after = msgspec.structs.replace(before, revision=before.revision + 1, **fields)
            return name, after, {"$set": _described(after), "$inc": {"revision": 1}}

        if not await self._change(account_id, _ACCOUNT, edited):
            raise errors.NotFound(f"there is no account {account_id}")

    async def _change(self, account_id: str, where: Document, decide: Callable[[Document], Awaitable[Change]]) -> bool:
        """Decide and make a change of the current document, and record it. False if there is no such document that matches `where`."""
        async with self._changing:
            while True:
                head = await self._accounts.get({"_id": account_id, **where}, _HEAD)
                if head is None:
                    return False
                name, data, update = await decide(head)
                recorded = {outbox.PENDING: _pending(account_id, head["edition"] + 1, name, data)}
                counted = {**update.get("$inc", {}), "edition": 1}
                change = {**update, "$inc": counted, "$push": {**update.get("$push", {}), **recorded}}
                try:
                    if await self._accounts.update({"_id": account_id, "edition": head["edition"], **where}, change):
                        return True
                finally:
                    self._announce()

    def _announce(self) -> None:
        wrote, self._wrote = self._wrote, anyio.Event()
        wrote.set()


def _always(change: Change) -> Callable[[Document], Awaitable[Change]]:
    async def decide(_: Document) -> Change:
        return change

    return decide


def _described(account: port.Account) -> Document:
    """The account as JSON text, and the fields for searching and sorting."""
    return {"name": account.name, "created": clock.iso(account.created), "body": codecs.encode(account).decode()}


def _known(document: Document, rotations: int) -> port.Account:
    return msgspec.structs.replace(_account.decode(document["body"]), revision=document["revision"] + rotations)


def _pending(account_id: str, number: int, change: str, data: Any) -> Document:
    time = clock.iso(clock.SystemClock().now())
    recorded = {"schemaVersion": _BODY_VERSION, "change": change, "time": time, "account": account_id, "data": data}
    return {"number": number, "time": time, "body": codecs.encode(recorded).decode()}


def _without_hash(key: port.Key) -> dict[str, Any]:
    return {name: getattr(key, name) for name in key.__struct_fields__ if name != "secret_hash"}


def _new_secret() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
