"""A program, not a library: `python -I -m dyff.api.schemas` reads untrusted Arrow schemas.

It runs in a process of its own, because untrusted bytes can crash the reader or make it use unbounded memory and time. It limits
both for itself before it reads the first byte. Standard input consists of frames, each a serialised schema. Standard output has the
line `ready`, then a line for each schema: its `_index_` column's type as text, "" if it has no such column, null if the bytes are
no schema. See `dyff.api.arrow`.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    sys.modules["numpy"] = None  # type: ignore[assignment]  # Arrow works without it, and importing it takes half of the start-up time

import pyarrow as pa
import pyarrow.ipc

from dyff.api import bounded

INDEX = "_index_"


def index_type(schema: bytes) -> str | None:
    """Return the type of the column `_index_` of a serialised schema; empty if there is none, None if the bytes are no schema."""
    try:
        fields = {field.name: field.type for field in pa.ipc.read_schema(pa.py_buffer(schema))}
        return str(fields[INDEX])[:100] if INDEX in fields else ""
    except Exception:  # of whatever kind: hostile bytes are no schema, and this process has nothing else to report
        return None


def main() -> None:
    """Read schemas until the input ends."""
    bounded.limit()
    bounded.ready()
    for schema in bounded.frames():
        bounded.answer(index_type(schema))


if __name__ == "__main__":
    main()
