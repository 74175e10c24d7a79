"""The object store in a local directory, for one machine. Several processes can use it at the same time.

    <root>/objects/<key>     the objects, as plain files
    <root>/digests/<key>     what was stored (`dyff.objects.digests`)
    <root>/incoming/         files that are not complete yet, or being deleted
    <root>/removed/          what was deleted while a backup is made (`dyff.objects.keeping`)

An object is written to `incoming`, made durable there, and then renamed in one step. So a reader finds either the whole object
or nothing, and a crash leaves at most a file in `incoming`, which a later start removes. As in any file system, and unlike
in S3, no object can be below another: if `a` is one, `a/b` is refused.

File I/O runs in threads. Every disk error is `Unavailable`, and nothing has been changed. A file that was cut or edited since it was
stored is `Damaged`: it is listed as it is, but not served.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Literal, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
import structlog

from dyff.entities import tree_paths
from dyff.kernel import errors
from dyff.objects import digests, incoming, keeping, layout, port, signing, tree

log = structlog.get_logger()

CHUNK_BYTES = 2**20
_LISTED_AT_ONCE = 256
_THREADS = 8

T = TypeVar("T")
Args = TypeVarTuple("Args")


class LocalObjects:
    """The port on a directory."""

    def __init__(self, root: Path, signer: signing.Signer | None) -> None:
        """Use `open`, which reports what is wrong with a directory and cleans up after a crash."""
        self._tree = tree.Tree(root / "objects")
        self._digests = digests.Digests(root / "digests")
        self._incoming = incoming.Incoming(root / "incoming")
        self._kept = keeping.Kept(root)
        self._signer = signer
        self._limiter = anyio.CapacityLimiter(_THREADS)

    @classmethod
    def open(cls, root: Path | str, signer: signing.Signer | None = None) -> LocalObjects:
        """Open the store in `root`, which is created if it does not exist. There is nothing to close.

        `signer`: None if it need not sign URLs, as in steps.

        Raises:
            Misconfigured: `root` cannot be used.
        """
        try:
            store = cls(Path(root), signer)
            store._incoming.clear_away()
            store._kept.clear_away()
        except OSError as error:
            raise errors.Misconfigured(f"the object store cannot use the directory {root}: {error.strerror}") from error
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
        writing = incoming.Writing(self._incoming.name(), md5, limit_bytes)
        if isinstance(data, bytes):
            return await self._run(self._put_whole, key, writing, data, if_absent)
        try:
            async for block in _blocks(data):
                await self._run(writing.write, block)
            return await self._run(self._finish, key, writing, if_absent)
        finally:
            with anyio.CancelScope(shield=True):
                await self._run(writing.discard)

    async def copy(self, source: str, target: str, *, sha256: str) -> None:
        """The copy is another link to the same file. That is enough, since no file of the store is ever changed, only replaced."""
        layout.check_key(source)
        layout.check_key(target)
        await self._run(self._copy, source, target, sha256)

    async def head(self, key: str) -> port.ObjectInfo | None:
        layout.check_key(key)
        return await self._run(self._info, key)

    async def get(self, key: str) -> bytes:
        layout.check_key(key)
        return await self._run(self._read, key)

    async def stream(self, key: str, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        layout.check_key(key)
        descriptor, size_bytes = await self._run(self._open, key)
        end = size_bytes if end is None else min(end, size_bytes)
        try:
            while start < end:
                piece = await self._run(os.pread, descriptor, min(CHUNK_BYTES, end - start), start)
                if not piece:
                    raise errors.Unavailable(f"the object {key!r} was cut short while it was read")
                yield piece
                start += len(piece)
        finally:
            os.close(descriptor)

    async def list(self, prefix: str) -> AsyncIterator[port.ObjectInfo]:
        if "/" in prefix and tree_paths.path_problem(prefix[: prefix.rindex("/")], tree_paths.MAX_KEY_BYTES):
            return  # no key can begin like that
        infos = self._infos(self._tree.walk(prefix))
        while batch := await self._run(lambda: list(itertools.islice(infos, _LISTED_AT_ONCE))):
            for info in batch:
                yield info

    async def delete(self, key: str) -> None:
        layout.check_key(key)
        await self._run(self._delete, key)

    async def delete_tree(self, prefix: str) -> None:
        if not prefix.endswith("/"):
            raise errors.InvalidFields(errors.Problem(("path", "prefix"), f"the prefix {prefix!r} must end in a slash"))
        directory = layout.check_key(prefix[:-1])
        await self._run(self._delete_tree, directory)

    async def sign(
        self, method: Literal["GET", "PUT"], key: str, *, expires_s: float = 3600, md5: str | None = None, limit_bytes: int | None = None
    ) -> port.SignedURL:
        if self._signer is None:
            raise errors.Misconfigured("this object store was opened without a signer, so it cannot sign URLs")
        return self._signer.url(method, key, expires_s=expires_s, md5=md5, limit_bytes=limit_bytes)

    def _put_whole(self, key: str, writing: incoming.Writing, data: bytes, if_absent: bool) -> port.ObjectInfo:
        try:
            writing.write(data)
            return self._finish(key, writing, if_absent)
        finally:
            writing.discard()

    def _finish(self, key: str, writing: incoming.Writing, if_absent: bool) -> port.ObjectInfo:
        file, found = writing.complete()
        try:
            self._tree.place(writing.path, key, if_absent=if_absent, durable=True)
        except FileExistsError as error:
            raise errors.AlreadyExists(f"there is already an object {key!r}") from error
        known = digests.Known(found.md5, found.sha256)
        self._digests.remember(key, file, known, self._incoming.name())
        return _info(key, file, known)

    def _copy(self, source: str, target: str, sha256: str) -> None:
        temporary = self._incoming.name()
        descriptor = self._tree.link(source, temporary)
        if descriptor is None:
            raise errors.NotFound(f"there is no object {source!r}")
        try:
            known = self._digests.of(source, descriptor, self._incoming.name(), whole=True)
            if known.sha256 != sha256:
                raise errors.DigestMismatch(f"the SHA-256 of {source!r} is {known.sha256}, not {sha256}")
            self._tree.place(temporary, target, if_absent=False, durable=True)
            self._digests.remember(target, os.fstat(descriptor), known, self._incoming.name())
        finally:
            with contextlib.suppress(FileNotFoundError):  # renaming a link to another link of the same file does nothing
                temporary.unlink()
            os.close(descriptor)

    def _open(self, key: str) -> tuple[int, int]:
        """A descriptor and the size in bytes."""
        descriptor = self._tree.open(key)
        if descriptor is None:
            raise errors.NotFound(f"there is no object {key!r}")
        try:
            self._digests.check(key, descriptor, self._incoming.name())
            return descriptor, os.fstat(descriptor).st_size
        except BaseException:
            os.close(descriptor)
            raise

    def _read(self, key: str) -> bytes:
        descriptor, _ = self._open(key)
        with open(descriptor, "rb") as file:
            return file.read()

    def _info(self, key: str) -> port.ObjectInfo | None:
        descriptor = self._tree.open(key)
        if descriptor is None:
            return None
        try:
            return _info(key, os.fstat(descriptor), self._digests.of(key, descriptor, self._incoming.name()))
        finally:
            os.close(descriptor)

    def _info_as_it_is(self, key: str) -> port.ObjectInfo | None:
        """Like `_info`, also of a damaged object: its present size, and no MD5."""
        try:
            return self._info(key)
        except errors.Damaged as error:
            log.error("object-damaged", key=key, **errors.details(error))
            descriptor = self._tree.open(key)
        if descriptor is None:
            return None
        try:
            return port.ObjectInfo(key, os.fstat(descriptor).st_size, None)
        finally:
            os.close(descriptor)

    def _infos(self, keys: Iterator[str]) -> Iterator[port.ObjectInfo]:
        """The objects that still exist. A name that is not an allowed key was created by someone else, and is not ours."""
        for key in keys:
            if not tree_paths.path_problem(key, tree_paths.MAX_KEY_BYTES) and (info := self._info_as_it_is(key)):
                yield info

    def _delete(self, key: str) -> None:
        self._digests.tree.remove(key, durable=False)
        with self._kept.deleting() as kept:
            if kept is None or not self._tree.move_out(key, kept / key, durable=True):
                self._tree.remove(key, durable=True)

    def _delete_tree(self, directory: str) -> None:
        """All objects disappear at the same time; what is left of them is removed here or after a later start."""
        self._detach(self._digests.tree, directory, durable=False)
        with self._kept.deleting() as kept:
            if kept is None:
                self._detach(self._tree, directory, durable=True)
            else:
                self._tree.move_out(directory, kept / directory, durable=True, whole=True)

    def _detach(self, among: tree.Tree, directory: str, *, durable: bool) -> None:
        target = self._incoming.name()
        if among.detach(directory, target, durable=durable):
            shutil.rmtree(target, ignore_errors=True)

    async def _run(self, function: Callable[[*Args], T], *args: *Args) -> T:
        """Call it in a thread. Cancelling waits for it, so that it never continues unseen."""
        try:
            return await anyio.to_thread.run_sync(function, *args, limiter=self._limiter)
        except OSError as error:
            kind = errors.DiskFull if error.errno in errors.NO_SPACE else errors.Unavailable
            raise kind(f"the object store's disk: {error.strerror or error}") from error


def _info(key: str, file: os.stat_result, known: digests.Known) -> port.ObjectInfo:
    return port.ObjectInfo(key, file.st_size, known.md5, known.sha256)


async def _blocks(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in blocks of about a chunk; at least one block, which may be empty."""
    block = bytearray()
    async for piece in pieces:
        block += piece
        if len(block) >= CHUNK_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block)
