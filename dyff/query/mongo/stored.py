"""The format of documents in MongoDB. Pure.

The body is stored byte for byte. Next to it are the same fields in MongoDB's own types, for queries, transformed so that a MongoDB
query has the same meaning as on the JSON: keys are escaped, since dots and dollars are special there, and an array is an object
with one key that no document can have, since MongoDB otherwise matches the elements of arrays implicitly.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import Any
from urllib.parse import quote, unquote

from dyff.entities import codecs, kind, storage
from dyff.kernel import mongo
from dyff.query import columns, filters, port

ID = "_id"
ARRAY = "%a"
"""The key that holds the elements of an array. An escaped key has no lower-case letter after its percent sign."""

LIVE: dict[str, Any] = {"live": True}
"""Filter for documents that are not forgotten. All indexes cover only these."""

PARTIAL = "partial"
"""A field of stand-ins: the same version of the whole document may replace it."""

LARGE_BYTES = 4 * 2**20
"""A larger body is compressed, and only the fields that queries use are stored next to it, since MongoDB's limit is 16 MiB."""

SIZES = ("documentBytes", "objectBytes")
"""What a document counts in its account's usage. Those that a release without these fields wrote count as entities without a size."""

_PREFIXES = ("entities_", "entities2_")
"""Prefixes of the collections of a view. There are two sides, so that a new view can be built next to the active one."""

_LONG = 1000
"""In characters. Longer text is replaced by a digest in the fields: it can be found and is not stored twice."""
_MAX_DEPTH = 50
"""MongoDB allows no more than 100; no query uses deeper fields."""
_INT64 = 2**63
_TOO_LARGE = 2**1023
_SPECIAL = re.compile(r"[%.$\x00]")
_ASKED = (*columns.PATHS, ("reason",), ("lastTransitionTime",), ("labels",))


def collection(name: str, side: int = 0) -> str:
    """The name of our collection in MongoDB, in a view on that side."""
    return _PREFIXES[side] + quote(name, safe="").replace(".", "%2E").replace("~", "%7E")


def collection_of(name: str) -> str:
    """Our collection that has the name `name` in MongoDB."""
    return unquote(name.partition("_")[2])


def is_collection(name: str, side: int | None = None) -> bool:
    """Whether it is one of our collections. `side`: of the view; None for either."""
    return name.startswith(_PREFIXES if side is None else _PREFIXES[side])


def step(key: str) -> str:
    """Escape a key of a JSON object."""
    return _SPECIAL.sub(lambda found: f"%{ord(found[0]):02X}", key) or "%"


def field(path: filters.Path) -> str:
    """The MongoDB field that holds the value at `path`."""
    return ID if path == columns.ID else ".".join(["fields", *map(step, path)])


def value(scalar: filters.Scalar) -> str | int | float | bool | bytes | None:
    """`scalar` in MongoDB's types; None for null, and for a number that is too large for any of them."""
    if isinstance(scalar, str):
        return scalar if len(scalar) <= _LONG else hashlib.sha256(scalar.encode()).digest()
    if isinstance(scalar, bool) or not isinstance(scalar, int) or -_INT64 <= scalar < _INT64:
        return scalar
    return float(scalar) if abs(scalar) < _TOO_LARGE else None


def place(version: int, generation: int) -> str:
    """The version of a document in a view of that generation, as text; newer versions compare greater."""
    return f"{generation:010}-{version:020}"


def version(at: str) -> int:
    """The version in a `place`."""
    return int(at.partition("-")[2])


def document(given: port.Document, generation: int) -> dict[str, Any]:
    """The stored form of a document, without its ID. A forgotten one has neither a body nor fields.

    Raises:
        ValueError: the body is not a JSON object.
    """
    at = place(given.version, generation)
    if given.body is None:
        return {"at": at}
    found = codecs.decode_object(given.body)
    common = {"at": at, **LIVE, **sizes(found, len(given.body))}
    if len(given.body) <= LARGE_BYTES:
        return {**common, "fields": _fields(found, 1), "body": given.body}
    return {**common, "fields": _fields(_asked(found), 1), "packed": True, "body": zlib.compress(given.body, 1)}


def sizes(entity: codecs.Json, document_bytes: int) -> dict[str, int]:
    """The fields of `SIZES`. `document_bytes`: the entity's size as JSON."""
    size = storage.of(entity, document_bytes)
    return dict(zip(SIZES, (size.document, size.objects), strict=True))


