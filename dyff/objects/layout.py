"""Where each kind's data is in the object store, and which keys are allowed. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable

from dyff.entities import tree_paths
from dyff.kernel import errors

ARTIFACTS = ".dyff/artifacts.json"
"""The manifest of a tree: put only if absent, after verification; readers rely on nothing else."""

INCOMPLETE = ".dyff/incomplete.json"
"""The manifest of what there is of the outputs of an evaluation that has failed. It is served only to those who ask for it."""

SYMLINKS = ".dyff/symlinks.json"
"""As published: the symbolic links of a tree, which an object store cannot hold: `{"symlinks": [{"link", "target",
"target_is_directory"}]}`, the target relative to the link. Our readers use the same list in the manifest, under the same name."""

UPLOADS = "uploads/"
"""Below it, by plural and ID, are uploaded files until they are sealed (ADR 18)."""

ERRORS = ".dyff/errors.parquet"
"""Next to verified outputs: the items without responses, and the reasons; exists only if there are such items."""

EXCHANGES = ".dyff/exchanges/"
"""Next to outputs: the requests to the service and its answers, in Parquet files below it; only if they were kept."""


def root(collection: str, entity_id: str) -> str:
    """The prefix of an entity's data in one collection (`dyff.entities.kind.Kind.collection`)."""
    return f"{collection}/{entity_id}/"


def staging(plural: str, entity_id: str) -> str:
    """The prefix to which the owner of an entity uploads. URLs to write are signed only for keys below it, and readers never read there."""
    return f"{UPLOADS}{plural}/{entity_id}/"


def staged(key: str) -> tuple[str, str, str] | None:
    """The plural, the entity's ID and the path in the key of a staged file; None if the key is not of that form."""
    parts = key.removeprefix(UPLOADS).split("/", 2)
    return (parts[0], parts[1], parts[2]) if key.startswith(UPLOADS) and len(parts) == 3 else None


def trees(collections: Iterable[str], entity_id: str) -> tuple[str, ...]:
    """All prefixes that can contain data of an entity. `collections`: those of its kind."""
    return tuple(root(each, entity_id) for each in collections)


def evaluation_raw(evaluation_id: str) -> str:
    """Prefix of the raw outputs: each attempt of the evaluation client writes under its own prefix below it."""
    return root("outputs", evaluation_id) + "data/"


def evaluation_verified(evaluation_id: str) -> str:
    """Prefix of the verified outputs: each attempt of the verification writes below it; the manifest names the valid one."""
    return root("outputs", evaluation_id) + "verified/"


def blob(root_key: str, name: str) -> str:
    """Key for the bytes of a file that was fetched or uploaded. `name`: a digest, so that every attempt writes the same bytes there."""
    return f"{root_key}.dyff/blobs/{name}"


def parts(root_key: str, name: str = "") -> str:
    """Prefix for the fetched parts of an incomplete file, by position in bytes; without a name, for those of all files."""
    return f"{root_key}.dyff/parts/{name}/" if name else f"{root_key}.dyff/parts/"


def without_manifest(collection: str, entity_id: str) -> str | None:
    """Where releases before ADR 18 stored the data of an entity, which has no manifest then; None if they knew no such entities."""
    known = {"datasets": root(collection, entity_id), "outputs": evaluation_verified(entity_id)}
    return known.get(collection)


def evaluation_errors(evaluation_id: str) -> str:
    """Prefix of the errors: each attempt of the evaluation client records below it why items have no responses."""
    return root("outputs", evaluation_id) + ".dyff/errors/"


def evaluation_exchanges(evaluation_id: str) -> str:
    """Prefix of the exchanges with the service: each attempt of the evaluation client stores them below it."""
    return root("outputs", evaluation_id) + ".dyff/raw-exchanges/"


def analysis_attempt(root_key: str, attempt: str) -> str:
    """Prefix of what one attempt of an analysis has output. `root_key`: of its measurement or safety case."""
    return f"{root_key}data/{attempt}/"


def results(prefix: str) -> str:
    """What a run computed besides files: `{"scores": [...], "curves": [...], "provenance": {...}}`.

    `prefix`: of its entity's data (`root`), for those that count, or of an attempt.
    """
    return f"{prefix}.dyff/results.json"


def progress(collection: str, entity_id: str) -> str:
    """The small progress object of a run: `{"stage", "done", "total", "rate"}`."""
    return root(collection, entity_id) + ".dyff/progress.json"


def logs(collection: str, entity_id: str) -> str:
    """The stored log of a run, as text."""
    return root(collection, entity_id) + ".dyff/logs.txt"


def link_problem(link: str, target: str) -> str | None:
    """Why a symbolic link of a tree is refused, as the end of a sentence; None if it is valid. `link` must be a valid path.

    It must stay in the tree. `..` after a name is refused, because the name may itself be a link.
    """
    steps = target.split("/")
    rest = [step for step in steps if step != ".."]
    ups = len(steps) - len(rest)
    if ups > link.count("/") or ".." in steps[ups:]:
        return "must not lead out of the tree"
    return tree_paths.path_problem("/".join(rest)) if rest else None


def relative_link(link: str, target: str) -> str:
    """The text of a symbolic link at the path `link` to the path `target`, both in the same tree."""
    return posixpath.relpath(target, posixpath.dirname(link))


def check_key(key: str) -> str:
    """Return `key` if it is allowed: a valid path, with room for an entity's prefix before a path of full length.

    Raises:
        InvalidFields: it is not; the message says why.
    """
    problem = tree_paths.path_problem(key, tree_paths.MAX_KEY_BYTES)
    if problem:
        raise errors.InvalidFields(errors.Problem(("path", "key"), f"the object key {key[:80]!r} {problem}"))
    return key
