"""Small directories of Parquet files, made for a test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet


def table(*indices: int | None, **columns: Any) -> pa.Table:
    """Rows with these indices, and other columns; a text for each if there are none."""
    others = columns or {"text": [f"text {index}" for index in indices]}
    return pa.table({"_index_": pa.array(indices, pa.int64()), **others})


def parquet(rows: pa.Table, **options: Any) -> bytes:
    """The file of a table; `options` of Arrow's `write_table`."""
    sink = pa.BufferOutputStream()
    pa.parquet.write_table(rows, sink, **options)
    return sink.getvalue().to_pybytes()


def folder(root: Path, files: dict[str, pa.Table | bytes | str]) -> Path:
    """Write files by path; a text makes a symbolic link to it."""
    root.mkdir(parents=True, exist_ok=True)
    for path, content in files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            os.symlink(content, place)
        else:
            place.write_bytes(content if isinstance(content, bytes) else parquet(content))
    return root


def encrypted(rows: pa.Table, *, plaintext_footer: bool) -> bytes:
    """An encrypted file, whose footer can be in plain text."""
    import base64

    import pyarrow.parquet.encryption as pe

    client: Any = pe.KmsClient  # its types say text where it needs bytes

    class Kms(client):
        """Wraps keys by encoding them."""

        def wrap_key(self, key_bytes: bytes, _: str) -> bytes:
            return base64.b64encode(key_bytes)

        def unwrap_key(self, wrapped_key: bytes, _: str) -> bytes:
            return base64.b64decode(wrapped_key)

    factory = pe.CryptoFactory(lambda _: Kms())
    how = pe.EncryptionConfiguration(
        footer_key="footer", column_keys={"column": list(rows.schema.names)}, plaintext_footer=plaintext_footer
    )
    properties = factory.file_encryption_properties(pe.KmsConnectionConfig(), how)
    sink = pa.BufferOutputStream()
    with pa.parquet.ParquetWriter(sink, rows.schema, encryption_properties=properties) as writer:
        writer.write_table(rows)
    return sink.getvalue().to_pybytes()
