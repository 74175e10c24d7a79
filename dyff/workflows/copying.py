"""Copies trees of the object store to local directories, and verifies every byte. It can be repeated: what is whole is kept."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import msgspec

from dyff.kernel import errors
from dyff.objects import hashing, port
from dyff.objects.manifests import Artifact, Link
from dyff.workflows import endings, space

_AT_ONCE = 4
_CHUNK_BYTES = 2**20
_PART = ".dyff-part"


Work = Callable[[], None]
"""What writes to a local directory. Blocking."""


class Tree(msgspec.Struct, frozen=True):
    """What is to be copied, and where to. `destination`: an existing directory. No path and no link leads out of it."""

    artifacts: tuple[Artifact, ...]
    links: tuple[Link, ...]
    destination: Path


async def copy(store: port.Objects, trees: Iterable[Tree]) -> None:
    """Copy trees, several files at a time. Files that exist already and are complete are kept. Waits while the disk is full.

    Raises:
        Ending: bytes are missing or not the promised ones, or a file cannot be written.
    """
    trees = tuple(trees)
    limiter = anyio.CapacityLimiter(_AT_ONCE)
    async with anyio.create_task_group() as tasks:
        for tree in trees:
            copier = _Copier(store, tree.destination, limiter)
            for artifact in tree.artifacts:
                tasks.start_soon(copier.copy, artifact)
    for tree in trees:
        await space.when_there_is(partial(anyio.to_thread.run_sync, _make_links, tree.destination, tree.links))


class _Copier:
    """Copies several files concurrently."""

    def __init__(self, store: port.Objects, destination: Path, limiter: anyio.CapacityLimiter) -> None:
        """`destination`: an existing directory. `limiter`: of the files that are copied at the same time."""
        self._store, self._destination, self._limiter = store, destination, limiter

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
        part, found = _part(target), hashing.Hash()
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


def writing(work: Work) -> None:
    """Do what writes to a local directory, and translate what its disk raises. Blocking.

    Raises:
        DiskFull: there is no space.
        Ending: something cannot be written.
    """
    try:
        work()
    except OSError as error:
        raise _refused(f"{error.filename or 'a file'} cannot be written", error) from error


def _part(target: Path) -> Path:
    """Where an incomplete file is. Its name is short, whatever the target's is: a name of full length has no room for an ending."""
    return target.with_name(hashlib.sha256(target.name.encode()).hexdigest()[:32] + _PART)


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
