"""The data that an analysis reads: its inputs and its modules, each as the manifest of its tree says."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from dyff.entities import analysis_data, codecs, specs
from dyff.kernel import errors, ids
from dyff.objects import hashing, layout, port
from dyff.objects import manifests as tree_manifests
from dyff.objects.manifests import Artifact, Link
from dyff.workflows import endings


class Source(msgspec.Struct, frozen=True):
    """An entity that an analysis reads. `keyword`: None for a module."""

    kind: str
    id: str
    keyword: str | None = None

    def __str__(self) -> str:
        """For messages."""
        return f"the module {self.id}" if self.keyword is None else f"the input {self.keyword!r} ({self.kind} {self.id})"


class Tree(msgspec.Struct, frozen=True):
    """The data of a source. `sha256`: of the manifest as stored, or of the list of files if there is none. `schema`: see `Manifest`."""

    artifacts: tuple[Artifact, ...]
    links: tuple[Link, ...]
    sha256: str
    schema: str | None = None

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(each.size for each in self.artifacts)


def sources(spec: specs.Analysis) -> Iterator[Source]:
    """The inputs and the modules, in order. The same entity can be there several times.

    Raises:
        Misconfigured: an input is not an ID.
    """
    for each in spec.inputs:
        if not ids.is_id(each.entity):
            raise errors.Misconfigured(f"the input {each.keyword!r} is {each.entity[:64]!r}, which is no ID: 32 lower-case hex digits")
        yield Source(each.kind, each.entity, each.keyword)
    for module in spec.modules:
        yield Source(analysis_data.MODULE, module)


async def tree(store: port.Objects, source: Source) -> Tree | None:
    """The data of a source; None if there is none (any more).

    A dataset or an evaluation that an older release stored has no manifest: then it is what is stored, except hidden files.

    Raises:
        Misconfigured: its manifest cannot be read.
    """
    collection = analysis_data.COLLECTIONS[source.kind]
    root = layout.root(collection, source.id)
    found = await tree_manifests.read(store, root)
    if found is not None:
        digest = hashing.Hash()
        async for piece in store.stream(root + layout.ARTIFACTS):
            digest.update(piece)
        return Tree(found.artifacts, found.links, digest.sha256, found.schema)
    prefix = layout.without_manifest(collection, source.id)
    if prefix is None:
        return None
    from dyff.workflows import trees  # only old data needs it, and Arrow takes a third of a second

    listed = tuple(_artifact(each, prefix) for each in await trees.objects(store, prefix))
    files = codecs.encode([[each.path, each.size, each.digest] for each in listed])
    return Tree(listed, (), hashing.of(files).sha256) if listed else None


def _artifact(info: port.ObjectInfo, prefix: str) -> Artifact:
    digest = {name: value for name, value in (("md5", info.md5), ("sha256", info.sha256)) if value is not None}
    return Artifact(path=info.key.removeprefix(prefix), key=info.key, size=info.size_bytes, digest=digest)


async def all_trees(store: port.Objects, spec: specs.Analysis) -> dict[Source, Tree]:
    """The data of all sources, each entity once.

    Raises:
        Ending: a source has no data; the message names it.
        Misconfigured: an input is not an ID, or a manifest cannot be read.
    """
    found: dict[Source, Tree] = {}
    for source in sources(spec):
        if any(source.id == each.id for each in found):
            continue
        data = await tree(store, source)
        if data is None:
            why = f"There is no data of {source}: it was deleted, or was never completed"
            raise endings.Ending(endings.WRONG_DATA, f"{why}. Upload or run it again, then create the {spec.kind} again with the new one.")
        found[source] = data
    return found
