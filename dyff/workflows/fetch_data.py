"""Copies a complete tree from the object store to a local directory and verifies every byte. Volumes are filled this way.

Run it as `python -m dyff.workflows fetch-data --source models/<id>/ --destination DIR`. Environment: `DYFF_STORAGE_URL`.
It can be repeated: files that already exist and are complete are kept.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import anyio
import anyio.to_thread

from dyff.kernel import errors
from dyff.objects import hashing, layout, port
from dyff.objects import manifests as tree_manifests
from dyff.objects.manifests import Artifact, Link
from dyff.workflows import endings, manifests, space

_AT_ONCE = 4
_CHUNK_BYTES = 2**20
_PART = ".dyff-part"


def main(arguments: list[str]) -> int:
    """Run the step and return its exit code."""
    return endings.run(lambda: _step(arguments))


async def _step(arguments: list[str]) -> None:
    parser = endings.Arguments(prog="fetch-data")
    parser.add_argument("--source", required=True, help="the tree, such as models/<id>/")
    parser.add_argument("--destination", required=True, type=Path, help="the directory to fill; it is made if it is not there")
    given = parser.parse_args(arguments)
    root, destination = given.source.rstrip("/") + "/", given.destination
    store = manifests.store()
    layout.check_key(root + layout.ARTIFACTS)
    found = await tree_manifests.read(store, root)
    if found is None:
        why = f"{root} has no {layout.ARTIFACTS}: its upload was never finalized, or it was deleted"
        raise endings.Ending(endings.WRONG_DATA, f"{why}. Finalize it, then create the workflow again.")
    listed = found.artifacts
    destination.mkdir(parents=True, exist_ok=True)
    copier = _Copier(store, destination)
    async with anyio.create_task_group() as tasks:
        for artifact in listed:
            tasks.start_soon(copier.copy, artifact)
    await space.when_there_is(lambda: anyio.to_thread.run_sync(_make_links, destination, found.links))
    size_bytes = sum(artifact.size for artifact in listed)
    endings.say(f"done: {len(listed)} files, {size_bytes} bytes, from {root} to {destination}")


class _Copier:
    """Copies several files concurrently."""

    def __init__(self, store: port.Objects, destination: Path) -> None:
        """`destination`: an existing directory."""
        self._store, self._destination = store, destination
        self._limiter = anyio.CapacityLimiter(_AT_ONCE)

    async def copy(self, artifact: Artifact) -> None:
        """Copy one file, unless it already exists and is complete. Waits while the disk is full.

        Raises:
            Ending: its bytes are missing or not the promised ones, or it cannot be written.
        """
        async with self._limiter:
            target = self._destination / artifact.path
            if not await space.when_there_is(lambda: self._attempt(artifact, target)):
                return
            endings.say(f"fetched {artifact.path}, {artifact.size} bytes")

    async def _attempt(self, artifact: Artifact, target: Path) -> bool:
        """Returns False if it exists already."""
        try:
            if await anyio.to_thread.run_sync(_is_whole, target, artifact):
                return False
            await self._download(artifact, target)
        except OSError as error:
            raise _refused(f"{target} cannot be written", error) from error
        return True

    async def _download(self, artifact: Artifact, target: Path) -> None:
        """Download to a file next to the target first, so that a file with the right name is always complete."""
        await anyio.to_thread.run_sync(lambda: target.parent.mkdir(parents=True, exist_ok=True))
        part, found = target.with_name(target.name + _PART), hashing.Hash()
        try:
            async with await anyio.open_file(part, "wb") as file:
                async for piece in self._store.stream(artifact.key):
                    await anyio.to_thread.run_sync(found.update, piece)
                    await file.write(piece)
        except errors.NotFound as error:
            raise endings.Ending(
                endings.WRONG_DATA, f"{artifact.key} is listed but missing in the object store. Upload it again."
            ) from error
        if not artifact.matches(found):
            part.unlink()
            raise endings.Ending(
                endings.WRONG_DATA, f"{artifact.key} does not have the listed bytes: size or digest differ. Upload it again."
            )
        os.replace(part, target)


def _make_links(destination: Path, links: Iterable[Link]) -> None:
    """Create the links that do not exist yet. The links of a manifest never lead out of `destination`."""
    for each in links:
        link = destination / each.link
        if link.is_symlink() and os.readlink(link) == each.target:
            continue
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(each.target, target_is_directory=each.target_is_directory)
        except OSError as error:
            raise _refused(f"the link {link} cannot be made", error) from error


def _refused(what: str, error: OSError) -> Exception:
    """What a failure of the disk of the volume is for the step."""
    why = f"{what}: {error.strerror or error}"
    return errors.DiskFull(why) if error.errno in errors.NO_SPACE else endings.Ending(endings.TRY_AGAIN, f"{why}.")


def _is_whole(target: Path, artifact: Artifact) -> bool:
    if not artifact.digest or not target.is_file() or target.stat().st_size != artifact.size:
        return False
    found = hashing.Hash()
    with target.open("rb") as file:
        while piece := file.read(_CHUNK_BYTES):
            found.update(piece)
    return artifact.matches(found)
