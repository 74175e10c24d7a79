"""Arrow schemas of datasets: what determines the values, differences between schemas, what is stored of them. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import pyarrow as pa

from dyff.adapters import partitions

INDEX = "_index_"
"""The column that identifies a row, of type int64, unique in the dataset."""

MAX_METADATA_BYTES = 2**10
"""The limit for an entry of a schema's metadata. Larger ones are dropped: they are for the program that wrote the files."""

SHOWN = 5
_INT32 = range(-(2**31), 2**31)
_MOST_DIGITS = 11
_NAME_CHARS, _TYPE_CHARS = 100, 200


def plain(type_: Any) -> Any:
    """Reduce a type to what determines its values: without the memory layout, the unit of times and the names of time zones."""
    kinds: Any = pa.types  # the stubs do not narrow
    if isinstance(type_, pa.BaseExtensionType):
        return plain(type_.storage_type)
    if kinds.is_dictionary(type_) or kinds.is_run_end_encoded(type_):
        return plain(type_.value_type)
    if kinds.is_large_string(type_) or kinds.is_string_view(type_):
        return pa.string()
    if kinds.is_large_binary(type_) or kinds.is_binary_view(type_):
        return pa.binary()
    if kinds.is_fixed_size_list(type_):
        return pa.list_(plain(type_.value_type), type_.list_size)
    if kinds.is_map(type_):
        return pa.map_(plain(type_.key_type), plain(type_.item_type))
    if any(is_one(type_) for is_one in (kinds.is_list, kinds.is_large_list, kinds.is_list_view, kinds.is_large_list_view)):
        return pa.list_(plain(type_.value_type))
    if kinds.is_struct(type_):
        return pa.struct([(field.name, plain(field.type)) for field in type_])
    return _plain_scalar(type_)


def _plain_scalar(type_: Any) -> Any:
    kinds: Any = pa.types  # the stubs do not narrow
    if kinds.is_timestamp(type_):
        return pa.timestamp("us", "UTC" if type_.tz else None)
    if kinds.is_time(type_):
        return pa.time64("us")
    if kinds.is_date(type_):
        return pa.date32()
    return pa.decimal256(type_.precision, type_.scale) if kinds.is_decimal(type_) else type_


def inferred(values: Iterable[str | None]) -> pa.DataType:
    """Return the type of a column whose schema nobody declared: int32 if each value is written as Python writes it, else string.

    Arrow takes `01234` for a number, and so changes a postcode. Here only what keeps its text is a number.
    """
    known = [value for value in values if value is not None]
    return pa.int32() if known and all(map(_is_int32, known)) else pa.string()


def value(text: str | None, type_: pa.DataType) -> Any:
    """Return a value of a path as an Arrow scalar of the declared type.

    Raises:
        ArrowException: it is no value of that type.
    """
    kept = _unwrapped(type_)
    if text is None:
        return pa.scalar(None, kept)
    try:
        return pa.scalar(text).cast(kept)
    except pa.ArrowInvalid:
        if pa.types.is_timestamp(kept) and kept.tz is not None:
            return pa.scalar(f"{text}Z").cast(kept)  # Arrow requires a zone here; a time without one is in UTC
        raise


def given(path: str, schema: pa.Schema) -> dict[str, Any]:
    """Return the columns of `schema` in the path of a file, as scalars of its types.

    Raises:
        ArrowInvalid: a value is not of the declared type; the message names file and column.
    """
    found = {}
    for name, text in partitions.given(path).items():
        if name in schema.names:
            try:
                found[name] = value(text, schema.field(name).type)
            except pa.ArrowException as error:
                wanted = type_text(schema.field(name).type)
                raise pa.ArrowInvalid(f"{path!r}: {shown(name)} should be {wanted}, but is {text!r} in the path") from error
    return found


