"""Calibration. `answered`: `_index_`, `confidence` from 0 to 1, and `verdict`; null where there is none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from dyff import stats


def calibration(arguments: dict[str, str], answered: Any) -> Iterator[pa.RecordBatch]:
    """Store the Brier score and the overconfidence, and yield how many items they rest on."""
    rows = answered.to_table().to_pylist()
    items = [row["_index_"] for row in rows]
    both = [None not in (row["confidence"], row["verdict"]) for row in rows]
    squares = [(row["confidence"] - row["verdict"]) ** 2 if known else None for row, known in zip(rows, both, strict=True)]
    brier = stats.mean(squares, cluster=items)
    above = stats.paired_difference([row["confidence"] for row in rows], [row["verdict"] for row in rows], cluster=items)
    stats.score("brier", brier, "mean squared distance of confidence and truth")
    stats.score("overconfidence", above, "mean confidence minus the share of right answers")
    yield pa.RecordBatch.from_pylist([{"items": brier.n}])
