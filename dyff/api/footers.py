"""A program, not a library: `python -I -m dyff.api.footers` checks the footers of untrusted Parquet files.

It runs in a process of its own, because untrusted bytes can crash the reader or make it use unbounded memory and time.
It limits both for itself before it reads the first byte. Standard input consists of frames (four bytes of length,
big-endian, then the bytes): the declared Arrow schema, the JSON list of the columns that come from any path, then for
each file its path, its size in digits, and its footer, including the last eight bytes of the file.
Standard output has the line `ready`, then a line for each file: `{"rows": N, "problems": [ends of sentences]}`.
See `dyff.api.contents`; the rules are in `dyff.adapters.footers`.
"""

from __future__ import annotations

import json
import sys

if __name__ == "__main__":
    sys.modules["numpy"] = None  # type: ignore[assignment]  # Arrow works without it, and importing it takes half of the start-up time

import pyarrow as pa

from dyff.adapters.footers import Footers
from dyff.api import bounded


def main() -> None:
    """Check files until the input ends."""
    bounded.limit()
    frames = bounded.frames()
    declared, by_path = pa.ipc.read_schema(pa.py_buffer(next(frames))), json.loads(next(frames))
    bounded.ready()
    footers = Footers(declared, frozenset(by_path))
    for path in frames:
        size, footer = int(next(frames)), next(frames)
        found = footers.look(path.decode(), footer, size)
        bounded.answer({"rows": found.rows, "problems": found.problems})


if __name__ == "__main__":
    main()
