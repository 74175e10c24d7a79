"""Robustness to paraphrase, paired. `items`: `_index_`, `paraphrase_of` (null for an original). `scored`: `_index_`, `accuracy`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dyff import stats

SCHEMA = pa.schema([("_index_", pa.int64()), ("original", pa.float64()), ("paraphrased", pa.float64()), ("loss", pa.float64())])


def average(verdicts: list[bool]) -> float | None:
    """The share of right ones; None if there are none."""
    return sum(verdicts) / len(verdicts) if verdicts else None


def paraphrases(arguments: dict[str, str], items: Any, scored: Any) -> Iterator[pa.RecordBatch]:
    """Yield a row for each original with the share of right answers to it and to its paraphrases, and store the mean difference."""
    original_of = {row["_index_"]: row["paraphrase_of"] for row in items.to_table().to_pylist()}
    original, paraphrased = defaultdict(list), defaultdict(list)
    for row in scored.to_table().to_pylist():
        of = original_of[row["_index_"]]
        if row["accuracy"] is not None:
            (original if of is None else paraphrased)[row["_index_"] if of is None else of].append(row["accuracy"])
    indices = [index for index, of in original_of.items() if of is None]
    rows = [{"_index_": each, "original": average(original[each]), "paraphrased": average(paraphrased[each])} for each in indices]
    for row in rows:
        row["loss"] = None if None in (row["original"], row["paraphrased"]) else row["original"] - row["paraphrased"]
    table = pa.Table.from_pylist(rows, SCHEMA)
    stats.score("loss", stats.paired_difference(table["original"], table["paraphrased"]), "accuracy lost by paraphrasing")
    yield from table.to_batches()
