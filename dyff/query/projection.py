"""A part of a document: some fields of its JSON, with the bytes that they have there. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from dyff.query import filters

Cut = Callable[[bytes], bytes]

_Tree = dict[str, "_Tree | None"]
"""The keys to keep, each with those of the object below it; None: all of the value."""

_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENCODER = msgspec.json.Encoder()


def cut(fields: Sequence[filters.Path] | None) -> Cut:
    """The function that makes of a document the one with only these fields; None: it stays whole.

    A field of which another one is a part is kept whole. A path through what is no object leads nowhere, and is left out.
    """
    if fields is None:
        return _whole
    tree = _tree(fields)
    return lambda body: _ENCODER.encode(_kept(_OBJECT.decode(body), tree))


def _whole(body: bytes) -> bytes:
    return body


def _tree(fields: Sequence[filters.Path]) -> _Tree:
    found: _Tree = {}
    for path in sorted(fields, key=len):  # what is whole comes before its parts
        below: _Tree | None = found
        for step in path[:-1]:
            below = None if below is None else below.setdefault(step, {})
        if below is not None:
            below[path[-1]] = None
    return found


def _kept(given: dict[str, msgspec.Raw], tree: _Tree) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, below in tree.items():
        value = given.get(key)
        if value is None:
            continue
        if below is None:
            found[key] = value
        elif (inner := _object(value)) is not None:
            found[key] = _kept(inner, below)
    return found


def _object(value: msgspec.Raw) -> dict[str, msgspec.Raw] | None:
    try:
        return _OBJECT.decode(value)
    except msgspec.ValidationError:
        return None
