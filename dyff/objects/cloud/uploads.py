"""Bytes on their way in: held against what was promised of them, in one request or in parts."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterable, AsyncIterator, Iterator

import anyio.from_thread
from anyio.streams.memory import MemoryObjectReceiveStream

from dyff.kernel import errors


class Promise:
    """What was promised of an object, and what has come of it so far."""

    def __init__(self, md5: str | None, limit_bytes: int | None) -> None:
        """`md5` (base64) and `limit_bytes`: None: nothing was promised."""
        self._promised, self._limit_bytes = md5, limit_bytes
        self._digest = hashlib.md5(usedforsecurity=False)
        self.size_bytes = 0

    @property
    def md5(self) -> str:
        """Of what has come, in base64."""
        return base64.b64encode(self._digest.digest()).decode()

    def take(self, piece: bytes) -> None:
        """Count `piece` in.

        Raises:
            TooLarge: it is more than was promised.
        """
        self.size_bytes += len(piece)
        if self._limit_bytes is not None and self.size_bytes > self._limit_bytes:
            raise errors.TooLarge(f"more than the {self._limit_bytes} bytes that are allowed here")
        self._digest.update(piece)

    def keep(self) -> None:
        """Say that this was all.

        Raises:
            DigestMismatch: it is not what was promised.
        """
        if self._promised not in (None, self.md5):
            raise errors.DigestMismatch(f"the MD5 of the {self.size_bytes} bytes is {self.md5}, not {self._promised}")

    async def blocks(self, pieces: AsyncIterable[bytes], block_bytes: int) -> AsyncIterator[bytes]:
        """The same bytes in blocks of about `block_bytes`, at least one, which may be empty; the last comes when the promise is kept.

        Raises:
            TooLarge, DigestMismatch: it is not.
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


def pulled(blocks: MemoryObjectReceiveStream[bytes | None]) -> Iterator[bytes]:
    """Blocks for the vendor, in a thread, as they come. None is the end.

    Raises:
        EndOfStream: they ended before the end, so what was stored of them must be given up.
    """
    while (block := anyio.from_thread.run(blocks.receive)) is not None:
        yield block
