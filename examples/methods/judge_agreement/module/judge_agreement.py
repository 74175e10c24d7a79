"""Agreement of a judge and people. `judged`: `_index_`, `verdict` of the judge. `people`: `_index_`, `verdict`, for a random sample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dyff import stats

SCHEMA = pa.schema([("_index_", pa.int64()), ("judge", pa.bool_()), ("person", pa.bool_())])


def judge_agreement(arguments: dict[str, str], judged: Any, people: Any) -> Iterator[pa.RecordBatch]:
    """Yield a row for each item with both verdicts, and store what people would have said of all, and kappa."""
    of_people = {row["_index_"]: row["verdict"] for row in people.to_table().to_pylist()}
    rows = [
        {"_index_": row["_index_"], "judge": row["verdict"], "person": of_people.get(row["_index_"])}
        for row in judged.to_table().to_pylist()
    ]
    table = pa.Table.from_pylist(rows, SCHEMA)
    corrected = stats.judge_corrected_mean(table["judge"], table["person"])
    print(f"the judge alone: {corrected.judge:.3f}, its bias: {corrected.bias:+.3f}, its weight: {corrected.weight:.2f}")
    stats.score("corrected", corrected.estimate, "of answers would be accepted by people")
    stats.score("kappa", stats.cohen_kappa(table["judge"], table["person"]), "agreement of judge and people beyond chance")
    yield from table.to_batches()
