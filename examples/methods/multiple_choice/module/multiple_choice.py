"""Multiple choice: the last capital letter from A to E that stands alone is the answer. Inputs as of exact_match."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dyff import stats

SCHEMA = pa.schema(
    [
        ("_index_", pa.int64()), ("_replication_", pa.string()), ("letter", pa.string()), ("accuracy", pa.bool_()),
        ("answered", pa.bool_()), ("_error_", pa.bool_()), ("_cluster_", pa.string()),
    ]
)  # fmt: skip


def letter(answer: str) -> str | None:
    """The letter that an answer gives; None if it gives none."""
    found = re.findall(r"\b([A-E])\b", answer)
    return found[-1] if found else None


def multiple_choice(arguments: dict[str, str], items: Any, outputs: Any) -> Iterator[pa.RecordBatch]:
    """Yield a row for each answer, and store the accuracy and how many could be read."""
    known = {row["_index_"]: row for row in items.to_table().to_pylist()}
    rows = []
    for row in outputs.to_table().to_pylist():
        text = row["responses"][0]["text"] if row["responses"] else None
        chosen = None if text is None else letter(text)
        verdict = None if chosen is None else chosen == known[row["_index_"]]["answer"]
        answered = None if text is None else chosen is not None
        given = {"letter": chosen, "accuracy": verdict, "answered": answered, "_error_": text is None}
        key = {"_index_": row["_index_"], "_replication_": row["_replication_"], "_cluster_": known[row["_index_"]]["document"]}
        rows.append({**key, **given})
    table = pa.Table.from_pylist(rows, SCHEMA)
    common = {"cluster": table["_cluster_"], "error": table["_error_"]}
    stats.score("accuracy", stats.proportion(table["accuracy"], **common), "of readable answers are right")
    stats.score("answered", stats.proportion(table["answered"], **common), "of answers give a letter")
    yield from table.to_batches()
