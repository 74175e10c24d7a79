"""Documents as they lie in MongoDB. Pure.

The body is stored as the bytes that it is. Beside it lies the same in MongoDB's own types, for queries, but so that a query of
MongoDB means what it means on JSON: keys are escaped, since a dot or a dollar has a meaning there, and an array is an object with
one key that no document can have, since MongoDB looks into arrays unasked.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from typing import Any
from urllib.parse import quote, unquote

from dyff.entities import codecs, kind
from dyff.kernel import mongo
from dyff.query import columns, filters, port

ID = "_id"
ARRAY = "%a"
"""The key under which the elements of an array lie. An escaped key has no small letter after its percent sign."""

LIVE: dict[str, Any] = {"live": True}
"""What is not forgotten. All indexes are of these alone."""

LARGE_BYTES = 4 * 2**20
"""A larger body is compressed and has beside it only what the kinds are asked for: 16 MiB are the most that MongoDB takes."""

_PREFIXES = ("entities_", "entities2_")
"""Of the collections of a view. There are two sides, so that a new view can be built beside the present one."""

_LONG = 1000
"""Characters. Of longer text there is a digest beside the body: it can be found and is not stored twice."""
_MAX_DEPTH = 50
"""MongoDB takes no more than 100; nobody asks for what is deeper."""
_INT64 = 2**63
_TOO_LARGE = 2**1023
_SPECIAL = re.compile(r"[%.$\x00]")
_ASKED = (*columns.PATHS, ("reason",), ("lastTransitionTime",), ("labels",))


def collection(name: str, side: int = 0) -> str:
    """What our collection is called there, in a view on that side."""
    return _PREFIXES[side] + quote(name, safe="").replace(".", "%2E").replace("~", "%7E")


def collection_of(name: str) -> str:
    """Ours that is called `name` there."""
    return unquote(name.partition("_")[2])


def is_collection(name: str, side: int | None = None) -> bool:
    """Whether it is one of ours. `side`: of the view; None: any."""
    return name.startswith(_PREFIXES if side is None else _PREFIXES[side])


def step(key: str) -> str:
    """A key of a JSON object as a key there."""
    return _SPECIAL.sub(lambda found: f"%{ord(found[0]):02X}", key) or "%"


def field(path: filters.Path) -> str:
    """Where the value at `path` is."""
    return ID if path == columns.ID else ".".join(["fields", *map(step, path)])


def value(scalar: filters.Scalar) -> str | int | float | bool | bytes | None:
    """`scalar` in MongoDB's types; None: null, or a number that is too large for any of them."""
    if isinstance(scalar, str):
        return scalar if len(scalar) <= _LONG else hashlib.sha256(scalar.encode()).digest()
    if isinstance(scalar, bool) or not isinstance(scalar, int) or -_INT64 <= scalar < _INT64:
        return scalar
    return float(scalar) if abs(scalar) < _TOO_LARGE else None


def place(version: int, generation: int) -> str:
    """The version of a document in a view of that generation, as text of which the greater is the newer."""
    return f"{generation:010}-{version:020}"


def version(at: str) -> int:
    """The version in a `place`."""
    return int(at.partition("-")[2])


def document(given: port.Document, generation: int) -> dict[str, Any]:
    """What is stored for it, but its ID. What is forgotten has neither a body nor fields.

    Raises:
        ValueError: the body is not a JSON object.
    """
    at = place(given.version, generation)
    if given.body is None:
        return {"at": at}
    found = codecs.decode_object(given.body)
    if len(given.body) <= LARGE_BYTES:
        return {"at": at, **LIVE, "fields": _fields(found, 1), "body": given.body}
    return {"at": at, **LIVE, "fields": _fields(_asked(found), 1), "packed": True, "body": zlib.compress(given.body, 1)}


def body(found: dict[str, Any]) -> bytes:
    """The bytes that were applied."""
    data = bytes(found["body"])
    return zlib.decompress(data) if found.get("packed") else data


def scanned(name: str, found: dict[str, Any]) -> port.Scanned:
    """What lies in the collection `name` there. Where that says no version, it is -1."""
    generation, _, digits = found["at"].partition("-")
    given = int(digits) if digits.isdecimal() else -1
    data = found.get("body")
    try:
        entity = port.Document(collection_of(name), found[ID], given, None if data is None else body(found))
        return port.Scanned(entity, sound={ID: entity.id, **document(entity, int(generation))} == found)
    except (ValueError, TypeError, zlib.error):
        kept = data if isinstance(data, bytes) else repr(data).encode()
        return port.Scanned(port.Document(collection_of(name), str(found[ID]), given, kept), sound=False)


BODY = {"_id": 0, "body": 1, "packed": 1}
"""The fields that `body` needs."""


def older(entity_id: str, version: int, generation: int) -> dict[str, Any]:
    """A filter: the entity, if what is stored is older. It has one condition, so that every planner goes by the ID."""
    return {ID: entity_id, "at": {"$lt": place(version, generation)}}


def outdated(generation: int) -> dict[str, Any]:
    """A filter: what older generations left."""
    return {"at": {"$lt": place(0, generation)}}


def indexes(row: kind.Kind) -> list[mongo.Index]:
    """Those of a kind's collection: every one is in the order of creation within equal values, and is read both ways."""
    paths = dict.fromkeys([*columns.SHARED, *row.query.values()])
    return [_index(path) for path in paths]


def _index(path: filters.Path) -> mongo.Index:
    keys = dict.fromkeys([field(path), field(columns.CREATED), ID])
    return mongo.Index(name=f"by_{'.'.join(path)}", paths=tuple(keys), only=LIVE)


def _fields(given: Any, depth: int) -> Any:
    if isinstance(given, dict):
        return {step(key): _fields(each, depth + 1) for key, each in given.items()} if depth < _MAX_DEPTH else {}
    if isinstance(given, list):
        return {ARRAY: [_fields(each, depth + 2) for each in given] if depth < _MAX_DEPTH else []}
    return value(given)


def _asked(given: codecs.Json) -> codecs.Json:
    """What queries ask for, of a document that is too large to be stored twice."""
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
