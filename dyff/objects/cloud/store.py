"""The port on a cloud's object store. The vendor's library is called in threads, as the local store calls the disk.

The library has awaitable calls too, but those deliver their results in threads of their own, which may still be doing so
when the interpreter exits: a short program then aborts. And an awaited call that is cancelled continues in the background.
A call in one of our threads has neither problem: when it returns, nothing of it is left, and cancelling waits for it.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Literal, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
import obstore
from obstore import exceptions as vendor

from dyff.entities import tree_paths
from dyff.kernel import errors
from dyff.kernel.clock import Clock, SystemClock
from dyff.objects import layout, port
from dyff.objects.cloud import answers, sigv4, uploads
from dyff.objects.cloud.connecting import Connection

PIECE_BYTES = 2**20
"""Size of the pieces in which a stream is read."""
PART_BYTES = 16 * 2**20
"""Larger objects are sent in parts of this size; S3 allows 10,000 of them."""
CONDITIONAL_BYTES = 128 * 2**20
"""The largest object that can be put only if absent: it is sent in one request, from memory."""

_THREADS = 32
_UPLOADS = 8
"""Concurrent multipart uploads. They have their own threads, since one may be waiting for data that it reads from this very store."""

_PARTS_AT_ONCE = 4
_LISTED_AT_ONCE = 1000
_DELETE_ATTEMPTS = 10
_ETAG = re.compile(r'"?([0-9a-fA-F]{32})"?')
_MARKER, _MARKED = "dyff:marker", b"Dyff keeps its objects here.\n"
"""The key used to probe a store. It cannot be one of our keys, since it contains a colon."""

T = TypeVar("T")
Args = TypeVarTuple("Args")


class CloudObjects:
    """The port on S3, Google Cloud Storage or Azure Blob Storage."""

    def __init__(self, connection: Connection, clock: Clock) -> None:
        """Use `open`, which checks whether the store has the features that we need."""
        connection.check()
        self._connection, self._clock = connection, clock
        self._prefix = f"{connection.prefix}/" if connection.prefix else ""
        self._store = connection.connect()
        self._once = connection.connect(retries=False)
        self._public = connection.connect(public=True)
        self._etags_are_md5 = False
        self._limiter, self._uploads = anyio.CapacityLimiter(_THREADS), anyio.CapacityLimiter(_UPLOADS)

    @classmethod
    def open(cls, connection: Connection, clock: Clock | None = None) -> CloudObjects:
        """Open the store that `connection` names. Blocks for two requests. There is nothing to close.

        `clock`: the time for signatures; None for the system clock.

        Raises:
            Misconfigured: it denies access, or does not support put-if-absent.
            Unavailable, OutcomeUnknown: it does not answer.
        """
        store = cls(connection, clock or SystemClock())
        store._find_out()
        return store

    async def put(
        self,
        key: str,
        data: bytes | AsyncIterable[bytes],
        *,
        if_absent: bool = False,
        md5: str | None = None,
        limit_bytes: int | None = None,
    ) -> port.ObjectInfo:
        layout.check_key(key)
        promise = uploads.Promise(md5, limit_bytes)
        if isinstance(data, bytes):
            await self._put_whole(key, data, if_absent, promise)
        else:
            await self._put_blocks(key, promise.blocks(data, CONDITIONAL_BYTES if if_absent else PART_BYTES), if_absent)
        return port.ObjectInfo(key, promise.size_bytes, promise.md5)

    async def copy(self, source: str, target: str, *, sha256: str) -> None:
        """The bytes pass through this process: a copy within the store could take other bytes than those that were checked."""
        await self.put(target, uploads.checked(self.stream(source), sha256))

    async def head(self, key: str) -> port.ObjectInfo | None:
        layout.check_key(key)
        try:
            with answers.reading(f"looking at {key}"):
                return self._info(await self._run(obstore.head, self._store, self._prefix + key))
        except (errors.NotFound, errors.Unavailable) as error:
            if answers.has_a_reason_to_ask_for(error):
                await self._ask_why(key)
            if isinstance(error, errors.NotFound):
                return None
            raise

    async def get(self, key: str) -> bytes:
        layout.check_key(key)
        with answers.reading(f"reading {key}"):
            return await self._run(lambda: bytes(obstore.get(self._store, self._prefix + key).bytes()))

    async def stream(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        layout.check_key(key)
        pieces = await self._open(key, start, end)
        while pieces is not None and (piece := await self._next(key, pieces)):
            yield piece

    async def list(self, prefix: str) -> AsyncIterator[port.ObjectInfo]:
        head = prefix.rpartition("/")[0]
        if "/" in prefix and tree_paths.path_problem(head, tree_paths.MAX_KEY_BYTES):
            return  # no key can begin like that
        with answers.reading(f"listing {prefix}"):
            infos = await self._run(self._listed, head, prefix)
        for info in infos:
            yield info

    async def delete(self, key: str) -> None:
        layout.check_key(key)
        with suppress(errors.NotFound), answers.reading(f"deleting {key}"):
            await self._run(self._delete, [key])

    async def delete_tree(self, prefix: str) -> None:
        if not prefix.endswith("/"):
            raise errors.InvalidFields(errors.Problem(("path", "prefix"), f"the prefix {prefix!r} must end in a slash"))
        head = layout.check_key(prefix[:-1])
        with answers.reading(f"deleting {prefix}"):
            for _ in range(_DELETE_ATTEMPTS):
                infos = await self._run(self._listed, head, prefix)
                if not infos:
                    return
                with suppress(errors.NotFound), answers.reading(f"deleting {prefix}"):
                    await self._run(self._delete, [info.key for info in infos])
        raise errors.Unavailable(f"what is below {prefix} comes as fast as it is deleted")

    async def sign(
        self, method: Literal["GET", "PUT"], key: str, *, expires_s: float = 3600, md5: str | None = None, limit_bytes: int | None = None
    ) -> port.SignedURL:
        """Only S3 binds `md5`; none of them binds `limit_bytes`. If the MD5 is bound, the size of the bytes is bound with it."""
        layout.check_key(key)
        headers = {"Content-MD5": md5} if md5 is not None and method == "PUT" else {}
        if self._connection.service == "s3":
            url = self._presigned(method, key, expires_s, headers)
        else:
            with answers.reading(f"signing a URL of {key}"):
                url = await self._run(obstore.sign, self._public, method, self._prefix + key, timedelta(seconds=expires_s))
        if self._connection.service == "az" and method == "PUT":
            headers["x-ms-blob-type"] = "BlockBlob"
        return port.SignedURL(url, method, headers)

    async def _ask_why(self, key: str) -> None:
        """An answer to HEAD has no body: a bucket that is gone, a clock or a password look like an object that is gone, or like a lack of
        rights. An answer to GET says which.

        Raises:
            Blocked, Unavailable: as it says.
        """
        with suppress(errors.NotFound), answers.reading(f"looking at {key}"):
            await self._run(self._get, key, {"range": (0, 1)})

    def _find_out(self) -> None:
        """Check that put-if-absent works, and whether ETags are MD5s, which encryption by the store prevents."""
        key, where = self._prefix + _MARKER, f"opening the object store {self._connection.url()}"
        with answers.opening(), answers.writing(where):
            etag = obstore.put(self._store, key, _MARKED, use_multipart=False)["e_tag"]
            self._etags_are_md5 = _md5(etag) == _encoded(hashlib.md5(_MARKED, usedforsecurity=False).digest())
            with suppress(vendor.AlreadyExistsError, vendor.PreconditionError):
                obstore.put(self._once, key, _MARKED, mode="create")
                raise errors.Misconfigured(f"{where}: it overwrites what should be put only if absent; it must obey If-None-Match")

    async def _put_whole(self, key: str, data: bytes, if_absent: bool, promise: uploads.Promise | None = None) -> None:
        """Put in one request or, if the data is large, in parts. `promise`: if given, it is checked here."""
        if if_absent and len(data) > CONDITIONAL_BYTES:
            raise errors.TooLarge(f"{key} has {len(data)} bytes; only {CONDITIONAL_BYTES} can be put if absent")

        def put() -> None:
            if promise is not None:
                promise.take(data)
                promise.keep()
            if if_absent:  # no retries by the vendor's library: a second attempt would find the object of the first and report a conflict
                obstore.put(self._once, self._prefix + key, data, mode="create")
            else:
                self._put(key, data)

        try:
            with answers.writing(f"storing {key}"):
                await self._run(put)
            return
        except errors.AlreadyExists as error:
            taken = error
        if await self.head(key) is None:  # S3 also reports this while another client puts or deletes the object
            raise errors.Unavailable(f"another is changing {key!r} at this moment") from taken
        raise taken

    async def _put_blocks(self, key: str, blocks: AsyncIterator[bytes], if_absent: bool) -> None:
        first = await anext(blocks)
        second = await anext(blocks, None)
        if second is None:
            await self._put_whole(key, first, if_absent)
        elif if_absent:
            raise errors.TooLarge(f"{key} has more than the {CONDITIONAL_BYTES} bytes that can be put if absent")
        else:
            await self._put_parts(key, first, second, blocks)

    async def _put_parts(self, key: str, first: bytes, second: bytes, rest: AsyncIterator[bytes]) -> None:
        """Upload in parts. If the final None, which is sent last, is missing, the vendor's library discards the parts."""
        send, receive = anyio.create_memory_object_stream[bytes | None](0)

        async def store() -> None:
            with receive, answers.writing(f"storing {key}"):
                await anyio.to_thread.run_sync(self._put, key, uploads.pulled(receive), limiter=self._uploads)

        async def give(block: bytes | None) -> None:
            try:
                await send.send(block)
            except anyio.BrokenResourceError:  # the upload has failed: its error, not this one, must end the group
                await anyio.sleep_forever()

        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store)
                await give(first)
                await give(second)
                async for block in rest:
                    await give(block)
                await give(None)
        except BaseExceptionGroup as group:
            raise _one(group) from group
        finally:
            send.close()

    def _put(self, key: str, data: bytes | Iterator[bytes]) -> None:
        obstore.put(self._store, self._prefix + key, data, chunk_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE)

    async def _open(self, key: str, start: int, end: int | None) -> Iterator[Any] | None:
        """The bytes of one version, as they arrive; None if there are none in that range."""
        if end is not None and start >= end:
            if await self.head(key) is None:
                raise errors.NotFound(f"there is no object {key!r}")
            return None
        options: Any = None if start == 0 and end is None else {"range": {"offset": start} if end is None else (start, end)}
        try:
            with answers.reading(f"reading {key}"):
                return await self._run(self._get, key, options)
        except (errors.Unavailable, errors.FixRequest):
            info = await self.head(key) if options is not None else None
            if info is None or info.size_bytes > start:
                raise
            return None

    def _get(self, key: str, options: Any) -> Iterator[Any]:
        return iter(obstore.get(self._store, self._prefix + key, options=options).stream(min_chunk_size=PIECE_BYTES))

    async def _next(self, key: str, pieces: Iterator[Any]) -> bytes:
        with answers.reading(f"reading {key}"):
            return await self._run(lambda: bytes(next(pieces, b"")))

    def _listed(self, head: str, prefix: str) -> Sequence[port.ObjectInfo]:
        """Sorted by key, which not every server does. Anything that is not an allowed key is not ours."""
        under = (self._prefix + head).rstrip("/")
        found = []
        for chunk in obstore.list(self._store, under or None, chunk_size=_LISTED_AT_ONCE):
            for meta in chunk:
                key = meta["path"].removeprefix(self._prefix)
                if key.startswith(prefix) and not tree_paths.path_problem(key, tree_paths.MAX_KEY_BYTES):
                    found.append(self._info(meta))
        return sorted(found, key=lambda info: info.key)

    def _delete(self, keys: Sequence[str]) -> None:
        obstore.delete(self._store, [self._prefix + key for key in keys])

    def _info(self, meta: Any) -> port.ObjectInfo:
        return port.ObjectInfo(meta["path"].removeprefix(self._prefix), meta["size"], _md5(meta["e_tag"]) if self._etags_are_md5 else None)

    def _presigned(self, method: str, key: str, expires_s: float, headers: dict[str, str]) -> str:
        where = self._connection
        if where.credentials is None:
            raise errors.Misconfigured("signing URLs of S3 needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment")
        return sigv4.presign(
            where.credentials, method, where.public_base(), self._prefix + key,
            region=where.region, now=self._clock.now(), expires_s=expires_s, headers=headers,
        )  # fmt: skip

    async def _run(self, function: Callable[[*Args], T], *args: *Args) -> T:
        """Call it in a thread. Cancelling waits for it, so that it never continues unseen; `timeout_s` limits it."""
        return await anyio.to_thread.run_sync(function, *args, limiter=self._limiter)


def _md5(etag: str | None) -> str | None:
    """The MD5 in an ETag, as base64; None if the ETag is something else, like that of an object sent in parts."""
    match = _ETAG.fullmatch(etag or "")
    return _encoded(bytes.fromhex(match[1])) if match else None


def _encoded(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _one(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The underlying error, if two tasks ended because of the same one."""
    first = group.exceptions[0]
    return _one(first) if isinstance(first, BaseExceptionGroup) else first
