"""Seals the files of a finalized upload: checks them, and copies them to where no URL was ever signed (ADR 18).

Everything here can be repeated and can run twice at the same time: a file's key is the SHA-256 of its bytes, a copy is checked
while it is made, and the manifest is written only if there is none.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.to_thread

from dyff.entities import codecs, kind
from dyff.kernel import errors
from dyff.objects import hashing, layout, manifests, port

_FILES_AT_ONCE = 2
"""Files of one upload that are sealed at the same time."""

LARGE_AT_ONCE = 2
"""Copies of files that are not small, of all uploads together: in a cloud, each holds up to 80 MiB in memory."""

_SMALL_BYTES = 4 * 2**20
"""A file up to this size is read once, into memory."""


class NotAsDeclared(Exception):
    """A file is missing or is not the one that was declared. The message is for the owner of the entity."""


class NotWanted(Exception):
    """The entity has changed, so its files need no longer be sealed."""


Wanted = Callable[[], bool]
"""Whether the files must still be sealed. Called often."""


async def seal(
    store: port.Objects, row: kind.Kind, entity: codecs.Json, wanted: Wanted, large: anyio.CapacityLimiter | None = None
) -> None:
    """Seal the files of `entity`; they are sealed when its manifest exists. The staged files stay.

    `large`: limits the copies of files that are not small, over several calls; None for a limit of this call's own.

    Raises:
        NotAsDeclared: a file is missing or is not the one that was declared.
        NotWanted: `wanted` said so; what was copied so far stays.
        Unavailable, OutcomeUnknown, Misconfigured: the store; seal again.
    """
    root = layout.root(row.collection, entity["id"])
    if await manifests.read(store, root) is not None:
        return  # it was sealed before; only the status is missing
    sealing = _Sealing(store, row, entity["id"], wanted, large or anyio.CapacityLimiter(LARGE_AT_ONCE))
    sealed = await sealing.files(declared(row, entity))
    try:
        is_ours = await manifests.write(store, root, manifests.Manifest(artifacts=tuple(sealed), schema=_schema(row, entity)))
    except errors.FixRequest as error:
        raise NotAsDeclared(f"The files cannot be listed: {error.message}.") from error
    for key in sealing.older if is_ours else ():  # the manifest of another can list them
        await store.delete(key)


def declared(row: kind.Kind, entity: codecs.Json) -> list[kind.DeclaredFile]:
    """The files that the entity takes; empty if it takes none."""
    return row.upload.files(entity) if row.upload is not None else []


def _schema(row: kind.Kind, entity: codecs.Json) -> str | None:
    """The Arrow schema of the rows in the files, with which they must be read; None if they have no rows."""
    if row.upload is None or row.upload.contents != "arrow":
        return None
    found = entity["schema"].get("arrowSchema")
    return found if isinstance(found, str) else None


class _Sealing:
    """The sealing of one entity's files."""

    def __init__(self, store: port.Objects, row: kind.Kind, entity_id: str, wanted: Wanted, large: anyio.CapacityLimiter) -> None:
        self._store, self._row, self._id, self._wanted, self._large = store, row, entity_id, wanted, large
        self._root = layout.root(row.collection, entity_id)
        self.older: list[str] = []
        """Keys of files that were found where releases before ADR 18 took them."""

    async def files(self, wanted: list[kind.DeclaredFile]) -> list[manifests.Artifact]:
        """Seal these files, some at the same time; returns them in the same order.

        A fault of the store stops this only after the copies that have begun, so that each attempt gets something done.
        """
        found: dict[str, manifests.Artifact] = {}
        faults: list[errors.DyffError] = []
        left = iter(wanted)

        async def work() -> None:
            for each in left:
                self._check_wanted()
                try:
                    found[each.path] = await self._file(each)
                except errors.DyffError as error:
                    faults.append(error)
                if faults:
                    return

        try:
            async with anyio.create_task_group() as group:
                for _ in range(_FILES_AT_ONCE):
                    group.start_soon(work)
        except ExceptionGroup as several:
            raise several.exceptions[0] from several
        if faults:
            raise faults[0]
        return [found[each.path] for each in wanted]

    async def _file(self, wanted: kind.DeclaredFile) -> manifests.Artifact:
        info = await self._staged(wanted)
        if info.md5 is not None and info.sha256 is not None:
            size_bytes, digest, data = info.size_bytes, {"md5": info.md5, "sha256": info.sha256}, None
        else:
            data = await self._store.get(info.key) if info.size_bytes <= _SMALL_BYTES else None
            found = await self._hash(info.key, data)
            size_bytes, digest = found.size_bytes, found.digest
        if digest["md5"] != wanted.md5 or wanted.size not in (None, size_bytes):
            size = "" if wanted.size is None else f"{wanted.size} bytes and "
            there = f"The file {wanted.path!r} has {size_bytes} bytes and the MD5 {digest['md5']}"
            raise NotAsDeclared(f"{there}, but it was declared with {size}the MD5 {wanted.md5}.")
        key = layout.blob(self._root, digest["sha256"])
        await self._place(info.key, key, digest["sha256"], size_bytes, data)
        return manifests.Artifact(path=wanted.path, key=key, size=size_bytes, digest=digest, kind=wanted.kind)

    async def _place(self, source: str, key: str, sha256: str, size_bytes: int, data: bytes | None) -> None:
        """Copy the bytes to their key, unless it has them. `data`: the bytes, if they are in memory."""
        there = await self._store.head(key)
        if there is not None and there.size_bytes == size_bytes:
            return
        if data is not None:
            await self._store.put(key, data)
            return
        try:
            async with self._large:
                self._check_wanted()
                await self._store.copy(source, key, sha256=sha256)
        except (errors.DigestMismatch, errors.NotFound) as error:
            raise errors.Unavailable(f"{source} was changed while it was sealed") from error

    async def _staged(self, wanted: kind.DeclaredFile) -> port.ObjectInfo:
        for prefix in (layout.staging(self._row.plural, self._id), self._root):
            info = await self._store.head(prefix + wanted.path)
            if info is not None:
                if prefix == self._root:
                    self.older.append(info.key)
                return info
        raise NotAsDeclared(f"The file {wanted.path!r} is missing in the object store.")

    async def _hash(self, key: str, data: bytes | None) -> hashing.Hash:
        if data is not None:
            return await anyio.to_thread.run_sync(hashing.of, data)
        found = hashing.Hash()
        async for piece in self._store.stream(key):
            self._check_wanted()
            await anyio.to_thread.run_sync(found.update, piece)
        return found

    def _check_wanted(self) -> None:
        if not self._wanted():
            raise NotWanted
