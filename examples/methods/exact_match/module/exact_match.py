"""Accuracy by exact match, with clusters.

`items`: `_index_`, `answer`, `document`. `outputs`: of an evaluation. An item without an answer is an error, and no wrong answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dyff import stats

SCHEMA = pa.schema(
    [
        ("_index_", pa.int64()), ("_replication_", pa.string()),
        ("accuracy", pa.bool_()), ("_error_", pa.bool_()), ("_cluster_", pa.string()),
    ]
)  # fmt: skip
"""A column with the name of the score, so that systems can be compared (docs/statistics.md)."""


def same(answer: str, expected: str) -> bool:
    """Whether they are equal, but for case, spaces, and a full stop at the end."""
    return " ".join(answer.split()).casefold().rstrip(".") == " ".join(expected.split()).casefold().rstrip(".")


def exact_match(arguments: dict[str, str], items: Any, outputs: Any) -> Iterator[pa.RecordBatch]:
    """Yield a row for each answer, and store the accuracy."""
    known = {row["_index_"]: row for row in items.to_table().to_pylist()}
    rows = []
    for row in outputs.to_table().to_pylist():
        text = row["responses"][0]["text"] if row["responses"] else None
        verdict = None if text is None else same(text, known[row["_index_"]]["answer"])
        given = {"accuracy": verdict, "_error_": text is None, "_cluster_": known[row["_index_"]]["document"]}
        rows.append({"_index_": row["_index_"], "_replication_": row["_replication_"], **given})
    table = pa.Table.from_pylist(rows, SCHEMA)
    found = stats.proportion(table["accuracy"], cluster=table["_cluster_"], error=table["_error_"])
    stats.score("accuracy", found, "of answers are as expected")
    yield from table.to_batches()
