"""A program, not a library: `python -I -m dyff.api.exports.columns_program` describes untrusted Arrow schemas as Croissant does.

It runs in a process of its own for the reasons, and with the protocol, of `dyff.api.schemas`. See `dyff.api.exports.columns`.
"""

from __future__ import annotations

import sys
from typing import Any

if __name__ == "__main__":
    sys.modules["numpy"] = None  # type: ignore[assignment]  # Arrow works without it, and importing it takes half of the start-up time

import pyarrow as pa
import pyarrow.ipc

from dyff.adapters import croissant_fields
from dyff.api import bounded


def look(schema: bytes) -> list[dict[str, Any]] | None:
    """The columns of a serialised schema (`dyff.adapters.croissant_fields`); None if the bytes are no schema."""
    try:
        return croissant_fields.described(pa.ipc.read_schema(pa.py_buffer(schema)))
    except Exception:  # of whatever kind: hostile bytes are no schema, and this process has nothing else to report
        return None


if __name__ == "__main__":
    bounded.serve(look)