def with_sizes(found: dict[str, Any]) -> dict[str, Any] | None:
    """The stored document `found` with the fields of `SIZES`; None if it has them, or needs none. For a migration."""
    if found.get("body") is None or all(name in found for name in SIZES):
        return None
    data = body(found)
    return {**found, **sizes(codecs.decode_object(data), len(data))}


def usage(account: str) -> list[dict[str, Any]]:
    """The pipeline that adds up what an account keeps in a collection; see `used`."""
    sums = {name: {"$sum": f"${name}"} for name in SIZES}
    return [
        {"$match": {**LIVE, field(columns.ACCOUNT): value(account)}},
        {"$group": {"_id": None, "entities": {"$sum": {"$cond": [{"$eq": ["$documentBytes", 0]}, 0, 1]}}, **sums}},
    ]


def used(found: list[dict[str, Any]]) -> port.Usage:
    """The result of `usage`."""
    return port.Usage(*(int(found[0][name]) for name in ("entities", *SIZES))) if found else port.Usage()


def body(found: dict[str, Any]) -> bytes:
    """The body, as it was applied."""
    data = bytes(found["body"])
    return zlib.decompress(data) if found.get("packed") else data


def scanned(name: str, found: dict[str, Any]) -> port.Scanned:
    """Decode a document of the MongoDB collection `name`. If it has no valid version, the version is -1."""
    generation, _, digits = found["at"].partition("-")
    given = int(digits) if digits.isdecimal() else -1
    data = found.get("body")
    try:
        entity = port.Document(collection_of(name), found[ID], given, None if data is None else body(found))
        there = {key: each for key, each in (with_sizes(found) or found).items() if key != PARTIAL}
        return port.Scanned(entity, sound={ID: entity.id, **document(entity, int(generation))} == there)
    except (ValueError, TypeError, zlib.error):
        kept = data if isinstance(data, bytes) else repr(data).encode()
        return port.Scanned(port.Document(collection_of(name), str(found[ID]), given, kept), sound=False)


BODY = {"_id": 0, "body": 1, "packed": 1}
"""The projection that `body` needs."""


def older(entity_id: str, version: int, generation: int) -> dict[str, Any]:
    """A filter for the entity if its stored version is older. It has one condition, so that every query planner uses the ID."""
    return {ID: entity_id, "at": {"$lt": place(version, generation)}}


def same_partial(entity_id: str, version: int, generation: int) -> dict[str, Any]:
    """A filter for the stand-in of this very version."""
    return {ID: entity_id, "at": place(version, generation), PARTIAL: True}


def outdated(generation: int) -> dict[str, Any]:
    """A filter for the documents of older generations."""
    return {"at": {"$lt": place(0, generation)}}


def indexes(row: kind.Kind) -> list[mongo.Index]:
    """The indexes of a kind's collection. Each is ordered by creation time within equal values, or by `columns.BY_CHANGE`.

    Both directions are read.
    """
    paths = dict.fromkeys([*columns.SHARED, *row.query.values()])
    changes = [_by_change(each) for each in columns.BY_CHANGE]
    return [*map(_index, paths), *changes, mongo.Index(name="by_usage", paths=(field(columns.ACCOUNT), *SIZES), only=LIVE)]


def _index(path: filters.Path) -> mongo.Index:
    keys = dict.fromkeys([field(path), field(columns.CREATED), ID])
    return mongo.Index(name=f"by_{'.'.join(path)}", paths=tuple(keys), only=LIVE)


def _by_change(paths: tuple[filters.Path, ...]) -> mongo.Index:
    return mongo.Index(name=f"by_{'.'.join(paths[0])}_changed", paths=tuple(map(field, paths)), only=LIVE)


def _fields(given: Any, depth: int) -> Any:
    if isinstance(given, dict):
        return {step(key): _fields(each, depth + 1) for key, each in given.items()} if depth < _MAX_DEPTH else {}
    if isinstance(given, list):
        return {ARRAY: [_fields(each, depth + 2) for each in given] if depth < _MAX_DEPTH else []}
    return value(given)


def _asked(given: codecs.Json) -> codecs.Json:
    """The fields that queries use, of a document that is too large to be stored twice."""
    kept: codecs.Json = {}
    for path in _ASKED:
        source, target = given, kept
        for key in path[:-1]:
            below = source.get(key)
            if not isinstance(below, dict):
                break
            source, target = below, target.setdefault(key, {})
        else:
            if path[-1] in source:
                target[path[-1]] = source[path[-1]]
    return kept
