"""Checks responses against an output schema, as strictly as it can be done without changing a value. Pure.

Arrow itself shortens 1.5 to 1 for a whole number, splits a text into a list of characters, makes infinity of a number that is too
large for 32 bits, and ignores what is not nullable. A schema is compiled once; a check then costs a few microseconds.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from dyff.adapters import answers
from dyff.kernel import errors

INDEX, REPLICATION, RESPONSES, RESPONSE_INDEX = "_index_", "_replication_", "responses", "_response_index_"

UNFIT = (pa.ArrowException, ArithmeticError, TypeError, ValueError)
"""What Arrow raises for a value that does not fit a column."""

_SHOWN = 100
_EXACT = {16: 2**11, 32: 2**24, 64: 2**53}
"""By the bits of a float: up to which all whole numbers are exact. Arrow refuses larger ones."""
_LARGEST = {16: 65504.0, 32: 3.4028234663852886e38}

Value = Callable[[Any], None]


def declared(encoded: str) -> pa.Schema:
    """Return the schema that is encoded in an interface's `arrowSchema`.

    Raises:
        Misconfigured: it is not an Arrow schema.
    """
    try:
        return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(encoded, validate=True)))
    except (binascii.Error, *UNFIT, OSError) as error:
        raise errors.Misconfigured(f"interface.outputSchema.arrowSchema is not the base64 of an Arrow schema: {error}") from error


def completed(given: pa.Schema) -> pa.Schema:
    """Return the schema of the stored outputs.

    A declared schema with the columns of an output is used as it is. A schema of responses alone is completed to the published
    form: `_replication_`, `_index_`, `responses` (a list of structs that begin with `_response_index_`), all of it nullable.
    """
    if _is_complete(given):
        return given
    numbered = given if RESPONSE_INDEX in given.names else given.insert(0, pa.field(RESPONSE_INDEX, pa.int64()))
    response = pa.struct([pa.field(name, kind) for name, kind in zip(numbered.names, numbered.types, strict=True)])
    columns: dict[str, pa.DataType] = {REPLICATION: pa.string(), INDEX: pa.int64(), RESPONSES: pa.list_(response)}
    return pa.schema(columns)


def check(given: pa.Schema) -> answers.Check:
    """Return a function that raises `answers.Unfit` if the responses to an item do not fit the declared schema.

    Raises:
        Misconfigured: `responses` is not a list of structs.
    """
    fields = list(given)
    if _is_complete(given):
        kind = given.field(RESPONSES).type
        if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(kind.value_type):
            raise errors.Misconfigured(f"interface.outputSchema: the column {RESPONSES} must be a list of structs, not {kind}")
        fields = list(kind.value_type)
    own = [field for field in fields if field.name != RESPONSE_INDEX]
    names, of_fields = frozenset(field.name for field in own), _fields(own)
    known = ", ".join(sorted(names))

    def checked(responses: list[Any]) -> None:
        for response in responses:
            if not isinstance(response, dict):
                raise answers.Unfit(f"gives {_shown(response)}, and none of the output schema's fields ({known})")
            if names and names.isdisjoint(response):
                given = f"the fields {_shortened(', '.join(map(repr, response)))}" if response else "an object without fields"
                raise answers.Unfit(f"gives {given}, and none of the output schema's fields ({known})")
            try:
                of_fields(response)
            except (*UNFIT, RecursionError) as error:
                raise answers.Unfit(f"gives responses that do not fit the output schema: {_shortened(str(error), 500)}") from error

    return checked


def _is_complete(given: pa.Schema) -> bool:
    return {INDEX, REPLICATION, RESPONSES} <= set(given.names)


def _fields(fields: list[Any]) -> Value:
    """Check the fields of an object. Those that the schema does not have are ignored, as those of an answer always were."""
    compiled = [(field.name, field.nullable, _value(field.type)) for field in fields]

    def checked(value: Any) -> None:
        if type(value) is not dict:
            raise ValueError(f"{_shown(value)} is not an object")
        for name, is_nullable, of_value in compiled:
            found = value.get(name)
            if found is not None:
                try:
                    of_value(found)
                except UNFIT as error:
                    raise ValueError(f"{name}: {error}") from error
            elif not is_nullable:
                raise ValueError(f"{name}: it is {'null' if name in value else 'missing'}, which the schema forbids")

    return checked


def _value(kind: pa.DataType) -> Value:
    """Return the check of values that are not null."""
    types = pa.types
    if types.is_dictionary(kind):
        return _value(kind.value_type)
    if types.is_boolean(kind):
        return _of_type(bool, "true or false")
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return _of_type(str, "a text")
    if types.is_integer(kind):
        return _whole(kind)
    if types.is_floating(kind):
        return _floating(kind)
    if types.is_struct(kind):
        return _fields(list(kind))
    if types.is_map(kind):
        return _map(kind)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        return _list(kind)
    return _by_arrow(kind)


def _of_type(wanted: type, words: str) -> Value:
    def checked(value: Any) -> None:
        if type(value) is not wanted:
            raise ValueError(f"{_shown(value)} is not {words}")

    return checked


def _whole(kind: pa.DataType) -> Value:
    bits = kind.bit_width
    lowest, highest = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if pa.types.is_signed_integer(kind) else (0, 2**bits - 1)

    def checked(value: Any) -> None:
        if type(value) is not int and not (type(value) is float and value.is_integer()):
            raise ValueError(f"{_shown(value)} is not a whole number")
        if not lowest <= value <= highest:
            raise ValueError(f"{_shown(value)} is out of the range of {kind}")

    return checked


def _floating(kind: pa.DataType) -> Value:
    exact, largest = _EXACT[kind.bit_width], _LARGEST.get(kind.bit_width, math.inf)

    def checked(value: Any) -> None:
        if type(value) is float:
            if abs(value) > largest and not math.isinf(value):
                raise ValueError(f"{_shown(value)} is out of the range of {kind}")
        elif type(value) is not int:
            raise ValueError(f"{_shown(value)} is not a number")
        elif not -exact <= value <= exact:
            raise ValueError(f"{_shown(value)} cannot be held exactly by {kind}")

    return checked


def _list(kind: Any) -> Value:
    field = kind.value_field
    is_nullable, of_value = field.nullable, _value(field.type)
    size = kind.list_size if pa.types.is_fixed_size_list(kind) else None

    def checked(value: Any) -> None:
        if type(value) is not list:
            raise ValueError(f"{_shown(value)} is not a list")
        if size is not None and len(value) != size:
            raise ValueError(f"it has {len(value)} values, and must have {size}")
        for each in value:
            if each is not None:
                of_value(each)
            elif not is_nullable:
                raise ValueError("a value of the list is null, which the schema forbids")

    return checked


def _map(kind: Any) -> Value:
    is_nullable, of_key, of_value = kind.item_field.nullable, _value(kind.key_type), _value(kind.item_type)

    def checked(value: Any) -> None:
        if type(value) is not dict:
            raise ValueError(f"{_shown(value)} is not an object")
        for key, each in value.items():
            of_key(key)
            if each is not None:
                of_value(each)
            elif not is_nullable:
                raise ValueError("a value of the object is null, which the schema forbids")

    return checked


def _by_arrow(kind: pa.DataType) -> Value:
    """Times, decimals, bytes and rare types: Arrow decides, but does not shorten a number with a fraction."""

    def checked(value: Any) -> None:
        if type(value) is float and not value.is_integer():
            raise ValueError(f"{_shown(value)} is not a value of {kind}")
        pa.array([value], kind)

    return checked


def _shown(value: Any) -> str:
    """A value for people, shortened. Of a large or deep value, only the beginning of a text or the kind is shown."""
    if isinstance(value, str):
        return _shortened(repr(value[:_SHOWN]))
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'a list'} of {len(value)}"
    if isinstance(value, int) and abs(value) > 10**_SHOWN:
        return "a huge number"
    return _shortened(repr(value))


def _shortened(text: str, most: int = 2 * _SHOWN) -> str:
    return text if len(text) <= most else f"{text[:most]}..."
