"""The routes behind signed URLs of an object store that has none of its own. Bytes are streamed to and from it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dyff.accounts import port as accounts
from dyff.api import artifacts, preconditions
from dyff.api.calls import Call, Reply
from dyff.api.context import Context
from dyff.api.documents import summary
from dyff.api.route import BYTES, Other, Route
from dyff.entities import answers, codecs, registry
from dyff.kernel import errors
from dyff.objects import layout, port, signing

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_RETRY = {"Retry-After": "seconds after which to try again"}
_HEADERS = {"Accept-Ranges": "bytes", "ETag": "the MD5 digest, in base64, where it is known"}


def routes(context: Context) -> list[Route]:
    """Return the routes; an empty list if the store signs URLs to itself."""
    signer = context.services.signer
    if signer is None:
        return []
    group = ObjectRoutes(context, signer)
    common: dict[str, Any] = {"path": signing.PATH + "{key:path}", "group": "objects"}
    words, names = "this is not a signed URL for it, or it has expired", {"WWW-Authenticate": "Bearer"}
    tag = {"ETag": _HEADERS["ETag"]}
    refused = {403: Other(words, answers.Problem, headers=names)}
    return [
        Route(
            method="GET", answer=group.get, operation="fetch", summary="Fetch a file by a signed URL", returns="the file",
            media_type=BYTES, headers=_HEADERS, open=True,
            others={
                206: Other("a range of the file, as the header Range asks for", media_type=BYTES, headers=_HEADERS),
                304: Other("the client has the file already, as the header If-None-Match says", headers=tag),
                404: Other("there is no such file", answers.Problem),
                412: Other("it is another file than the header If-Match says", headers=tag),
                416: Other("the file ends before the range begins"),
                500: Other("the file was changed on the disk since it was stored", answers.Problem),
                503: Other("the store does not answer; try again", answers.Problem, headers=_RETRY),
                **refused,
            },
            **common,
        ),
        Route(method="HEAD", answer=group.head, operation="head", summary="Its size", hidden=True, open=True, **common),
        Route(
            method="PUT", answer=group.put, operation="store", summary="Store a file by a signed URL", returns="nothing",
            body_type=BYTES, headers=tag, open=True, conflict="these are not the bytes that were declared",
            others={
                413: Other("it is larger than the URL allows", answers.Problem),
                503: Other("the disk is full, or the store does not answer; try again", answers.Problem, headers=_RETRY),
                **refused,
            },
            **common,
        ),
    ]  # fmt: skip


class ObjectRoutes:
    """Requests by signed URL; the URL is the credential."""

    def __init__(self, context: Context, signer: signing.Signer) -> None:
        """`signer`: the one that signs the store's URLs."""
        self._objects = context.services.objects
        self._documents = context.documents
        self._accounts = context.services.accounts
        self._signer = signer
        self._quotas = context.quotas
        self._require_space = context.services.require_space

    async def get(self, call: Call) -> Reply:
        """Return the whole file or a range of it, with its length, its entity tag and no content encoding."""
        info = await self._info(call)
        size, common, tag = info.size_bytes, _common(info), _quoted(info)
        if (unmet := _unmet(call, info)) is not None:
            return unmet
        span = _span(call.header(b"range"), size) if preconditions.range_holds(tag, call.header(b"if-range")) else None
        if span is None:
            return Reply(200, self._objects.stream(info.key), (("content-length", str(size)), *common), BYTES)
        start, end = span
        if start >= end:
            return Reply(416, b"", (("content-range", f"bytes */{size}"),), BYTES)
        headers = (("content-length", str(end - start)), ("content-range", f"bytes {start}-{end - 1}/{size}"), *common)
        return Reply(206, self._objects.stream(info.key, start=start, end=end), headers, BYTES)

    async def head(self, call: Call) -> Reply:
        """Like `get` for the whole file, without the bytes."""
        info = await self._info(call)
        if (unmet := _unmet(call, info)) is not None:
            return unmet
        return Reply(200, _nothing(), (("content-length", str(info.size_bytes)), *_common(info)), BYTES)

    async def put(self, call: Call) -> Reply:
        """Store exactly the bytes that the URL was signed for, or nothing. Whether uploads are open is checked before and after."""
        grant = self._signer.verify("PUT", call.path["key"].lstrip("/"), call.query_string)
        announced = call.content_length()
        if announced is not None and grant.limit_bytes is not None and announced > grant.limit_bytes:
            text = f"the file has {announced} bytes, but the URL was signed for at most {grant.limit_bytes}"
            raise errors.TooLarge(text).of_limit("upload_bytes")
        digest = call.header(b"content-md5")
        if digest is not None and grant.md5 is not None and digest.strip() != grant.md5:
            raise errors.DigestMismatch(f"the header Content-MD5 is {digest[:64]!r}, but the URL was signed for {grant.md5}")
        self._require_space()
        entity = codecs.decode_object(await self._require_open(grant.key))
        async with self._counted(entity, grant, announced) as stored:
            body = self._while_open(grant.key, call.stream())
            info = await self._objects.put(grant.key, body, md5=grant.md5, limit_bytes=grant.limit_bytes)
            stored.append(info.size_bytes)
        return Reply(200, b"", _tag(info))

    async def _while_open(self, key: str, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """The same bytes, but an error at their end if uploads were closed meanwhile, so that they are not stored.

        No lock is needed: what comes later than this is not read any more (ADR 18).
        """
        async for piece in body:
            yield piece
        await self._require_open(key)

    @asynccontextmanager
    async def _counted(self, entity: codecs.Json, grant: signing.Grant, announced: int | None) -> AsyncIterator[list[int]]:
        """Count the file before it arrives, with the most that it can have. The context adds its size to the list once it is stored.

        Raises:
            QuotaExceeded: its account has as much as it may.
        """
        path = (layout.staged(grant.key) or ("", "", ""))[2]
        most = next(each for each in (announced, grant.limit_bytes, artifacts.MAX_UPLOAD_BYTES) if each is not None)
        stored: list[int] = []
        await self._quotas.upload(entity, {path: most})
        try:
            yield stored
        finally:
            self._quotas.uploaded(entity, path, sum(stored))

    async def _require_open(self, key: str) -> bytes:
        """Check that the entity to which `key` belongs still takes this upload; returns its document.

        Raises:
            WrongStatus: it was finalized or deleted, or has ended.
            Forbidden: its account is suspended or deleted, or the key is not one that is uploaded to.
            NotReady: the view is behind the log, so it is not known yet.
        """
        plural, entity_id, _ = layout.staged(key) or ("", "", "")
        row = registry.BY_PLURAL.get(plural)
        if row is None:
            raise errors.Forbidden("nothing can be stored under this URL, which an older release signed: ask for a new one")
        document = await self._documents.find(row, entity_id)
        if document is None:
            raise errors.WrongStatus(f"the {row.name} {entity_id[:64]} does not exist any more, so nothing can be uploaded to it")
        found = summary(document)
        artifacts.require_open(found.status, found.reason)
        account = await self._accounts.get(found.account)
        if account is not None and account.status != accounts.ACTIVE:
            raise errors.Forbidden(f"the account of the {row.name} is {account.status.lower()}, so nothing can be uploaded to it")
        return document

    async def _info(self, call: Call) -> port.ObjectInfo:
        grant = self._signer.verify(call.method, call.path["key"].lstrip("/"), call.query_string)
        info = await self._objects.head(grant.key)
        if info is None:
            raise errors.NotFound(f"there is no object {grant.key[:200]!r}")
        if grant.md5 is not None and info.md5 not in (None, grant.md5):
            raise errors.Damaged(
                f"the object {grant.key!r} is damaged: it has the MD5 {info.md5}, and {grant.md5} is listed; restore it from a backup"
            )
        return info


def _tag(info: port.ObjectInfo) -> tuple[tuple[str, str], ...]:
    """The entity tag, which is the digest; none if the store does not know it."""
    tag = _quoted(info)
    return (("etag", tag),) if tag is not None else ()


def _quoted(info: port.ObjectInfo) -> str | None:
    return f'"{info.md5}"' if info.md5 else None


def _unmet(call: Call, info: port.ObjectInfo) -> Reply | None:
    """The answer if a condition of the request says that the file is not wanted; None if it is."""
    status = preconditions.status(_quoted(info), call.joined(b"if-match"), call.joined(b"if-none-match"))
    return Reply(status, b"", _tag(info), BYTES) if status is not None else None


def _common(info: port.ObjectInfo) -> tuple[tuple[str, str], ...]:
    return (("accept-ranges", "bytes"), *_tag(info))


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes `start <= position < end` that a Range header requests; None for all of them, also if it is not understood."""
    match = _RANGE.fullmatch(header.strip()) if header is not None else None
    if match is None or match[0] == "bytes=-":
        return None
    if not match[1]:
        return max(0, size - int(match[2])), size
    start = int(match[1])
    if not match[2]:
        return start, size
    return (start, min(int(match[2]) + 1, size)) if int(match[2]) >= start else None


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
