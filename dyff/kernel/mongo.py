"""MongoDB, as far as both of our databases on it need it: the one file that knows a driver.

Only calls that motor and PyMongo Async have in common, so that the driver is one value (ADR 9). A client belongs to the event
loop in which it was made: open it where it is used. Everything is written with majority and to the journal and read with
majority from the primary, one document at a time. Times are limited by the driver itself: to cancel a call costs its connection.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Literal

import anyio
import anyio.to_thread
import msgspec
import pymongo
from pymongo import errors as vendor
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from dyff.kernel import errors

Json = Mapping[str, Any]
"""A document, a filter or a change, as MongoDB spells them."""

Order = Sequence[tuple[str, Literal[1, -1]]]

NEVER: Json = {"_id": {"$in": []}}
"""A filter that matches nothing."""

_DUPLICATE = 11000
_REFUSED = frozenset({13, 18, 8000})
"""Unauthorized, AuthenticationFailed, and how a hosted MongoDB says the latter."""
_TOO_LARGE = frozenset({10334, 17280, 17419, 17420})
_ABSENT = frozenset({26, 27})
"""NamespaceNotFound, IndexNotFound."""
_SLOW_S = 600.0
"""For what takes as long as there is data."""


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """Where the database is and who we are to it.

    `uri`: `mongodb://` or `mongodb+srv://`; it may name hosts, user, password and options. `database`: of ours. `username`,
    `password`: None: as the URI says. `tls_ca_file`: certificates of who may sign the servers'; given, TLS is used; None: as
    the URI says. `tls_key_file`: certificate and key of ours. `driver`: `motor` or `pymongo`. `timeout_s`: of each call, with
    all that it repeats.
    """

    uri: str
    database: str = "dyff"
    username: str | None = None
    password: str | None = None
    tls_ca_file: str | None = None
    tls_key_file: str | None = None
    driver: Literal["motor", "pymongo"] = "motor"
    timeout_s: float = 10.0

    def options(self) -> dict[str, Any]:
        """What the client is given besides the URI, whose options it overrides."""
        limit_ms = int(self.timeout_s * 1000)
        given: dict[str, Any] = {
            "username": self.username,
            "password": self.password,
            "tlsCAFile": self.tls_ca_file,
            "tlsCertificateKeyFile": self.tls_key_file,
            "tls": True if self.tls_ca_file or self.tls_key_file else None,
        }
        always = {"appname": "dyff", "timeoutMS": limit_ms, "serverSelectionTimeoutMS": limit_ms, "connectTimeoutMS": limit_ms}
        return {**{name: value for name, value in given.items() if value is not None}, **always, "retryWrites": True, "retryReads": True}


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """An index by `paths`, ascending. `only`: of the documents that match this alone."""

    name: str
    paths: tuple[str, ...]
    unique: bool = False
    only: dict[str, Any] | None = None


class Database:
    """A database of MongoDB; use `open`."""

    def __init__(self, database: Any, name: str) -> None:
        self._database, self._name = database, name

    @classmethod
    @asynccontextmanager
    async def open(cls, connection: Connection, name: str) -> AsyncIterator[Database]:
        """The database, once it has answered. `name`: for people, such as `the query store`.

        Raises:
            Unavailable: it does not answer.
            Misconfigured: it refuses us, or the URI is wrong.
        """
        with translated(name):
            client = await _client(connection)
        try:
            database = client.get_database(
                connection.database,
                read_preference=ReadPreference.PRIMARY,
                read_concern=ReadConcern("majority"),
                write_concern=WriteConcern("majority", j=True),  # its time is limited by the client's
            )
            with translated(name):
                await database.command("ping")
            yield cls(database, name)
        finally:
            await _close(connection, client)

    def collection(self, name: str) -> Collection:
        """A collection, whether it is there or not."""
        return Collection(self._database[name], self._name)

    async def names(self) -> list[str]:
        """The collections that are there."""
        with translated(self._name):
            return list(await self._database.list_collection_names())

    async def drop(self) -> None:
        """Remove the whole database."""
        with translated(self._name, changing=True):
            await self._database.client.drop_database(self._database.name)


class Collection:
    """A collection.

    Every method may raise `Unavailable` and `Misconfigured`; one that changes something `OutcomeUnknown` and `TooLarge`, too.
    """

    def __init__(self, collection: Any, name: str) -> None:
        """`name`: of the database, for people."""
        self._collection, self._name = collection, name

    async def ensure(self, indexes: Sequence[Index]) -> None:
        """Make the indexes that are not there."""
        models = [pymongo.IndexModel([(path, 1) for path in each.paths], **_options(each)) for each in indexes]
        with translated(self._name, changing=True), pymongo.timeout(_SLOW_S):
            await self._collection.create_indexes(models)

    async def get(self, where: Json, fields: Json | None = None) -> dict[str, Any] | None:
        """One document that matches, with all `fields` or those; None: there is none."""
        with translated(self._name):
            found: dict[str, Any] | None = await self._collection.find_one(where, fields)
        return found

    async def find(self, where: Json, fields: Json | None = None, *, order: Order = (), limit: int = 0) -> list[dict[str, Any]]:
        """All documents that match. `limit` 0: none."""
        with translated(self._name):
            cursor = self._collection.find(where, fields, sort=list(order) or None, limit=limit)
            return list(await cursor.to_list(None))

    async def insert(self, document: Json) -> bool:
        """Add a document; False: it, or a value of a unique index, is there already."""
        with translated(self._name, changing=True):
            try:
                await self._collection.insert_one(document)
            except vendor.DuplicateKeyError:
                return False
        return True

    async def update(self, where: Json, change: Json) -> bool:
        """Change one document that matches; False: none does, or a value of a unique index is taken."""
        with translated(self._name, changing=True):
            try:
                result = await self._collection.update_one(where, change)
            except vendor.DuplicateKeyError:
                return False
        return bool(result.matched_count)

    async def changed(self, where: Json, change: Json, *, upsert: bool = False) -> dict[str, Any] | None:
        """Change one document that matches, and return it; None: none does. `upsert`: then it is made."""
        after = pymongo.ReturnDocument.AFTER
        with translated(self._name, changing=True):
            found: dict[str, Any] | None = await self._collection.find_one_and_update(where, change, upsert=upsert, return_document=after)
        return found

    async def replace(self, replacements: Sequence[tuple[Json, Json]]) -> set[int]:
        """For each (filter, document): put it in the place of the one that matches, or add it; returns which were refused.

        Refused is, by its number, what matched nothing and is there nevertheless: with a filter for "older than this", what is
        stored is as new. One that fails does not keep the others from being written.
        """
        requests = [pymongo.ReplaceOne(where, document, upsert=True) for where, document in replacements]
        with translated(self._name, changing=True):
            try:
                await self._collection.bulk_write(requests, ordered=False)
            except vendor.BulkWriteError as error:
                failed = error.details["writeErrors"]
                if error.details["writeConcernErrors"] or any(each["code"] != _DUPLICATE for each in failed):
                    raise
                return {each["index"] for each in failed}
        return set()

    async def rewrite(self, replacements: Sequence[tuple[Json, Json]]) -> int:
        """For each (filter, document): put it in the place of the one that matches, if one does; returns how many did."""
        requests = [pymongo.ReplaceOne(where, document) for where, document in replacements]
        with translated(self._name, changing=True):
            result = await self._collection.bulk_write(requests, ordered=False)
        return int(result.matched_count)

    async def drop_index(self, name: str) -> None:
        """Remove an index, if it is there."""
        with translated(self._name, changing=True):
            try:
                await self._collection.drop_index(name)
            except vendor.OperationFailure as error:
                if error.code not in _ABSENT:
                    raise

    async def drop(self) -> None:
        """Remove it with its indexes, if it is there."""
        with translated(self._name, changing=True), pymongo.timeout(_SLOW_S):
            await self._collection.drop()

    async def delete(self, where: Json) -> None:
        """Remove all that match, however long it takes."""
        with translated(self._name, changing=True), pymongo.timeout(_SLOW_S):
            await self._collection.delete_many(where)


@contextmanager
def translated(name: str, *, changing: bool = False) -> Iterator[None]:
    """Turns the driver's errors into ours. `name`: of the database. `changing`: so that its outcome may be unknown.

    Raises:
        Misconfigured: the settings are wrong, or do not allow it.
        TooLarge: no document may be as large.
        Unavailable: it did nothing.
        OutcomeUnknown: it may have changed something.
    """
    try:
        yield
    except vendor.DocumentTooLarge as error:
        raise errors.TooLarge(f"{name}: what is to be stored is too large for one document of MongoDB") from error
    except (vendor.ConfigurationError, vendor.InvalidURI) as error:
        raise errors.Misconfigured(f"{name}: the connection to MongoDB cannot be made: {error}") from error
    except vendor.PyMongoError as error:
        codes = _codes(error)
        if codes & _REFUSED:
            raise errors.Misconfigured(f"{name}: MongoDB refuses it ({error}); check user, password and roles") from error
        if codes & _TOO_LARGE:
            raise errors.TooLarge(f"{name}: what is to be stored is too large for one document of MongoDB") from error
        message = f"{name}: MongoDB does not answer as it should ({type(error).__name__}: {str(error)[:300]})"
        if changing and not _did_nothing(error):
            raise errors.OutcomeUnknown(message) from error
        raise errors.Unavailable(message) from error
    except OSError as error:  # a file with certificates, mostly
        raise errors.Misconfigured(f"{name}: {error}") from error


async def _client(connection: Connection) -> Any:
    """Motor is PyMongo in threads, but for making and closing a client, which may block."""
    if connection.driver == "pymongo":
        return pymongo.AsyncMongoClient(connection.uri, **connection.options())
    from motor import motor_asyncio

    loop = asyncio.get_running_loop()
    make = functools.partial(motor_asyncio.AsyncIOMotorClient, connection.uri, io_loop=loop, **connection.options())
    return await anyio.to_thread.run_sync(make)


async def _close(connection: Connection, client: Any) -> None:
    with anyio.CancelScope(shield=True):
        if connection.driver == "pymongo":
            await client.close()
        else:
            await anyio.to_thread.run_sync(client.close)


def _codes(error: vendor.PyMongoError) -> set[int]:
    """What the server calls it, by number."""
    if isinstance(error, vendor.BulkWriteError):
        return {each["code"] for each in error.details["writeErrors"]}
    return {error.code} if isinstance(error, vendor.OperationFailure) and error.code is not None else set()


def _did_nothing(error: vendor.PyMongoError) -> bool:
    """Whether no server was asked. Where a repetition finds none, the drivers raise the first error, which is no such one."""
    unasked = isinstance(error, vendor.ServerSelectionTimeoutError | vendor.WaitQueueTimeoutError)
    return unasked or error.has_error_label("NoWritesPerformed")


def _options(index: Index) -> dict[str, Any]:
    given: dict[str, Any] = {"name": index.name}
    if index.unique:
        given["unique"] = True
    if index.only is not None:
        given["partialFilterExpression"] = index.only
    return given
