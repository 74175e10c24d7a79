"""The parts of documents (`dyff.query.projection`)."""

from __future__ import annotations

import pytest

from dyff.query import filters, projection

BODY = b'{"a":1.0,"b":{"c":"\\u00e9","d":[{"e":1}],"f":null},"g":null}'
CASES: list[tuple[tuple[filters.Path, ...] | None, bytes]] = [
    (None, BODY),
    ((), b"{}"),
    ((("a",),), b'{"a":1.0}'),
    ((("g",), ("a",)), b'{"g":null,"a":1.0}'),
    ((("b", "c"),), b'{"b":{"c":"\\u00e9"}}'),
    ((("b", "c"), ("b",)), b'{"b":{"c":"\\u00e9","d":[{"e":1}],"f":null}}'),
    ((("b", "d", "e"), ("b", "f", "x"), ("a", "x"), ("none", "x")), b'{"b":{}}'),
]


@pytest.mark.parametrize(("fields", "expected"), CASES)
def test_a_part_has_the_bytes_of_the_whole(fields, expected):
    """No value is written again: 1.0 stays 1.0."""
    assert projection.cut(fields)(BODY) == expected
