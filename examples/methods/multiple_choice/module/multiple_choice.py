"""Multiple choice: the last capital letter from A to E that stands alone is the answer. Inputs as of exact_match."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dyff import stats

SCHEMA = pa.schema(
    [("_index_", pa.int64()), ("_replication_", pa.string()), ("letter", pa.string()), ("verdict", pa.bool_()), ("failed", pa.bool_())]
)


def letter(answer: str) -> str | None:
    """The letter that an answer gives; None if it gives none."""
    found = re.findall(r"\b([A-E])\b", answer)
    return found[-1] if found else None


def multiple_choice(arguments: dict[str, str], items: Any, outputs: Any) -> Iterator[pa.RecordBatch]:
    """Yield a row for each answer, and store the accuracy and how many could be read."""
    known = {row["_index_"]: row for row in items.to_table().to_pylist()}
    rows, documents = [], []
    for row in outputs.to_table().to_pylist():
        text = row["responses"][0]["text"] if row["responses"] else None
        chosen = None if text is None else letter(text)
        verdict = None if chosen is None else chosen == known[row["_index_"]]["answer"]
        given = {"letter": chosen, "verdict": verdict, "failed": text is None}
        rows.append({"_index_": row["_index_"], "_replication_": row["_replication_"], **given})
        documents.append(known[row["_index_"]]["document"])
    table = pa.Table.from_pylist(rows, SCHEMA)
    failed = table["failed"]
    answered = [None if each["failed"] else each["letter"] is not None for each in rows]
    stats.score("accuracy", stats.proportion(table["verdict"], cluster=documents, error=failed), "of readable answers are right")
    stats.score("answered", stats.proportion(answered, cluster=documents, error=failed), "of answers give a letter")
    yield from table.to_batches()
