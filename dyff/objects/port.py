"""The object store: bytes under keys, and URLs that allow one operation on one key.

Keys are relative POSIX paths of allowed characters (`dyff.objects.layout.check_key`). A key is readable only when
its bytes are complete and durable.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Literal, Protocol

import msgspec


class ObjectInfo(msgspec.Struct, frozen=True):
    """Metadata of an object. `md5`: base64; `sha256`: hex. None if the store does not know it; a cloud never knows `sha256`."""

    key: str
    size_bytes: int
    md5: str | None
    sha256: str | None = None


class SignedURL(msgspec.Struct, frozen=True):
    """A URL that allows `method` until it expires; `headers` must be sent with the request."""

    url: str
    method: Literal["GET", "PUT"]
    headers: dict[str, str] = {}


class Objects(Protocol):
    """An object store."""

    async def put(
        self,
        key: str,
        data: bytes | AsyncIterable[bytes],
        *,
        if_absent: bool = False,
        md5: str | None = None,
        limit_bytes: int | None = None,
    ) -> ObjectInfo:
        """Store an object, durably; readers see the old one or the new one, never a part.

        `md5`: base64, checked while the bytes arrive.

        Raises:
            AlreadyExists: `if_absent` and the key is taken; nothing was changed.
            DigestMismatch: the bytes do not have that `md5`; nothing was changed.
            TooLarge: more than `limit_bytes`; nothing was changed.
            InvalidFields: the key is not allowed.
            DiskFull: there is no space left; nothing was changed.
            Unavailable: the store does not answer; nothing was changed.
            OutcomeUnknown: it may or may not have been stored.
        """
        ...

    async def copy(self, source: str, target: str, *, sha256: str) -> None:
        """Copy an object if its bytes have that SHA-256 (hex), durably. Later changes of `source` do not reach `target`.

        Raises:
            NotFound: `source` does not exist.
            DigestMismatch: its bytes do not have that `sha256`; nothing was changed.
            Unavailable, OutcomeUnknown: see `put`.
        """
        ...

    async def head(self, key: str) -> ObjectInfo | None:
        """The metadata of an object; None if it does not exist.

        Raises:
            Damaged: it is not what was stored, and the store noticed; so do `get` and `stream`.
        """
        ...

    async def get(self, key: str) -> bytes:
        """A small object, whole.

        Raises:
            NotFound: the object does not exist.
        """
        ...

    def stream(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `start <= position < end` in pieces; `end` None for the end of the object.

        Raises:
            NotFound: the object does not exist (at the first piece).
        """
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """All objects whose key begins with `prefix`, in order of their keys. One that is damaged has its present size and no MD5."""
        ...

    async def delete(self, key: str) -> None:
        """Delete an object; it need not exist."""
        ...

    async def delete_tree(self, prefix: str) -> None:
        """Delete everything below `prefix` (a key prefix that ends in `/`)."""
        ...

    async def sign(
        self, method: Literal["GET", "PUT"], key: str, *, expires_s: float = 3600, md5: str | None = None, limit_bytes: int | None = None
    ) -> SignedURL:
        """A URL for a client without credentials. It is bound to `md5` (base64) and, for PUT, to `limit_bytes`, if given.

        A cloud may be unable to bind one of them (`dyff.objects.cloud` says which); then the code that accepts the upload
        must check it first, as finalize does.
        """
        ...
