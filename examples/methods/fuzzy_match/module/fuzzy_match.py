"""Shared words of answers and expected answers (F1, as of SQuAD). Inputs as of exact_match."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dyff import stats

SCHEMA = pa.schema(
    [("_index_", pa.int64()), ("_replication_", pa.string()), ("f1", pa.float64()), ("_error_", pa.bool_()), ("_cluster_", pa.string())]
)


def f1(answer: str, expected: str) -> float:
    """The harmonic mean of the shares of words of each that the other has, too; 1 if both have none."""
    said, wanted = (Counter(re.findall(r"\w+", text.casefold())) for text in (answer, expected))
    if not said or not wanted:
        return float(said == wanted)
    return 2 * (said & wanted).total() / (said.total() + wanted.total())


def fuzzy_match(arguments: dict[str, str], items: Any, outputs: Any) -> Iterator[pa.RecordBatch]:
    """Yield a row for each answer, and store the mean."""
    known = {row["_index_"]: row for row in items.to_table().to_pylist()}
    rows = []
    for row in outputs.to_table().to_pylist():
        text = row["responses"][0]["text"] if row["responses"] else None
        score = None if text is None else f1(text, known[row["_index_"]]["answer"])
        given = {"f1": score, "_error_": text is None, "_cluster_": known[row["_index_"]]["document"]}
        rows.append({"_index_": row["_index_"], "_replication_": row["_replication_"], **given})
    table = pa.Table.from_pylist(rows, SCHEMA)
    found = stats.bootstrap(table["f1"], cluster=table["_cluster_"], error=table["_error_"])
    stats.score("f1", found, "mean F1 of words")
    yield from table.to_batches()
