"""Accuracy by exact match, with clusters.

`items`: `_index_`, `answer`, `document`. `outputs`: of an evaluation. An item without an answer is an error, and no wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dyff import stats

SCHEMA = pa.schema([("_index_", pa.int64()), ("_replication_", pa.string()), ("verdict", pa.bool_()), ("failed", pa.bool_())])


def same(answer: str, expected: str) -> bool:
    """Whether they are equal, but for case, spaces, and a full stop at the end."""
    return " ".join(answer.split()).casefold().rstrip(".") == " ".join(expected.split()).casefold().rstrip(".")


def exact_match(arguments: dict[str, str], items: Any, outputs: Any) -> Iterator[pa.RecordBatch]:
    """Yield a row for each answer, and store the accuracy."""
    known = {row["_index_"]: row for row in items.to_table().to_pylist()}
    rows, documents = [], []
    for row in outputs.to_table().to_pylist():
        text = row["responses"][0]["text"] if row["responses"] else None
        verdict = None if text is None else same(text, known[row["_index_"]]["answer"])
        rows.append({"_index_": row["_index_"], "_replication_": row["_replication_"], "verdict": verdict, "failed": text is None})
        documents.append(known[row["_index_"]]["document"])
    table = pa.Table.from_pylist(rows, SCHEMA)
    found = stats.proportion(table["verdict"], cluster=documents, error=table["failed"])
    stats.score("accuracy", found, "of answers are as expected")
    yield from table.to_batches()
