"""Which paths files of a dataset, a model or an output can have. Pure; the server and the SDK apply the same rules."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from itertools import pairwise

_PLAIN = re.compile(r"[A-Za-z0-9_=-]+(?:[./][A-Za-z0-9_=-]+)*")
_DEVICE = re.compile(r"(?:^|/)(?:con|prn|aux|nul|com[1-9]|lpt[1-9])(?:[./]|$)", re.IGNORECASE)
"""Most paths are plain and name no device. These two and the lengths show it without a look at each segment, of which there can be
millions in a request.
"""

_FORBIDDEN = set('\\#?%<>:"|*')
_DEVICES = {"CON", "PRN", "AUX", "NUL", *(f"COM{n}" for n in range(1, 10)), *(f"LPT{n}" for n in range(1, 10))}
_RESERVED = "must not begin with .dyff/, which Dyff uses itself"
MAX_KEY_BYTES = 1024
MAX_PATH_BYTES = 900
MAX_SEGMENT_BYTES = 255
_LONG_SEGMENT = f"must not have segments longer than {MAX_SEGMENT_BYTES} bytes"


def path_problem(path: str, max_bytes: int = MAX_PATH_BYTES) -> str | None:
    """Why a path is refused, as the end of a sentence; None if it is valid. The published rules, and no `.` or `..`.

    A valid path is safe as a path of any common file system and as the path of a URL.
    """
    if not path or path.startswith("/") or path.endswith("/"):
        return "must be a relative path of a file"
    if len(path) > max_bytes:  # before anything that costs time for each character
        return f"must not be longer than {max_bytes} bytes"
    if _PLAIN.fullmatch(path) and not _DEVICE.search(path):
        return None if max(map(len, path.split("/"))) <= MAX_SEGMENT_BYTES else _LONG_SEGMENT
    bad = _FORBIDDEN.intersection(path)
    if not (path.isascii() and path.isprintable()):  # skips the slow check for most paths, of which there can be many
        bad |= {char for char in path if unicodedata.category(char) in ("Cc", "Cs")}
    if bad:
        return f"must not contain {' '.join(map(repr, sorted(bad)))}"
    if len(path.encode()) > max_bytes:
        return f"must not be longer than {max_bytes} bytes"
    return next(filter(None, map(_segment_problem, path.split("/"))), None)


def _segment_problem(segment: str) -> str | None:
    if segment in ("", ".", ".."):
        return "must not have empty, '.' or '..' segments"
    if len(segment.encode()) > MAX_SEGMENT_BYTES:
        return _LONG_SEGMENT
    if segment[-1] in " .":
        return "must not have segments that end in a space or a dot"
    if segment.split(".")[0].rstrip(" ").upper() in _DEVICES:
        return f"must not use the reserved name {segment}"
    return None


def artifact_problem(path: str) -> str | None:
    """Like `path_problem`, for paths that users choose: `.dyff/` is reserved, in every spelling that a file system may equate with it."""
    if len(path) > MAX_PATH_BYTES:
        return path_problem(path)
    first = path.split("/", 1)[0]
    if first.isascii():
        return _RESERVED if first.lower() == ".dyff" else path_problem(path)
    first = "".join(char for char in first if unicodedata.category(char) != "Cf")
    if unicodedata.normalize("NFKC", first).casefold() == ".dyff":
        return _RESERVED
    return path_problem(path)


def tree_problem(paths: Iterable[str]) -> str | None:
    """Why some paths cannot be files of one tree, as a sentence; None if they can. Each path must be valid for `path_problem`."""
    known: set[str] = set()
    for path in paths:
        if path in known:
            return f"{path!r} is there twice"
        known.add(path)
    # With the slash before all other characters, what is below a path follows it directly.
    ordered = sorted(known, key=lambda path: path.replace("/", "\0"))
    for above, path in pairwise(ordered):
        if path.startswith(f"{above}/"):
            return f"{above!r} cannot be a file, because {path!r} is below it"
    return None
