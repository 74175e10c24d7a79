"""JSON of the log and of the stores."""

from __future__ import annotations

import msgspec
import pytest

from dyff.entities import codecs


class Form(msgspec.Struct):
    n: int


def test_equal_values_are_equal_bytes():
    """Whatever the order of their keys was."""
    assert codecs.encode({"b": 1, "a": [True]}) == codecs.encode({"a": [True], "b": 1}) == b'{"a":[true],"b":1}'
    assert codecs.decode_object(b'{"b":1}') == {"b": 1}


@pytest.mark.parametrize("value", [{"n": 1}, msgspec.Raw(b'{"n":1}')])
def test_a_value_or_its_bytes_are_opened(value):
    """Both in the form that is asked for."""
    assert codecs.opened(value, Form) == Form(1)


@pytest.mark.parametrize("value", [{"n": "1"}, msgspec.Raw(b'{"n":"1"}')])
def test_another_form_is_an_error(value):
    """For either."""
    with pytest.raises(msgspec.ValidationError):
        codecs.opened(value, Form)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[1]", b"1", b"[" * 100_000, '"\ud800"'])
def test_what_is_no_json_object_is_a_value_error(data):
    """Also what is nested too deep."""
    with pytest.raises(ValueError):
        codecs.decode_object(data)
