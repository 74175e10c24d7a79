"""A program, not a library: `python -I -m dyff.api.footers` checks the footers of untrusted Parquet files.

It runs in a process of its own, because untrusted bytes can crash the reader or make it use unbounded memory and time.
It limits both for itself before it reads the first byte. Standard input consists of frames (four bytes of length,
big-endian, then the bytes): the declared Arrow schema, the JSON list of the columns that come from any path, then for
each file its path and its footer, including the last eight bytes of the file.
Standard output has the line `ready`, then a line for each file: `{"rows": N, "problems": [ends of sentences]}`.
See `dyff.api.contents`.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Collection
from typing import Any

if __name__ == "__main__":
    sys.modules["numpy"] = None  # type: ignore[assignment]  # Arrow works without it, and importing it takes half of the start-up time

import pyarrow as pa
import pyarrow.parquet

from dyff.api import bounded

MAGIC = b"PAR1"
_SHOWN = 5
_NAME_CHARS, _TYPE_CHARS, _REASON_CHARS = 100, 200, 200
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def look(path: str, footer: bytes, declared: pa.Schema, by_path: Collection[str]) -> tuple[int, list[str]]:
    """Return the number of rows of a file, and its differences from the `declared` schema.

    `footer`: up to the end of the file. `by_path`: columns that come from the path of at least one file of the dataset. They
    are null for a file whose path does not give them.
    """
    try:
        metadata = pa.parquet.read_metadata(pa.BufferReader(MAGIC + footer))
        return metadata.num_rows, differences(metadata.schema.to_arrow_schema(), declared, partitions(path), by_path)
    except Exception as error:
        reason = str(error).partition("\n")[0][:_REASON_CHARS]
        return 0, [f"cannot be read as a Parquet file ({reason})"]


def partitions(path: str) -> dict[str, str]:
    """Return the columns that come from the path of a file, as in `split=test/0.parquet`."""
    return dict(step.split("=", 1) for step in path.split("/")[:-1] if "=" in step)


def differences(found: pa.Schema, declared: pa.Schema, given: dict[str, str], by_path: Collection[str]) -> list[str]:
    """List the differences of a file's schema from the declared one. `given`: the columns in its path; `by_path`: in any path."""
    listed = [f"the field {_name(name)} occurs {n} times" for name, n in Counter(found.names).items() if n > 1]
    types = dict(zip(found.names, found.types, strict=True))
    for field in declared:
        if field.name in given:
            what = None if _fits(given[field.name], field.type) else f"{given[field.name]!r} in the path"
        elif field.name in types:
            what = None if plain(types[field.name]) == plain(field.type) else _type(types[field.name])
        else:
            what = None if field.name in by_path else "missing"
        if what is not None:
            listed.append(f"the field {_name(field.name)} should be {_type(field.type)}, but is {what}")
    known = {*declared.names, *by_path}
    listed += [f"the field {_name(name)}, which is {_type(types[name])}, is not declared" for name in types if name not in known]
    return [*listed[:_SHOWN], f"{len(listed) - _SHOWN} more differences"] if len(listed) > _SHOWN else listed


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


def _fits(value: str, type_: pa.DataType) -> bool:
    try:
        return value == _NO_VALUE or pa.scalar(value).cast(plain(type_)).is_valid
    except pa.ArrowException:
        return False


def _name(name: str) -> str:
    return repr(name[:_NAME_CHARS])


def _type(type_: pa.DataType) -> str:
    return str(type_)[:_TYPE_CHARS]


def main() -> None:
    """Check files until the input ends."""
    bounded.limit()
    frames = bounded.frames()
    declared, by_path = pa.ipc.read_schema(pa.py_buffer(next(frames))), json.loads(next(frames))
    bounded.ready()
    for path in frames:
        rows, problems = look(path.decode(), next(frames), declared, by_path)
        bounded.answer({"rows": rows, "problems": problems})


if __name__ == "__main__":
    main()
