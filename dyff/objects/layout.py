"""Where each kind's data lives in the object store, and which keys are allowed. Pure."""

from __future__ import annotations

from dyff.kernel import errors

ARTIFACTS = ".dyff/artifacts.json"
"""The manifest of a tree: put only if absent, after verification; readers follow nothing else."""

_FORBIDDEN = set('\\#?%<>:"|*')
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"COM{n}" for n in range(1, 10)), *(f"LPT{n}" for n in range(1, 10))}
MAX_KEY_BYTES = 1024
MAX_PATH_BYTES = 900
MAX_SEGMENT_BYTES = 255


def root(collection: str, entity_id: str) -> str:
    """The prefix of all of an entity's data. `collection`: the plural, or `outputs` for an evaluation's."""
    return f"{collection}/{entity_id}/"


def evaluation_raw(evaluation_id: str) -> str:
    """Below it each attempt of the evaluation client writes under its own prefix."""
    return root("outputs", evaluation_id) + "data/"


def evaluation_verified(evaluation_id: str) -> str:
    """Below it each attempt of the verification writes under its own prefix; the manifest names the one that counts."""
    return root("outputs", evaluation_id) + "verified/"


def progress(collection: str, entity_id: str) -> str:
    """The small progress object of a run: `{"stage", "done", "total", "rate"}`."""
    return root(collection, entity_id) + ".dyff/progress.json"


def path_problem(path: str) -> str | None:
    """Why an artifact path is refused, as a sentence's end; None: it is fine. The published rules, and no `..` or `.dyff`."""
    if not path or path.startswith("/") or path.endswith("/"):
        return "must be a relative path of a file"
    if len(path.encode("utf-8", "surrogatepass")) > MAX_PATH_BYTES:
        return f"must not be longer than {MAX_PATH_BYTES} bytes"
    bad = sorted({char for char in path if char in _FORBIDDEN or ord(char) < 32 or 127 <= ord(char) < 160 or 0xD800 <= ord(char) < 0xE000})
    if bad:
        return f"must not contain {' '.join(map(repr, bad))}"
    for segment in path.split("/"):
        if segment in ("", ".", ".."):
            return "must not have empty, '.' or '..' segments"
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            return f"must not have segments longer than {MAX_SEGMENT_BYTES} bytes"
        if segment[-1] in " .":
            return "must not have segments that end in a space or a dot"
        if segment.split(".")[0].upper() in _DEVICES:
            return f"must not use the reserved name {segment}"
    return None


def artifact_problem(path: str) -> str | None:
    """Like `path_problem`, for paths that users choose: `.dyff/` is ours."""
    if path.split("/")[0].lower() == ".dyff":
        return "must not begin with .dyff/, which Dyff uses itself"
    return path_problem(path)


def check_key(key: str) -> str:
    """`key`, if it is an allowed key.

    Raises:
        InvalidFields: it is not; the message says why.
    """
    problem = "must not be longer than 1024 bytes" if len(key.encode("utf-8", "replace")) > MAX_KEY_BYTES else None
    if problem is None and len(key) > MAX_PATH_BYTES:
        key_head, _, key_tail = key.partition("/")
        problem = path_problem(key_tail or key_head)
    elif problem is None:
        problem = path_problem(key)
    if problem:
        raise errors.InvalidFields(errors.Problem(("path", "key"), f"the object key {key[:80]!r} {problem}"))
    return key
