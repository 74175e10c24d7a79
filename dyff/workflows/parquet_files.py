"""Tables as Parquet files."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet


def encode(table: pa.Table, *, dictionaries: bool = True) -> bytes:
    """Encode a table as a Parquet file. Without `dictionaries`, the file's metadata gives the size of the rows in memory."""
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(table, sink, compression="zstd", use_dictionary=dictionaries)
    return sink.getvalue().to_pybytes()
