"""The mean length of the words of each prompt and of its answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from dyff import stats

SCHEMA = pa.schema(
    [
        ("_index_", pa.int64()),
        ("_replication_", pa.string()),
        ("prompt_word_length", pa.float64()),
        ("answer_word_length", pa.float64()),
    ]
)
"""As in method.toml."""


def mean_length(texts: Iterable[str], shortest: int = 1) -> float:
    """Return the mean length of the words of all texts; 0 if there are none. `shortest`: words with fewer letters do not count."""
    lengths = [len(word) for text in texts for word in text.split() if len(word) >= shortest]
    return sum(lengths) / len(lengths) if lengths else 0.0


def word_length(arguments: dict[str, str], prompts: Any, outputs: Any) -> Iterator[pa.RecordBatch]:
    """Yield rows with the schema above, and store the score.

    `arguments`: the values of the parameters, always text. `prompts`, `outputs`: the inputs, each a pyarrow.dataset.Dataset.
    """
    shortest = int(arguments["shortest"])
    of_index = {row["_index_"]: row["text"] for batch in prompts.to_batches() for row in batch.to_pylist()}
    rows = [
        {
            "_index_": row["_index_"],
            "_replication_": row["_replication_"],
            "prompt_word_length": mean_length([of_index[row["_index_"]]], shortest),
            "answer_word_length": mean_length([each["text"] or "" for each in row["responses"] or []], shortest),
        }
        for row in outputs.to_table().to_pylist()
    ]
    table = pa.Table.from_pylist(rows, SCHEMA)
    # The interval rests on the number of items: several answers to one item are not independent, so they are a cluster.
    stats.score("answer_length", stats.mean(table["answer_word_length"], cluster=table["_index_"]), "letters in the words of an answer")
    yield from table.to_batches()
