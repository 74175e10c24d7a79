"""The measurement of the tutorial: how long the words of prompts and of their completions are."""

import pyarrow as pa

ROW = pa.schema([("_index_", pa.int64()), ("_replication_", pa.string()), ("prompt", pa.float64()), ("completion", pa.float64())])


def mean_length(text, shortest):
    """The mean length of the words that have at least `shortest` letters; 0 if there are none."""
    lengths = [len(word) for word in text.split() if len(word) >= shortest]
    return sum(lengths) / len(lengths) if lengths else 0.0


def word_lengths(arguments, *, prompts, outputs):
    """One row for each completion: the mean length of its words, and of the words of its prompt."""
    shortest = int(arguments["shortest"])  # arguments are always strings
    texts = {row["_index_"]: row["text"] for row in prompts.to_table().to_pylist()}
    print(f"{len(texts)} prompts; words of {shortest} letters or more count")
    for batch in outputs.to_batches():
        rows = []
        for output in batch.to_pylist():
            completion = " ".join(response["text"] for response in output["responses"])
            rows.append(
                {
                    "_index_": output["_index_"],
                    "_replication_": output["_replication_"],
                    "prompt": mean_length(texts[output["_index_"]], shortest),
                    "completion": mean_length(completion, shortest),
                }
            )
        yield pa.RecordBatch.from_pylist(rows, schema=ROW)
