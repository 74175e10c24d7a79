"""Fetches a model from its source into the object store. This is the step of a Model's custom resource.

Run it as `python -m dyff.workflows fetch-model --manifest FILE`. The tree is written below `models/<id>/`. Its manifest
(`.dyff/artifacts.json`), which is written last, lists what was fetched: paths, digests, links, and the commit. A retry
continues where the previous attempt was interrupted, even in the middle of a file.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

import anyio
import msgspec

from dyff.entities import codecs, specs
from dyff.kernel import quantities
from dyff.objects import layout, port
from dyff.objects import manifests as tree_manifests
from dyff.objects.manifests import Artifact
from dyff.workflows import downloads, endings, manifests, model_trees, progress, space
from dyff.workflows.model_trees import File, Listing, Tree

_AT_ONCE = 4


class Source(Protocol):
    """A source of models."""

    @property
    def revision(self) -> str | None:
        """The requested revision; None if the source has no revisions."""
        ...

    async def listing(self) -> Listing:
        """Return what the source has.

        Raises:
            Ending: it cannot be listed; the message says what to do.
        """
        ...

    async def bring(self, file: File, to: downloads.Downloads) -> dict[str, str]:
        """Store one file of the listing; returns its digests.

        Raises:
            Ending: it cannot be fetched; the message says what to do.
        """
        ...


def main(arguments: list[str]) -> int:
    """Run the step and return its exit code."""
    return endings.run(lambda: _step(arguments))


async def _step(arguments: list[str]) -> None:
    spec = manifests.model(arguments, "fetch-model").spec
    store, root = manifests.store(), layout.root("models", spec.id)
    if await store.head(root + layout.ARTIFACTS):
        endings.say("done: an earlier attempt has fetched the model")
        return
    storage = spec.resources.get("storage")
    limit_bytes = None if storage is None else quantities.parse_bytes(str(storage))
    async with _source(spec.source, limit_bytes) as source:
        listing = await source.listing()
        made = model_trees.tree(spec.artifact, source.revision, listing)
        _check_size(listing, limit_bytes)
        digests = await _fetch(source, listing, store, root, spec.id)
    await _publish(store, root, made, digests, {"kind": spec.source.kind, "commit": listing.commit})
    size_bytes = sum(file.size_bytes for file in listing.blobs.values())
    endings.say(f"done: {len(listing.files)} files, {size_bytes} bytes, of the commit {listing.commit}")


async def _fetch(source: Source, listing: Listing, store: port.Objects, root: str, model_id: str) -> dict[str, dict[str, str]]:
    """Fetch all blobs that are not stored yet, several concurrently; returns digests by blob."""
    blobs = listing.blobs
    shown = progress.Progress(store, layout.progress("models", model_id), "fetching (bytes)", sum(f.size_bytes for f in blobs.values()))
    digests: dict[str, dict[str, str]] = {}
    limiter = anyio.CapacityLimiter(_AT_ONCE)

    def arrived(size_bytes: int) -> None:
        shown.done += size_bytes

    async def bring(file: File, to: downloads.Downloads) -> None:
        async with limiter:
            known = await to.known(file)
            digests[file.blob] = known if known is not None else await source.bring(file, to)
            endings.say(f"{'kept' if known is not None else 'fetched'} {file.path}, {file.size_bytes} bytes")

    async with downloads.client() as http, shown.shown(), anyio.create_task_group() as tasks:
        to = downloads.Downloads(store, http, root, arrived)
        for file in blobs.values():
            tasks.start_soon(bring, file, to)
    return digests


async def _publish(store: port.Objects, root: str, made: Tree, digests: dict[str, dict[str, str]], source: dict[str, str]) -> None:
    """Write the layout's own files, the links, and last the manifest, unless another attempt has already written one."""
    texts = {path: await _text(store, root, path, data) for path, data in made.texts.items()}
    whole = model_trees.manifest(made, digests, texts, root, source)
    if whole.links:
        links = codecs.encode({"symlinks": msgspec.to_builtins(whole.links)})
        await space.when_there_is(lambda: store.put(root + layout.SYMLINKS, links))
    if not await space.when_there_is(lambda: tree_manifests.write(store, root, whole)):
        endings.say("another attempt was first; what it has fetched counts")
    # Parts of files that the source no longer had at this attempt.
    await store.delete_tree(layout.parts(root))


async def _text(store: port.Objects, root: str, path: str, data: bytes) -> Artifact:
    file = File(path, path, len(data))
    digests = downloads.Digests(file)
    digests.update(data)
    await space.when_there_is(lambda: store.put(root + path, data))
    return Artifact(path=path, key=root + path, size=len(data), digest=digests.checked(), kind="file")


def _check_size(listing: Listing, limit_bytes: int | None) -> None:
    size_bytes = sum(file.size_bytes for file in listing.blobs.values())
    if limit_bytes is not None and size_bytes > limit_bytes:
        raise endings.Ending(endings.WRONG_DATA, too_large(size_bytes, limit_bytes))


def too_large(size_bytes: int, limit_bytes: int) -> str:
    """Return the message about a model that needs more space than was declared."""
    return (
        f"The model has {size_bytes} bytes, more than the {limit_bytes} of resources.storage. "
        f"Create it again with more, or choose fewer files."
    )


@contextlib.asynccontextmanager
async def _source(source: specs.ModelSource, limit_bytes: int | None) -> AsyncIterator[Source]:
    """Open the source. Imports only what it needs: the hub's library alone takes most of a second."""
    if source.kind == "HuggingFaceHub" and source.hugging_face_hub is not None:
        from dyff.workflows import hugging_face

        yield hugging_face.Hub(source.hugging_face_hub)
    elif source.kind == "GitLFS" and source.git_lfs is not None:
        from dyff.workflows import git_lfs

        async with git_lfs.cloned(source.git_lfs, limit_bytes) as repository:
            yield repository
    else:
        raise endings.Ending(
            endings.MISCONFIGURED, f"A model cannot be fetched from a source of kind {source.kind}; use HuggingFaceHub, GitLFS or Upload."
        )
