"""Reads and writes whole local stores, for backups. Blocking.

An export reads manifests before all other objects: a manifest is stored after the files that it lists, so the files of every manifest that
was read are still to come. What is deleted meanwhile is kept (`dyff.objects.keeping`) and read last.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from dyff.entities import tree_paths
from dyff.kernel import errors
from dyff.objects import digests, incoming, layout, tree

_MANIFESTS = (f"/{layout.ARTIFACTS}", f"/{layout.INCOMPLETE}")


class Found(msgspec.Struct, frozen=True):
    """An object. `descriptor`: open until the next one is asked for. `known`: what the store recorded of this very file, or None."""

    key: str
    descriptor: int
    known: digests.Known | None


def size_bytes(root: Path) -> int:
    """The size of all objects of the store in `root`, about."""
    found = tree.Tree(root / "objects")
    total = 0
    for key in found.walk(""):
        descriptor = found.open(key)
        if descriptor is not None:
            total += os.fstat(descriptor).st_size
            os.close(descriptor)
    return total


def objects(root: Path, removed: Path) -> Iterator[Found]:
    """All objects of the store in `root`, each once, and those in `removed`, which `Kept.keeping` gave. A key in both is that of one that
    was stored again.
    """
    present, records = tree.Tree(root / "objects"), digests.Digests(root / "digests")
    for manifests in (True, False):
        for key in present.walk(""):
            if _is_manifest(key) is manifests and not tree_paths.path_problem(key, tree_paths.MAX_KEY_BYTES):
                yield from _opened(present, key, records)
    for each in sorted(os.scandir(removed), key=lambda entry: entry.name):
        if each.is_dir(follow_symlinks=False):
            kept = tree.Tree(Path(each.path))
            for key in kept.walk(""):
                if not tree_paths.path_problem(key, tree_paths.MAX_KEY_BYTES):
                    yield from _opened(kept, key, None)


def _is_manifest(key: str) -> bool:
    return key.endswith(_MANIFESTS)


def _opened(among: tree.Tree, key: str, records: digests.Digests | None) -> Iterator[Found]:
    descriptor = among.open(key)
    if descriptor is None:
        return  # it was deleted meanwhile, and comes last
    try:
        yield Found(key, descriptor, records.expected(key, os.fstat(descriptor)) if records else None)
    finally:
        os.close(descriptor)


class Import:
    """Records the digests of objects that are put into a new store by copying files to `<root>/objects/<key>`."""

    def __init__(self, root: Path) -> None:
        """`root`: of the new store, which is created."""
        self.objects = tree.Tree(root / "objects").root
        self._records = digests.Digests(root / "digests")
        self._incoming = incoming.Incoming(root / "incoming")

    def remember(self, key: str, known: digests.Known) -> None:
        """Record what was copied."""
        self._records.remember(key, os.stat(self.objects / key), known, self._incoming.name())


def roots(root: Path) -> Iterator[tuple[str, str]]:
    """The collections and IDs of which the store in `root` has objects, from the names of its directories alone.

    Staged uploads have the collection `uploads/<plural>`.
    """
    top = root / "objects"
    for collection in _directories(top):
        if collection == layout.UPLOADS.rstrip("/"):
            for plural in _directories(top / collection):
                yield from ((f"{collection}/{plural}", name) for name in _directories(top / collection / plural))
        else:
            yield from ((collection, name) for name in _directories(top / collection))


def _directories(path: Path) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(each.name for each in entries if each.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise errors.Unavailable(f"the object store's directory {path} cannot be read: {error.strerror}") from error
