"""Stores the files that the program of an analysis has output, and their manifest."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import anyio
import anyio.to_thread

from dyff.entities import codecs
from dyff.kernel import errors
from dyff.objects import hashing, layout, manifests, port
from dyff.objects.manifests import Artifact
from dyff.workflows import endings, hostile_folders, outputs

_AT_ONCE = 4
_CHUNK_BYTES = 2**20


class Output:
    """The output of one attempt. Readers see it when the manifest is stored, which only one attempt can do."""

    def __init__(self, store: port.Objects, collection: str, entity_id: str, attempt: str) -> None:
        """`collection`: see `dyff.objects.layout.root`. `attempt`: part of the keys."""
        self._store, self._root = store, layout.root(collection, entity_id)
        self._prefix = layout.analysis_attempt(self._root, attempt)

    async def published(self) -> manifests.Manifest | None:
        """The manifest that an attempt has stored, whose files are whole, with its results; None if there is none.

        Raises:
            Ending: a file is missing, or was changed.
        """
        found = await manifests.read(self._store, self._root)
        if found is None:
            return None
        for artifact in found.artifacts:
            if not await self._is_whole(artifact):
                why = f"The output was stored before, but {artifact.key} is missing or was changed"
                raise endings.Ending(endings.WRONG_DATA, f"{why}. Create it again.")
        await self._restore_results(found)
        return found

    async def clear(self) -> None:
        """Delete what this attempt has stored, and a container of the same attempt that was killed."""
        await self._store.delete_tree(self._prefix)

    async def put(self, folder: hostile_folders.Folder, below: str, files: Sequence[hostile_folders.File]) -> list[Artifact]:
        """Store files, several at a time. `below`: the folder that their paths are relative to.

        Raises:
            Unfit: a file is not what it was.
            RetryLater, OutcomeUnknown: the store does not answer in any of several tries.
        """
        stored: dict[str, Artifact] = {}
        limiter = anyio.CapacityLimiter(_AT_ONCE)

        async def put(file: hostile_folders.File) -> None:
            async with limiter:
                stored[file.path] = await self._put(folder, f"{below}/{file.path}", file)

        async with anyio.create_task_group() as tasks:
            for file in files:
                tasks.start_soon(put, file)
        return [stored[file.path] for file in files]

    async def publish(self, artifacts: Sequence[Artifact], schema: str | None, results: codecs.Json) -> bool:
        """Store the results and then the manifest. False if another attempt has stored its own meanwhile, which count.

        `schema`: see `dyff.objects.manifests.Manifest`.
        """
        data = codecs.encode(results)
        for key in (layout.results(self._prefix), layout.results(self._root)):
            await outputs.persist(self._store, key, data)
        manifest = manifests.Manifest(
            artifacts=tuple(artifacts), source={"kind": "Analysis", "results": layout.results(self._prefix)}, schema=schema
        )
        if await outputs.insist(lambda: manifests.write(self._store, self._root, manifest), self._root + layout.ARTIFACTS):
            return True
        found = await self.published()
        if found is None or (found.source or {}).get("results") != layout.results(self._prefix):
            await self.clear()
            return False
        return True  # this attempt was first: the answer to an earlier try was lost

    async def _restore_results(self, found: manifests.Manifest) -> None:
        """Store the results of the attempt that counts again, if those of another one are in their place."""
        source = (found.source or {}).get("results")
        if not isinstance(source, str):
            return
        counted, key = await self._store.get(source), layout.results(self._root)
        try:
            if await self._store.get(key) == counted:
                return
        except errors.NotFound:
            pass
        await outputs.persist(self._store, key, counted)

    async def _is_whole(self, artifact: Artifact) -> bool:
        try:
            info = await self._store.head(artifact.key)
        except errors.Damaged:
            return False
        return info is not None and artifact.can_be(info)

    async def _put(self, folder: hostile_folders.Folder, source: str, file: hostile_folders.File) -> Artifact:
        key, found = self._prefix + file.path, hashing.Hash()

        async def pieces() -> AsyncIterator[bytes]:
            nonlocal found
            found = hashing.Hash()
            with folder.open(source) as opened:
                while piece := await anyio.to_thread.run_sync(opened.read, _CHUNK_BYTES):
                    await anyio.to_thread.run_sync(found.update, piece)
                    yield piece
            if found.size_bytes != file.size:
                raise hostile_folders.Unfit(f"{hostile_folders.shown(file.path)} was changed while it was stored. Let no process go on.")

        await outputs.persist(self._store, key, pieces)
        kind = "parquet" if file.path.endswith(".parquet") else "file"
        return Artifact(path=file.path, key=key, size=file.size, digest=found.digest, kind=kind)
