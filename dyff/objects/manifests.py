"""The manifest of a tree (`.dyff/artifacts.json`): the valid files, the location of their bytes, and their digests.

It is written once, when every file is stored and checked: by sealing for uploads, by the steps for fetched models and verified
outputs. Readers rely on nothing else. This module has its only definition, its only reader and its only writer.

It is stored data: fields that a later release adds are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any

import anyio.to_thread
import msgspec

from dyff.entities import codecs, tree_paths
from dyff.kernel import errors
from dyff.objects import hashing, layout, port

MAX_BYTES = 128 * 2**20
"""Limit of a manifest. It is also the limit of a cloud store for an object that is put only if absent."""

MAX_ENTRIES = 200_000
"""Files and links of a tree. A repository of the Hugging Face hub should have at most half as many files; each gets a link."""

_IN_A_THREAD_BYTES = 256 * 2**10
"""A larger manifest is checked in a thread: that takes milliseconds, during which the event loop must not be blocked."""


class Artifact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file of a tree.

    `path`: the path for users. `key`: the object with its bytes. `size`: in bytes. `digest`: by algorithm; `md5` in base64;
    `sha256` in hex, which is missing only in manifests of uploads and outputs of older releases. `kind`: as declared, or as set by
    its producer; None if unspecified.
    """

    path: str
    key: str = ""
    size: Annotated[int, msgspec.Meta(ge=0)]
    digest: dict[str, str] = {}
    kind: str | None = None

    def matches(self, found: hashing.Hash) -> bool:
        """Whether bytes with these digests are those of the file: the size, and each digest that is recorded."""
        return self.size == found.size_bytes and all(value == found.digest.get(name, value) for name, value in self.digest.items())

    def can_be(self, info: port.ObjectInfo) -> bool:
        """Whether what the store knows about an object agrees with the file, without reading it."""
        known = {"md5": info.md5, "sha256": info.sha256}
        return self.size == info.size_bytes and all(known.get(name) in (None, value) for name, value in self.digest.items())


class Link(msgspec.Struct, frozen=True):
    """A symbolic link of a tree, in the format of the published packages. `target`: relative to `link`."""

    link: str
    target: str
    target_is_directory: bool = False


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The manifest.

    `artifacts`: the files. `symlinks`: links that a copy of the tree needs; None if such trees never have any. `source`: the origin
    of a fetched model, `kind` and `commit`; of an output of an analysis, `kind` and `results`, the key of what the same attempt found; of
    outputs of an evaluation, `kind` and `platform`, the release that verified them; None for others.
    `incomplete`: whether a part of the tree is missing, because
    the run that made it has failed. `schema`: of a dataset or a measurement, the base64 of the Arrow schema that was declared for its rows;
    None for other trees, and in manifests of older releases.
    """

    artifacts: tuple[Artifact, ...]
    symlinks: tuple[Link, ...] | None = None
    source: dict[str, Any] | None = None
    incomplete: bool = False
    schema: str | None = None

    @property
    def links(self) -> tuple[Link, ...]:
        """The links, if any."""
        return self.symlinks or ()


_DECODER = msgspec.json.Decoder(Manifest)


async def read(store: port.Objects, root: str, path: str = layout.ARTIFACTS) -> Manifest | None:
    """The manifest of the tree below `root`; None if it has none. No path and no link in it leads out of the tree.

    `path`: of the manifest.

    Raises:
        Misconfigured: it is not a manifest, or exceeds the limits above.
    """
    key, data = root + path, bytearray()
    try:
        async for piece in store.stream(key, end=MAX_BYTES + 1):
            data += piece
    except errors.NotFound:
        return None
    try:
        return await _checked(root, bytes(data))
    except ValueError as error:
        raise errors.Misconfigured(f"{key} is not a manifest of artifacts: {error}") from error


async def write(store: port.Objects, root: str, manifest: Manifest, path: str = layout.ARTIFACTS) -> bool:
    """Store the manifest of the tree below `root`, whose files must all be stored. False if one exists already; it is kept.

    `path`: of the manifest.

    Raises:
        FixRequest: `read` would refuse it; nothing was stored.
    """
    # Encoded as plain objects, whose keys are sorted: the bytes do not depend on the order of fields in the structs.
    key, data = root + path, codecs.encode(msgspec.to_builtins(manifest))
    try:
        await _checked(root, data)
    except ValueError as error:
        raise errors.FixRequest(f"{key} cannot be written: {error}") from error
    try:
        await store.put(key, data, if_absent=True)
    except errors.AlreadyExists:
        return False
    return True


async def _checked(root: str, data: bytes) -> Manifest:
    if len(data) <= _IN_A_THREAD_BYTES:
        return _decoded(root, data)
    return await anyio.to_thread.run_sync(_decoded, root, data)


def _decoded(root: str, data: bytes) -> Manifest:
    """Decode and check a manifest. Raises ValueError if it is invalid; the message says why."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"it has more than {MAX_BYTES} bytes")
    try:
        found = _DECODER.decode(data)
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if problem := _problem(found):
        raise ValueError(problem)
    if all(each.key for each in found.artifacts):
        return found
    # A manifest may omit the key if the bytes are at the path itself.
    keyed = (each if each.key else msgspec.structs.replace(each, key=root + each.path) for each in found.artifacts)
    return msgspec.structs.replace(found, artifacts=tuple(keyed))


def _problem(found: Manifest) -> str | None:
    """Why a manifest is refused, as a sentence; None if it is valid."""
    paths = [*(each.path for each in found.artifacts), *(each.link for each in found.links)]
    if len(paths) > MAX_ENTRIES:
        return f"it has {len(paths)} files and links, more than {MAX_ENTRIES}"
    for path in paths:
        if problem := tree_paths.path_problem(path):
            return f"the path {path[:200]!r} {problem}"
    for each in found.links:
        if problem := layout.link_problem(each.link, each.target):
            return f"the link {each.link!r} to {each.target[:200]!r} {problem}"
    return tree_paths.tree_problem(paths) if found.links else None
