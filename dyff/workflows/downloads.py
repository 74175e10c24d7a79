"""Downloads a file from the web into the object store, so that an interrupted attempt loses little.

Bytes are stored in parts as they arrive (`dyff.objects.layout.parts`); the next attempt requests the rest with `Range`. The
complete file becomes one object, under its digest, and only if the digest is right. Nothing is kept on a local disk.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable

import anyio
import httpx
import msgspec

from dyff.kernel import backoff, clock
from dyff.objects import layout, port
from dyff.workflows import endings, guarded_http, space
from dyff.workflows.model_trees import File

PART_BYTES = 16 * 2**20
_PART_S = 10.0
"""A part is stored when it is full, or this long after the previous one."""
_TRIES = 6
"""The number of consecutive retries without a single byte before giving up."""
_TIMEOUT = httpx.Timeout(30.0, connect=15.0)
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_DIGITS = 20


class Location(msgspec.Struct, frozen=True):
    """Where a file can be downloaded at present. `headers`: to be sent only to that host, to no other."""

    url: str
    headers: dict[str, str] = {}


Locate = Callable[[], Awaitable[Location]]


def client() -> httpx.AsyncClient:
    """Make the HTTP client for all downloads of a step. It connects only to hosts that `dyff.workflows.addresses` admits."""
    return httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=True, transport=guarded_http.Transport())


class Downloads:
    """Stores files under their digests below `root`."""

    def __init__(self, store: port.Objects, http: httpx.AsyncClient, root: str, arrived: Callable[[int], None]) -> None:
        """`arrived`: called with the number of bytes that became available, including those of earlier attempts."""
        self._store, self._http, self._root, self._arrived = store, http, root, arrived
        self._clock = clock.SystemClock()

    async def known(self, file: File) -> dict[str, str] | None:
        """Return the digests of a file that an earlier attempt stored, or None if it has to be fetched."""
        key = layout.blob(self._root, file.blob)
        info = await self._store.head(key)
        if info is None or info.size_bytes != file.size_bytes:
            return None
        self._arrived(file.size_bytes)
        if info.md5 and file.sha256:
            return {"md5": info.md5, "sha256": file.sha256}
        digests = Digests(file)
        async for piece in self._store.stream(key):
            digests.update(piece)
        return digests.checked()

    async def store(self, file: File, read: Callable[[], AsyncIterable[bytes]]) -> dict[str, str]:
        """Store bytes that are available locally; returns their digests. `read`: begins to read them, each time that it is called.

        Raises:
            Ending: they are not the bytes of the file.
        """

        async def put() -> dict[str, str]:
            digests = Digests(file)
            await self._store.put(layout.blob(self._root, file.blob), _checked(read(), digests), limit_bytes=file.size_bytes)
            return digests.checked()

        digests = await space.when_there_is(put)
        self._arrived(file.size_bytes)
        return digests

    async def fetch(self, file: File, locate: Locate) -> dict[str, str]:
        """Fetch a file, or the missing rest of it; returns its digests.

        Raises:
            Ending: it cannot be fetched, or its bytes are not the promised ones.
        """
        parts = await _Parts.of(self._store, layout.parts(self._root, file.blob), file.size_bytes)
        if parts.size_bytes:
            endings.say(f"{file.path}: {parts.size_bytes} of {file.size_bytes} bytes are there from an earlier attempt")
            self._arrived(parts.size_bytes)
        delays, tries = backoff.delays(0.5), 0
        while parts.size_bytes < file.size_bytes:
            before = parts.size_bytes
            try:
                await self._continue(file, parts, await locate())
                trouble = "the connection ended early"
            except (httpx.TransportError, Again) as error:
                trouble = str(error) or type(error).__name__
            if parts.size_bytes == file.size_bytes:
                break
            delays, tries = (backoff.delays(0.5), 0) if parts.size_bytes > before else (delays, tries + 1)
            if tries >= _TRIES:
                raise endings.Ending(endings.TRY_AGAIN, f"{file.path} cannot be fetched: {trouble}. Create the model again later.")
            endings.say(f"{file.path}: {trouble}; going on at {parts.size_bytes} of {file.size_bytes} bytes")
            await anyio.sleep(next(delays))
        return await self._compose(file, parts)

    async def _continue(self, file: File, parts: _Parts, location: Location) -> None:
        """Append what the server sends to `parts`, including the bytes that arrived before an error or a cancellation."""
        start = parts.size_bytes
        headers = {**location.headers, "Accept-Encoding": "identity", **({"Range": f"bytes={start}-"} if start else {})}
        async with self._http.stream("GET", location.url, headers=headers) as response:
            skip = start - _begin(file, response, start)
            buffer, due = bytearray(), self._clock.monotonic() + _PART_S
            try:
                async for piece in response.aiter_raw():
                    if skip >= len(piece):
                        skip -= len(piece)
                        continue
                    buffer += piece[skip:]
                    self._arrived(len(piece) - skip)
                    skip = 0
                    if parts.size_bytes + len(buffer) > file.size_bytes:
                        raise endings.Ending(
                            endings.WRONG_DATA, f"{file.path} is longer than the {file.size_bytes} bytes that its source promised."
                        )
                    if len(buffer) >= PART_BYTES or self._clock.monotonic() >= due:
                        await parts.append(bytes(buffer))
                        buffer, due = bytearray(), self._clock.monotonic() + _PART_S
            finally:
                with anyio.CancelScope(shield=True):
                    if buffer and parts.size_bytes + len(buffer) <= file.size_bytes:
                        await parts.append(bytes(buffer))

    async def _compose(self, file: File, parts: _Parts) -> dict[str, str]:
        async def put() -> dict[str, str]:
            digests = Digests(file)
            await self._store.put(layout.blob(self._root, file.blob), _checked(parts.pieces(), digests), limit_bytes=file.size_bytes)
            return digests.checked()

        try:
            digests = await space.when_there_is(put)
        except endings.Ending:
            await parts.delete()
            raise
        await parts.delete()
        return digests


class Digests:
    """Computes the digests of a file while its bytes pass through."""

    def __init__(self, file: File) -> None:
        """`file`: has the expected digests."""
        self._file = file
        self._size_bytes = 0
        self._md5, self._sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        self._git = hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False) if file.git_sha1 else None

    def update(self, piece: bytes) -> None:
        """Add the next bytes."""
        self._size_bytes += len(piece)
        for each in (self._md5, self._sha256, self._git):
            if each is not None:
                each.update(piece)

    def checked(self) -> dict[str, str]:
        """Return `md5` (base64, as everywhere) and `sha256` (hex).

        Raises:
            Ending: the size or a digest is not the promised one.
        """
        file, sha256 = self._file, self._sha256.hexdigest()
        if (
            self._size_bytes != file.size_bytes
            or (file.sha256 and file.sha256 != sha256)
            or (self._git is not None and self._git.hexdigest() != file.git_sha1)
        ):
            raise endings.Ending(
                endings.TRY_AGAIN, f"{file.path} has not the promised bytes: size or digest differ from what its source says. Try again."
            )
        return {"md5": base64.b64encode(self._md5.digest()).decode(), "sha256": sha256}


class Again(Exception):
    """The download failed in a way that may succeed on a retry."""


class _Parts:
    """The stored parts of a file: objects that each begin where the previous one ended. An empty file has none."""

    def __init__(self, store: port.Objects, prefix: str, keys: list[str], size_bytes: int) -> None:
        """Use `of` to make one."""
        self._store, self._prefix, self._keys, self.size_bytes = store, prefix, keys, size_bytes

    @classmethod
    async def of(cls, store: port.Objects, prefix: str, limit_bytes: int) -> _Parts:
        """Return the parts that earlier attempts stored, up to the first gap."""
        keys, size_bytes = list[str](), 0
        async for info in store.list(prefix):
            if info.key == f"{prefix}{size_bytes:0{_DIGITS}}" and size_bytes + info.size_bytes <= limit_bytes:
                keys.append(info.key)
                size_bytes += info.size_bytes
        return cls(store, prefix, keys, size_bytes)

    async def append(self, data: bytes) -> None:
        key = f"{self._prefix}{self.size_bytes:0{_DIGITS}}"
        await space.when_there_is(lambda: self._store.put(key, data))
        self._keys.append(key)
        self.size_bytes += len(data)

    async def pieces(self) -> AsyncIterator[bytes]:
        for key in self._keys:
            async for piece in self._store.stream(key):
                yield piece

    async def delete(self) -> None:
        await self._store.delete_tree(self._prefix)


async def _checked(pieces: AsyncIterable[bytes], digests: Digests) -> AsyncIterator[bytes]:
    """Yield the same bytes, but raise at their end if they are wrong, so that they are not stored."""
    async for piece in pieces:
        digests.update(piece)
        yield piece
    digests.checked()


def _begin(file: File, response: httpx.Response, start: int) -> int:
    """Return the offset in the file at which the answer begins.

    Raises:
        Ending: the file is refused permanently.
        Again: a retry may succeed.
    """
    code = response.status_code
    if code == 200:
        return 0
    if code == 206:
        begins = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if begins == str(start):
            return start
        raise Again(f"{response.url.host} sent another range than it was asked for")
    if code in _AGAIN:
        raise Again(f"{response.url.host} answers {code}")
    raise endings.Ending(
        endings.WRONG_DATA, f"{file.path} cannot be fetched: {response.url.host} answers {code} {response.reason_phrase}.{_advice(code)}"
    )


def _advice(code: int) -> str:
    if code in (401, 403):
        return " It needs rights that this server has not: the setting operator.fetch_env can name a token file."
    return " Look at the model's source, then create the model again."
