"""The tables of the embedded query store: bodies as JSON, and columns for frequently queried fields. Pure.

The columns are derived from the registry of kinds. Their values are extracted once, when a document is written: an index
on `json_extract` would parse the body again for every index on every write.
"""

from __future__ import annotations

from typing import Any

from dyff.entities import codecs, registry, storage
from dyff.query import filters

CREATED: filters.Path = ("creationTime",)
ACCOUNT: filters.Path = ("account",)
STATUS: filters.Path = ("status",)
CHANGED: filters.Path = ("lastTransitionTime",)
SHARED = (CREATED, ACCOUNT, STATUS)
PATHS: tuple[filters.Path, ...] = tuple(dict.fromkeys((*SHARED, CHANGED, *(path for row in registry.ROWS for path in row.query.values()))))
"""The paths that have a column, in the order of the columns."""

ID: filters.Path = ("id",)

BY_CHANGE: tuple[tuple[filters.Path, ...], ...] = ((CHANGED, ID, STATUS), (STATUS, CHANGED, ID, ACCOUNT), (ACCOUNT, CHANGED, ID, STATUS))
"""The indexes for what changed last, also of a status or an account. Each ends with the field that a count or a page may still have to
compare, so that it reads no document."""

SIZES = ("document_bytes", "object_bytes")
"""The columns after those of `PATHS`: what the document counts in its account's usage."""

USAGE = f"SELECT total(document_bytes > 0), {', '.join(f'total({each})' for each in SIZES)} FROM documents WHERE account = ?"
"""What an account keeps; from an index alone. What was removed and only stays (`dyff.entities.storage.of`) is not counted."""

Value = str | int | float | bytes | None
"""The value of a column. None: the path is absent or null. Bytes: neither text nor number, see `value`."""


def name(path: filters.Path) -> str | None:
    """The column of `path`, quoted; None if it has none."""
    if path == ID:
        return "id"
    return f'"{".".join(path)}"' if path in _WITH_COLUMN else None


def values(body: bytes) -> tuple[Value, ...]:
    """The values of the columns of `PATHS` and `SIZES` for the document `body`.

    Raises:
        ValueError: it is not a JSON object.
    """
    document = codecs.decode_object(body)
    size = storage.of(document, len(body))
    return (*(value(_at(document, path)) for path in PATHS), size.document, size.objects)


def value(scalar: Any) -> Value:
    """Convert `scalar` so that SQL compares it as JSON does: true is not 1, and an object or array equals no scalar."""
    if scalar is None or type(scalar) is str:
        return scalar
    if isinstance(scalar, bool):
        return b"true" if scalar else b"false"
    if isinstance(scalar, int) and not -_INT64 <= scalar < _INT64:
        return float(scalar) if abs(scalar) < _TOO_LARGE else None
    return b"" if isinstance(scalar, dict | list) else scalar


def schema(suffix: str = "", mark: str = "") -> str:
    """The statements that create the tables and indexes. Every index is sorted by creation time within equal values, or by `BY_CHANGE`.

    `suffix` is appended to the names of the tables, `mark` to those of the indexes, which keep theirs when a table is renamed.
    """
    columns = ", ".join([*(f"{name(path)} BLOB" for path in PATHS), *(f"{each} INTEGER" for each in SIZES)])
    parts = {"columns": columns, "sum": "checksum INTEGER NOT NULL", "body": "body TEXT NOT NULL", "key": "PRIMARY KEY (log, partition)"}
    tables = [each.format(suffix=suffix, **parts) for each in _TABLES]
    shared = [_index("collection", path, *([] if path == CREATED else [CREATED])) for path in SHARED]
    shared += [_by_change(paths) for paths in BY_CHANGE]
    own = [_partial(row.plural, path) for row in registry.ROWS for path in row.query.values()]
    indexes = [each.format(suffix=suffix, mark=mark) for each in (_BY_ID, *shared, *own, _BY_USAGE)]
    return "\n".join([tables[0], indexes[0], *tables[1:], *indexes[1:]])


_INT64 = 2**63
_TOO_LARGE = 2**1023
_WITH_COLUMN = frozenset(PATHS)
TABLES = ("documents", "tombstones", "positions", "epoch")
_TABLES = (
    "CREATE TABLE documents{suffix} (collection TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, {columns}, {sum}, {body});",
    "CREATE TABLE tombstones{suffix} (collection TEXT NOT NULL, id TEXT NOT NULL, version INTEGER NOT NULL, PRIMARY KEY (collection, id));",
    "CREATE TABLE positions{suffix} (log TEXT NOT NULL, partition INTEGER NOT NULL, next INTEGER NOT NULL, {sum}, {key});",
    "CREATE TABLE epoch{suffix} (epoch TEXT NOT NULL);",
)
_BY_ID = "CREATE UNIQUE INDEX by_id{mark} ON documents{suffix} (collection, id);"
_BY_USAGE = f"CREATE INDEX by_usage{{mark}} ON documents{{suffix}} (account, {', '.join(SIZES)});"


def _index(first: str, *paths: filters.Path) -> str:
    columns = ", ".join([first, *(str(name(path)) for path in paths), "id"])
    return f'CREATE INDEX "by_{".".join(paths[0])}{{mark}}" ON documents{{suffix}} ({columns});'


def _by_change(paths: tuple[filters.Path, ...]) -> str:
    columns = ", ".join(["collection", *(str(name(path)) for path in paths)])
    return f'CREATE INDEX "by_{".".join(paths[0])}_changed{{mark}}" ON documents{{suffix}} ({columns});'


def _partial(collection: str, path: filters.Path) -> str:
    """An index for the documents of one collection: other documents do not have that field."""
    columns = f"{name(path)}, {name(CREATED)}, id"
    return (
        f"CREATE INDEX \"{collection}_by_{'.'.join(path)}{{mark}}\" ON documents{{suffix}} ({columns}) WHERE collection = '{collection}';"
    )


def _at(document: codecs.Json, path: filters.Path) -> Any:
    found: Any = document
    for step in path:
        if not isinstance(found, dict):
            return None
        found = found.get(step)
    return found
