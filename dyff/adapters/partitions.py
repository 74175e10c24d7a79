"""Columns that come from the folders of a file's path, as in `split=test/0.parquet` (hive partitions). Pure.

One reading for all: the client, finalize and the steps of an evaluation. Here is the text; `columns.value` gives it the declared type.
The server imports this module, and so it does not import Arrow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
"""In place of a value: null. Arrow, Spark and Hive write it."""

INSTEAD = "write the files without folders for that column, and keep it in the files"
"""The fix for a value that no path can contain."""

_SHOWN_CHARS = 100


def given(path: str) -> dict[str, str | None]:
    """Return the columns in the path of a file, as text; None for null. The file's own name is none."""
    return {name: None if value == NO_VALUE else value for name, value in _pairs(path)}


def problem(path: str) -> str | None:
    """Why the columns of a path cannot be read, as the end of a sentence; None if they can."""
    twice = [name for name, n in Counter(name for name, _ in _pairs(path)).items() if n > 1]
    return f"has folders with two values of the column {_shown(twice[0])}" if twice else None


def by_path(paths: Iterable[str]) -> dict[str, set[str | None]]:
    """Return all columns that come from the paths of at least one file, with their values."""
    found: dict[str, set[str | None]] = {}
    for path in paths:
        for name, value in given(path).items():
            found.setdefault(name, set()).add(value)
    return found


def decoded(path: str) -> tuple[str, str | None]:
    """Return the path to store for a local file, and why there is none, as the end of a sentence (None if there is one).

    Arrow and Spark write special characters in folders of partitions as `%20`. A stored path has the characters themselves, because
    it must not contain `%`. Readers see the same values.
    """
    *folders, name = path.split("/")
    steps = []
    for folder in folders:
        key, equals, text = folder.partition("=")
        try:
            key, text = (unquote_to_bytes(part).decode() if equals else part for part in (key, text))
        except UnicodeDecodeError:
            return path, f"has the folder {_shown(folder)}, whose %-codes are not UTF-8; rename it"
        step = f"{key}{equals}{text}"
        if step != folder and ("/" in step or "=" in key or step.startswith(".")):
            return path, f"has the folder {_shown(folder)}, which means {_shown(step)}; no path can contain that: {INSTEAD}"
        steps.append(step)
    return "/".join([*steps, name]), None


def _pairs(path: str) -> list[tuple[str, str]]:
    return [(name, value) for name, equals, value in (step.partition("=") for step in path.split("/")[:-1]) if equals and name]


def _shown(text: str) -> str:
    return repr(text[:_SHOWN_CHARS])
