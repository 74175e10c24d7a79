"""A program, not a library: `python -I -m dyff.api.schemas` reads untrusted Arrow schemas.

It runs in a process of its own, because untrusted bytes can crash the reader or make it use unbounded memory and time. It limits
both for itself before it reads the first byte. Standard input consists of frames, each a serialised schema. Standard output has the
line `ready`, then a line for each schema, as `look` returns it: null if the bytes are no schema. See `dyff.api.arrow`.
"""

from __future__ import annotations

import base64
import sys
from typing import Any

if __name__ == "__main__":
    sys.modules["numpy"] = None  # type: ignore[assignment]  # Arrow works without it, and importing it takes half of the start-up time

import pyarrow as pa
import pyarrow.ipc

from dyff.adapters import arrow_schemas, sendable
from dyff.api import bounded


def look(schema: bytes) -> dict[str, Any] | None:
    """Return what is to be known of a serialised schema; None if the bytes are no schema.

    `index`: the type of the column `_index_` as text, empty if there is none. `unsendable`: what no request can contain, as sentences.
    `reduced`: base64 of the schema without large metadata; absent if it has none.
    """
    try:
        found = pa.ipc.read_schema(pa.py_buffer(schema))
        fields = {field.name: field.type for field in found}
        answer: dict[str, Any] = {
            "index": str(fields[arrow_schemas.INDEX])[:100] if arrow_schemas.INDEX in fields else "",
            "unsendable": arrow_schemas.few([str(each) for each in sendable.problems(found)]),
        }
        if not arrow_schemas.is_reduced(found):
            answer["reduced"] = base64.b64encode(arrow_schemas.reduced(found).serialize().to_pybytes()).decode()
        return answer
    except Exception:  # of whatever kind: hostile bytes are no schema, and this process has nothing else to report
        return None


if __name__ == "__main__":
    bounded.serve(look)
