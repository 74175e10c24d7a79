"""Uploads to signed URLs: in parallel, streamed, each bound to its digest. Files that the server already has are not sent again."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import httpx
import msgspec

from dyff.sdk import errors, models, secrecy, tally, transport
from dyff.sdk.io import CHUNK_BYTES, IO

PARALLEL = 4
RETRIES = 4
TIMEOUT = httpx.Timeout(60.0, read=600.0, write=600.0)
"""The answer for a large file comes only when the store has it durably."""


class Uplink(msgspec.Struct, frozen=True):
    """The URL for uploading a file. `is_there`: the store already has it, with the declared digest."""

    url: models.SignedURL
    is_there: bool


def md5_of(path: Path) -> str:
    """Return the MD5 digest of a file in base64, the API's form."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return base64.b64encode(digest.digest()).decode()


async def upload(io: IO, files: Mapping[str, Path], uplink: Callable[[str], Awaitable[Uplink]], *, progress: bool) -> None:
    """Upload the files. `files`: the local ones, by the path under which they are stored.

    Raises:
        FileNotFoundError: a file does not exist; nothing was sent.
        ApiError: the store refused the bytes, for instance because they are not those of the declared file.
        ServerUnreachable: the connection broke too often.
    """
    total = sum([(await io.in_thread(file.stat)).st_size for file in files.values()])

    async def one(path: str) -> None:
        target = await uplink(path)
        if target.is_there:
            count.add((await io.in_thread(files[path].stat)).st_size)
        else:
            await _put(io, files[path], target.url, count)
        count.finish_file()

    with tally.choose(progress, "upload", len(files), total) as count:
        await io.all([lambda path=path: one(path) for path in files], PARALLEL, count.stop)  # type: ignore[misc]


async def _put(io: IO, path: Path, target: models.SignedURL, count: tally.Tally) -> None:
    size = (await io.in_thread(path.stat)).st_size
    headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream", **target.headers}
    waits = transport.delays()
    for left in reversed(range(RETRIES + 1)):
        sent = 0
        reply: httpx.Response | None = None

        def add(more: int) -> None:
            nonlocal sent
            sent += more
            count.add(more)

        request = secrecy.signed(io.request("PUT", target.url, content=io.content(path, add), headers=headers, timeout=TIMEOUT))
        try:
            answer = await io.send(request)
        except httpx.TransportError as error:
            if not left:
                raise errors.ServerUnreachable(f"the upload of {path.name} broke off: {transport.unanswered(request, error)}") from error
        else:
            if answer.is_success:
                return
            if not left or answer.status_code not in transport.RETRIED:
                raise transport.refusal(answer, target.url)
            reply = answer
        count.add(-sent)
        await io.sleep(transport.pause_s(reply, waits))
