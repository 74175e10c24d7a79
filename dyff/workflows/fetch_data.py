"""Copies a complete tree from the object store to a local directory and verifies every byte. Volumes are filled this way.

Run it as `python -m dyff.workflows fetch-data --source models/<id>/ --destination DIR`. Environment: `DYFF_STORAGE_URL`.
It can be repeated: files that already exist and are complete are kept.
"""

from __future__ import annotations

from pathlib import Path

from dyff.objects import layout
from dyff.objects import manifests as tree_manifests
from dyff.workflows import copying, endings, manifests


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
    await copying.copy(store, [copying.Tree(listed, found.links, destination)])
    size_bytes = sum(artifact.size for artifact in listed)
    endings.say(f"done: {len(listed)} files, {size_bytes} bytes, from {root} to {destination}")