def contradiction(stored: pa.Array[Any], given: Any, name: str) -> str | None:
    """Why a column of a file is not what its path says, as the end of a sentence; None if it is. `given`: the value in the path.

    Raises:
        ArrowException: the column cannot be of that type.
    """
    import pyarrow.compute as pc  # costs a tenth of a second, which the program that reads footers does not need

    found: Any = stored.cast(given.type)
    are_equal: Any = pc.is_null(found) if not given.is_valid else pc.fill_null(pc.equal(found, given), False)
    if pc.all(are_equal, min_count=0).as_py():
        return None
    return f"has the column {shown(name)}, which is {given} in the path, and something else in the file"


def _unwrapped(type_: Any) -> Any:
    if isinstance(type_, pa.BaseExtensionType):
        return _unwrapped(type_.storage_type)
    is_wrapped = pa.types.is_dictionary(type_) or pa.types.is_run_end_encoded(type_)
    return _unwrapped(type_.value_type) if is_wrapped else type_


def _is_int32(text: str) -> bool:
    number = text.removeprefix("-")
    if not (number.isascii() and number.isdigit() and len(text) <= _MOST_DIGITS):
        return False
    return str(int(text)) == text and int(text) in _INT32


def same(found: pa.DataType, declared: pa.DataType) -> bool:
    """Whether a column of a file has the declared values, however they are kept. A column of nothing but nulls fits every type."""
    return pa.types.is_null(found) or plain(found) == plain(declared)


def differences(found: pa.Schema, declared: pa.Schema, given: Collection[str], by_path: Collection[str]) -> list[str]:
    """List the differences of a file's schema from the declared one, as ends of sentences. The order of columns is none.

    `given`: the columns in the path of the file; `by_path`: in the path of any file. A path that does not give a column means null.
    """
    listed = [f"the field {shown(name)} occurs {n} times" for name, n in Counter(found.names).items() if n > 1]
    types = dict(zip(found.names, found.types, strict=True))
    for field in declared:
        what = None
        if field.name in types:
            what = None if same(types[field.name], field.type) else type_text(types[field.name])
        elif field.name not in given and field.name not in by_path:
            what = "missing"
        if what is not None:
            listed.append(f"the field {shown(field.name)} should be {type_text(field.type)}, but is {what}")
    return [*listed, *_undeclared(types, declared)]


def _undeclared(types: dict[str, pa.DataType], declared: pa.Schema) -> list[str]:
    known = set(declared.names)
    return [f"the field {shown(name)}, which is {type_text(types[name])}, is not declared" for name in types if name not in known]


def few(problems: list[str]) -> list[str]:
    """Shorten a list of problems for a message."""
    return [*problems[:SHOWN], f"{len(problems) - SHOWN} more differences"] if len(problems) > SHOWN else problems


def reduced(schema: pa.Schema) -> pa.Schema:
    """Return the schema without large entries of metadata, of the schema and of its columns.

    Hugging Face and pandas describe all features there a second time, in up to a megabyte. Descriptions of columns stay.
    """
    return pa.schema([_reduced(field) for field in schema], _small(schema.metadata))


def _reduced(field: pa.Field[Any]) -> pa.Field[Any]:
    kept = _small(field.metadata)
    return field.remove_metadata() if kept is None else field.with_metadata(kept)


def is_reduced(schema: pa.Schema) -> bool:
    """Whether `reduced` would change nothing."""
    every = [schema.metadata, *(field.metadata for field in schema)]
    return all(len(_small(each) or {}) == len(each or {}) for each in every)


def _small(metadata: Any) -> Any:
    kept = {key: text for key, text in (metadata or {}).items() if len(key) + len(text) <= MAX_METADATA_BYTES}
    return kept or None


def shown(name: str) -> str:
    """The name of a column for a message."""
    return repr(name[:_NAME_CHARS])


def type_text(type_: pa.DataType) -> str:
    """A type for a message."""
    return str(type_)[:_TYPE_CHARS]
