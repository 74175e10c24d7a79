"""Incoming data, checked against its expected digest and size, in one request or in parts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator

import anyio.from_thread
import anyio.to_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from dyff.kernel import errors


class Promise:
    """The expected digest and size of an object, and those of the data received so far."""

    def __init__(self, md5: str | None, limit_bytes: int | None) -> None:
        """`md5` (base64) and `limit_bytes`: None if there is no expectation."""
        self._promised, self._limit_bytes = md5, limit_bytes
        self._digest = hashlib.md5(usedforsecurity=False)
        self.size_bytes = 0

    @property
    def md5(self) -> str:
        """The MD5 of the data received so far, in base64."""
        return base64.b64encode(self._digest.digest()).decode()

    def take(self, piece: bytes) -> None:
        """Add `piece` to the received data.

        Raises:
            TooLarge: the size limit is exceeded.
        """
        self.size_bytes += len(piece)
        if self._limit_bytes is not None and self.size_bytes > self._limit_bytes:
            raise errors.TooLarge(f"more than the {self._limit_bytes} bytes that are allowed here").of_limit("upload_bytes")
        self._digest.update(piece)

    def keep(self) -> None:
        """Finish: all data was received.

        Raises:
            DigestMismatch: the data does not match the expected digest.
        """
        if self._promised not in (None, self.md5):
            raise errors.DigestMismatch(f"the MD5 of the {self.size_bytes} bytes is {self.md5}, not {self._promised}")

    async def blocks(self, pieces: AsyncIterable[bytes], block_bytes: int) -> AsyncIterator[bytes]:
        """The same bytes in blocks of about `block_bytes`, at least one, which may be empty; the last follows only after all checks.

        Raises:
            TooLarge, DigestMismatch: a check failed.
        """
        block = bytearray()
        async for piece in pieces:
            if len(block) >= block_bytes:
                yield bytes(block)
                block.clear()
            self.take(piece)
            block += piece
        self.keep()
        yield bytes(block)


async def checked(pieces: AsyncIterable[bytes], sha256: str) -> AsyncIterator[bytes]:
    """The same bytes, but an error at their end if they do not have that SHA-256 (hex), so that they are not stored.

    Raises:
        DigestMismatch: they do not.
    """
    digest = hashlib.sha256()
    async for piece in pieces:
        await anyio.to_thread.run_sync(digest.update, piece)
        yield piece
    if digest.hexdigest() != sha256:
        raise errors.DigestMismatch(f"the SHA-256 of the bytes is {digest.hexdigest()}, not {sha256}")


def pulled(blocks: MemoryObjectReceiveStream[bytes | None]) -> Iterator[bytes]:
    """Blocks for the vendor's library, in a thread, as they arrive. None marks the end.

    Raises:
        EndOfStream: the stream was closed before the end, so the stored part must be discarded.
    """
    while (block := anyio.from_thread.run(blocks.receive)) is not None:
        yield block
