"""Consistency over replications. `scored`: `_index_`, `_replication_`, `accuracy`, null where there is none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dyff import stats

SCHEMA = pa.schema([("_index_", pa.int64()), ("answers", pa.int64()), ("consistent", pa.bool_())])


def consistency(arguments: dict[str, str], scored: Any) -> Iterator[pa.RecordBatch]:
    """Yield a row for each item, and store the share of consistent ones. An item with fewer than two verdicts is not scored."""
    table = scored.to_table()
    verdicts = defaultdict(list)
    for row in table.to_pylist():
        verdicts[row["_index_"]] += [] if row["accuracy"] is None else [row["accuracy"]]
    rows = [{"_index_": index, "answers": len(all_of), "consistent": len(set(all_of)) == 1} for index, all_of in verdicts.items()]
    for row in rows:
        row["consistent"] = row["consistent"] if row["answers"] > 1 else None
    made = pa.Table.from_pylist(rows, SCHEMA)
    stats.score("consistent", stats.proportion(made["consistent"]), "of items get the same verdict every time")
    parts = stats.variance_components(table["accuracy"], table["_index_"])
    print(f"variance within items {parts.within}, between items {parts.between}")
    yield from made.to_batches()
