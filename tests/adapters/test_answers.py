"""The memory that reading an answer can take."""

from __future__ import annotations

import tracemalloc

import pytest

from dyff.adapters import answers

END = b'], "text": "fine"}'


def outputs(items):
    """Drop all but the text."""
    return [{"text": item["text"]} for item in items]


@pytest.mark.parametrize(
    "value", [b"[]", b"{}", b'{"a":1}', b'"a"', b"1.5", b"[[[]]]", b'{"a":{}}', b'"\\u00e4"', b'[1,{"a":"b"}]', b"123456789"]
)
def test_many_small_values(value, monkeypatch):
    """A body of many small values, which need many times its size as objects, is refused before they are made; half as many are read."""
    monkeypatch.setattr(answers, "MAX_VALUE_BYTES", 2**22)
    few = b'{"x": [' + b",".join([value] * 3_000) + END
    many = b'{"x": [' + b",".join([value] * 200_000) + END
    assert answers.read(few, None, None, outputs).responses == [{"text": "fine"}]
    tracemalloc.start()
    try:
        with pytest.raises(answers.Unfit, match="has so many values that they need more than 4194304 bytes in memory"):
            answers.read(many, None, None, outputs)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2**22 + 2 * len(many)


@pytest.mark.parametrize("value", [b"[]", b"{}", b'{"a":1}', b'"a"', b"1.5", b"[[[]]]", b'{"a":{}}', b'[1,{"a":"b"}]', b"123456789"])
def test_the_limit_covers_what_the_values_take(value):
    """What is counted for a body is at least what its values take in memory."""
    body = b"[" + b",".join([value] * 50_000) + b"]"
    tracemalloc.start()
    try:
        made = answers.read(body, None, None, lambda items: items)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made
    assert answers.bytes_of_values(body) >= 0.9 * taken


def test_a_long_text_is_no_structure(monkeypatch):
    """A text may have any number of brackets, commas and quotes: they are no values."""
    monkeypatch.setattr(answers, "MAX_VALUE_BYTES", 2**20)
    text = b'[{,\\"\\\\' * 50_000
    assert answers.read(b'{"x": [], "text": "' + text + b'"}', None, None, outputs).responses == [{"text": '[{,"\\' * 50_000}]
