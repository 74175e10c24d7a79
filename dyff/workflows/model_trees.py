"""The listing of a source of models, and the tree that a Model stores of it. Pure.

    artifact kind       the tree
    HuggingFaceCache    models--org--name/{blobs,refs,snapshots}, as the Hugging Face libraries lay out their cache
    Volume              the files under their own names

Every file is stored under its digest (`dyff.objects.layout.blob`); names and links are only in the manifest. So a second
attempt finds what the first one has stored, even if the tree has changed in between.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from dyff.entities import specs, tree_paths
from dyff.objects import layout, manifests
from dyff.objects.manifests import Artifact, Link
from dyff.workflows import endings


class File(msgspec.Struct, frozen=True):
    """A file at a source.

    `blob`: identifies its bytes; a digest. `sha256`, `git_sha1`: hex; the SHA-256 of its bytes, and the SHA-1 of its Git blob. None
    if not known.
    """

    path: str
    blob: str
    size_bytes: int
    sha256: str | None = None
    git_sha1: str | None = None


class Listing(msgspec.Struct, frozen=True):
    """The content of a source at one commit. `commit`: its ID. `links`: the source's own symbolic links."""

    commit: str
    files: tuple[File, ...]
    links: tuple[Link, ...] = ()

    @property
    def blobs(self) -> dict[str, File]:
        """One file for each distinct content, by blob."""
        return {file.blob: file for file in self.files}


class Tree(msgspec.Struct, frozen=True):
    """`paths`: each file with the path that users see. `texts`: small files that belong to the layout. `links`: symbolic links."""

    paths: tuple[tuple[str, File], ...]
    texts: dict[str, bytes]
    links: tuple[Link, ...]


def tree(artifact: specs.Artifact, revision: str | None, listing: Listing) -> Tree:
    """Return the tree of a model. `revision`: the requested one; None if the source has no revisions.

    Raises:
        Ending: a name or a link is not allowed, or the declared artifact cannot be made from this listing.
    """
    _check((file.path for file in listing.files), listing.links)
    if artifact.kind == "Volume":
        return Tree(tuple((file.path, file) for file in listing.files), {}, listing.links)
    if artifact.hugging_face_cache is None:
        raise endings.Ending(endings.MISCONFIGURED, f"A fetched model cannot have the artifact kind {artifact.kind}; use HuggingFaceCache.")
    made = _cache(artifact.hugging_face_cache, revision, listing)
    _check((*(path for path, _ in made.paths), *made.texts), made.links)
    return made


def _cache(wanted: specs.HuggingFace, revision: str | None, listing: Listing) -> Tree:
    """Files are blobs, and a snapshot is a folder of links to them. Revisions that are not commits are resolved by `refs`."""
    if wanted.revision not in (revision, listing.commit) and revision is not None:
        raise endings.Ending(
            endings.WRONG_DATA,
            f"artifact.huggingFaceCache.revision is {wanted.revision}, but the source's revision {revision} is {listing.commit}. "
            f"Create the model again with the same revision in both.",
        )
    folder = wanted.folder
    snapshot = f"{folder}/snapshots/{listing.commit}"
    links = [_link(f"{snapshot}/{file.path}", f"{folder}/blobs/{file.blob}") for file in listing.files]
    own = [msgspec.structs.replace(each, link=f"{snapshot}/{each.link}") for each in listing.links]
    names = sorted({name for name in (wanted.revision, revision) if name and name != listing.commit})
    texts = {f"{folder}/refs/{name}": listing.commit.encode() for name in names}
    # The published runners look for the declared revision, which can be a branch.
    aliases = [_link(f"{folder}/snapshots/{name}", snapshot, is_directory=True) for name in names]
    paths = tuple((f"{folder}/blobs/{blob}", file) for blob, file in listing.blobs.items())
    return Tree(paths, texts, (*links, *own, *aliases))


def _link(link: str, target: str, *, is_directory: bool = False) -> Link:
    return Link(link, layout.relative_link(link, target), is_directory)


def _check(paths: Iterable[str], links: Iterable[Link]) -> None:
    """Raise Ending for too many entries, or for the first path or link that leads out of the tree or does not fit common file systems."""
    names = [*paths, *(each.link for each in links)]
    if len(names) > manifests.MAX_ENTRIES:
        message = f"The source has {len(names)} files and links, more than {manifests.MAX_ENTRIES}. Create the model again with fewer."
        raise endings.Ending(endings.WRONG_DATA, message)
    for name in names:
        if problem := tree_paths.artifact_problem(name):
            raise _refused(f"the path {name[:200]!r} {problem}")
    for each in links:
        if problem := layout.link_problem(each.link, each.target):
            raise _refused(f"the symbolic link {each.link!r} to {each.target[:200]!r} {problem}")
    if problem := tree_paths.tree_problem(names):
        raise _refused(problem)


def _refused(problem: str) -> endings.Ending:
    return endings.Ending(endings.WRONG_DATA, f"The source cannot be stored: {problem}. Leave that file out, or rename it at the source.")


def manifest(
    made: Tree, digests: dict[str, dict[str, str]], texts: dict[str, Artifact], root: str, source: dict[str, str]
) -> manifests.Manifest:
    """Return the manifest of the stored tree. `digests`: by blob. `texts`: by path, as stored. `source`: where it came from."""
    files = [
        Artifact(path=path, key=layout.blob(root, file.blob), size=file.size_bytes, digest=digests[file.blob], kind="file")
        for path, file in made.paths
    ]
    listed = sorted([*files, *texts.values()], key=lambda artifact: artifact.path)
    links = sorted(made.links, key=lambda each: each.link)
    return manifests.Manifest(artifacts=tuple(listed), symlinks=tuple(links), source=source)
