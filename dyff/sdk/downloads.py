"""Downloads from signed URLs: in parallel, streamed, checked against digests, and resumed after an interruption."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import httpx

from dyff.sdk import display, errors, interruptions, models, secrecy, tally, transport
from dyff.sdk.io import CHUNK_BYTES, GRACE_S, IO

PARALLEL = 4
RETRIES = 4
TIMEOUT = httpx.Timeout(60.0)

Links = Callable[[], Awaitable[Sequence[models.Downlink]]]


async def download(io: IO, links: Links, destination: Path, entity_id: str, *, progress: bool) -> None:
    """Download all artifacts to a new directory, which gets its name only when everything has arrived and was checked.

    Until then the files are in a directory next to it, `<name>.<entity>.partial`, from which the next call with the same
    destination continues.
    `links`: called again when a URL has expired.

    Raises:
        FileExistsError: the destination already exists.
        TransferFailed: an artifact's bytes do not have its digest, or its path leaves the destination.
        ServerUnreachable: the connection broke too often.
    """
    if await io.in_thread(destination.exists):
        raise FileExistsError(f"{destination} already exists; choose a new directory")
    several = await links()
    for link in several:
        _require_inside(link.artifact.path)
    partial = destination.with_name(f"{destination.name}.{entity_id}.partial")
    await io.in_thread(_make, partial)

    async def again(path: str) -> models.Downlink:
        return next(link for link in await links() if link.artifact.path == path)

    line = f"  the download was interrupted; the same call, with {str(destination)!r}, continues it (what has arrived is in {partial})"
    with (
        interruptions.Explained(line, display.plain if progress else None),
        tally.choose(progress, "download", len(several)) as count,
    ):
        tasks = [lambda link=link: _File(io, link, partial, count).fetch(again) for link in several]
        await io.all(tasks, PARALLEL, count.stop)
    await io.in_thread(partial.rename, destination)


async def file(io: IO, links: Links, destination: Path, entity_id: str) -> None:
    """Download the only artifact to a new file, which appears when everything has arrived. See `download`."""
    if await io.in_thread(destination.exists):
        raise FileExistsError(f"{destination} already exists; choose a new file")
    folder = destination.with_name(f"{destination.name}.{entity_id}.folder")
    await download(io, links, folder, entity_id, progress=False)

    def move() -> None:
        (found,) = folder.iterdir()
        found.rename(destination)
        folder.rmdir()

    await io.in_thread(move)


def _make(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)


class _File:
    """The download of one artifact."""

    def __init__(self, io: IO, link: models.Downlink, folder: Path, count: tally.Tally) -> None:
        """`folder`: the directory in which the artifact gets its own path."""
        self._io, self._link, self._count = io, link, count
        self._path = folder / link.artifact.path
        self._digest = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._etag: str | None = None

    async def fetch(self, again: Callable[[str], Awaitable[models.Downlink]]) -> None:
        """Download the whole file and verify it. `again`: returns a new URL for its path, for when the present one has expired."""
        await self._io.in_thread(_make, self._path.parent)
        resumed = await self._io.in_thread(self._take_up)
        if not (resumed and self._is_right()):
            await self._get_persistently(again)
            if resumed and not self._is_right():  # the existing bytes may be those of another file
                await self._io.in_thread(self._forget)
                await self._get_persistently(again)
        if not self._is_right():
            await self._io.in_thread(self._forget)
            raise errors.TransferFailed(
                f"{self._link.artifact.path}: the bytes that arrived do not have the promised digest; repeat the download, and if it "
                "stays so, the stored file is damaged"
            )
        self._count.finish_file()

    async def _get_persistently(self, again: Callable[[str], Awaitable[models.Downlink]]) -> None:
        """Download the missing part, with retries. Tries that make progress do not count towards the limit."""
        waits, left, renewed_at = transport.delays(), RETRIES, -1
        while True:
            before = self._size
            try:
                return await self._get()
            except errors.NotAllowed:
                if renewed_at == self._size:
                    raise
                self._link, renewed_at = await again(self._link.artifact.path), self._size
            except (httpx.TransportError, errors.ServerBusy) as error:
                left = RETRIES if self._size > before else left - 1
                if left < 0:
                    raise errors.ServerUnreachable(
                        f"the download of {self._link.artifact.path} broke off: {error}; repeat it, and it goes on from there"
                    ) from error
                await self._io.sleep(next(waits))

    async def _get(self) -> None:
        """Download the missing part, in one try."""
        target = self._link.signedURL
        headers = {"Accept-Encoding": "identity", **target.headers}
        if self._size and self._etag is None and self._link.artifact.digest.md5 is None:
            await self._io.in_thread(self._forget)  # it could not be verified that the rest belongs to it
        if self._size:
            headers["Range"] = f"bytes={self._size}-"
            if self._etag:
                headers["If-Range"] = self._etag
        request = secrecy.signed(self._io.request(target.method, target.url, headers=headers, timeout=TIMEOUT))
        answer = await self._io.send(request, stream=True)
        try:
            if answer.status_code == 416:  # nothing is missing, or it is another file: the digest decides
                return
            if not answer.is_success:
                await self._io.read(answer)
                raise _refusal(answer, target.url)
            if self._size and answer.status_code != 206:
                await self._io.in_thread(self._forget)
            self._etag = answer.headers.get("ETag")
            self._count.expect(int(answer.headers.get("Content-Length", 0)))
            with self._path.open("ab") as file:
                await self._write_all(file, self._io.pieces(answer))
        finally:
            await self._io.end(answer)

    async def _write_all(self, file: BinaryIO, pieces: AsyncGenerator[bytes, None]) -> None:
        """Write the data in chunks of a MiB. Everything that has arrived is kept, even after an error."""
        held = bytearray()
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    held += piece
                    self._count.add(len(piece))
                    if len(held) >= CHUNK_BYTES:
                        full, held = held, bytearray()
                        await self._io.in_thread(self._write, file, full)
        finally:
            if not self._count.is_abandoned(GRACE_S):
                self._write(file, held)

    def _take_up(self) -> bool:
        """Hash the existing beginning of the file, to resume from it. Returns False, and discards it, if it cannot be verified."""
        if self._link.artifact.digest.md5 is None or not self._path.exists():
            self._forget()
            return False
        with self._path.open("rb") as file:
            while piece := file.read(CHUNK_BYTES):
                self._digest.update(piece)
                self._size += len(piece)
        return self._size > 0

    def _write(self, file: BinaryIO, piece: bytearray) -> None:
        file.write(piece)
        self._digest.update(piece)
        self._size += len(piece)

    def _forget(self) -> None:
        self._path.unlink(missing_ok=True)
        self._digest, self._size, self._etag = hashlib.md5(usedforsecurity=False), 0, None

    def _is_right(self) -> bool:
        wanted = self._link.artifact.digest.md5
        return wanted is None or base64.b64encode(self._digest.digest()).decode() == wanted


def _refusal(answer: httpx.Response, url: str) -> errors.ApiError:
    found = transport.refusal(answer, url)
    return errors.ServerBusy(found.status, found.detail, found.url) if found.status in transport.RETRIED else found


def _require_inside(path: Any) -> None:
    relative = PurePosixPath(path)
    if relative.is_absolute() or ".." in relative.parts or "\\" in path or not relative.parts:
        raise errors.TransferFailed(f"the artifact path {path!r} leaves the destination")
