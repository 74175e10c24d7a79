"""The object store: bytes under keys, and URLs that allow one thing to one key.

Keys are relative POSIX paths of allowed characters (`dyff.objects.layout.check_key`). A key is readable only when
its bytes are complete and durable.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Literal, Protocol

import msgspec


class ObjectInfo(msgspec.Struct, frozen=True):
    """What is known of an object. `md5`: base64, None where the store does not know it."""

    key: str
    size_bytes: int
    md5: str | None


class SignedURL(msgspec.Struct, frozen=True):
    """A URL that allows `method` until it expires; `headers` must be sent with the request."""

    url: str
    method: Literal["GET", "PUT"]
    headers: dict[str, str] = {}


class Objects(Protocol):
    """The store."""

    async def put(
        self,
        key: str,
        data: bytes | AsyncIterable[bytes],
        *,
        if_absent: bool = False,
        md5: str | None = None,
        limit_bytes: int | None = None,
    ) -> ObjectInfo:
        """Store an object, durable when it returns; readers see the old one or the new one, never a part.

        `md5`: base64, checked while the bytes arrive.

        Raises:
            AlreadyExists: `if_absent` and the key is taken; nothing was changed.
            DigestMismatch: the bytes do not have that `md5`; nothing was changed.
            TooLarge: more than `limit_bytes`; nothing was changed.
            InvalidFields: the key is not allowed.
            Unavailable: the store does not answer; nothing was changed.
            OutcomeUnknown: it may or may not have been stored.
        """
        ...

    async def head(self, key: str) -> ObjectInfo | None:
        """What is known of it; None: there is no such object."""
        ...

    async def get(self, key: str) -> bytes:
        """A small object, whole.

        Raises:
            NotFound: there is no such object.
        """
        ...

    def stream(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes `start <= position < end` in pieces; `end` None: to the end.

        Raises:
            NotFound: there is no such object (at the first piece).
        """
        ...

    def list(self, prefix: str) -> AsyncIterator[ObjectInfo]:
        """All objects whose key begins with `prefix`, in order of their keys."""
        ...

    async def delete(self, key: str) -> None:
        """Remove it; an absent one is fine."""
        ...

    async def delete_tree(self, prefix: str) -> None:
        """Remove everything below `prefix` (a key prefix that ends in `/`)."""
        ...

    async def sign(
        self, method: Literal["GET", "PUT"], key: str, *, expires_s: float = 3600, md5: str | None = None, limit_bytes: int | None = None
    ) -> SignedURL:
        """A URL for someone without credentials. For PUT: bound to `md5` (base64) and `limit_bytes` where given.

        A cloud may be unable to bind one of them (`dyff.objects.cloud` says which); then whoever makes the upload count
        must look at it first, as finalize does.
        """
        ...
