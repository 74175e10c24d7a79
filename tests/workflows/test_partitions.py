"""What of files and folders reaches the service: partitions as they were declared, every row of every file."""

from __future__ import annotations

import base64
import json
from typing import Any

import pyarrow as pa
import pytest

from tests.arrow_types import schema_of
from tests.workflows import runs

INDEX = ("_index_", pa.int64())
MS, US = pa.timestamp("ms"), pa.timestamp("us")


def manifest(store, schema: pa.Schema | None) -> None:
    """Write the manifest of the dataset as sealing does; without a schema as older releases did."""
    root = store.objects / "datasets" / runs.DATASET
    files = [file for file in root.rglob("*") if file.is_file() and file.parent.name != ".dyff"]
    listed = [
        {"path": file.relative_to(root).as_posix(), "key": file.relative_to(store.objects).as_posix(), "size": file.stat().st_size}
        for file in sorted(files)
    ]
    found: dict[str, Any] = {"artifacts": listed}
    if schema is not None:
        found["schema"] = base64.b64encode(schema.serialize().to_pybytes()).decode()
    (root / ".dyff").mkdir(exist_ok=True)
    (root / ".dyff" / "artifacts.json").write_text(json.dumps(found))


def sent(store, steps, field: str) -> tuple[runs.Run, list[str]]:
    """Evaluate with a field of each row as the prompt; the end, and the prompts as JSON. A text is as it is."""
    inputs = [{"kind": "TransformJSON", "configuration": {"prompt": f"$.{field}"}}]
    with runs.a_service(lambda prompt, tries: 200) as (url, seen):
        ended = steps.evaluate(url, inputs=inputs)
    return ended, sorted(seen.elements())


@pytest.mark.parametrize(
    ("folders", "kind", "want"),
    [
        (["zip=01234", "zip=5"], pa.string(), ["01234", "5"]),
        (["zip=01234", "zip=5"], pa.large_string(), ["01234", "5"]),
        (["zip=01234", "zip=5"], pa.dictionary(pa.int32(), pa.string()), ["01234", "5"]),
        (["zip=01234", "zip=5"], pa.int32(), ["1234", "5"]),
        (["zip=01234", "zip=5"], pa.float64(), ["1234.0", "5.0"]),
        (["zip=1", "zip=__HIVE_DEFAULT_PARTITION__"], pa.string(), ["1", "null"]),
        (["zip=1", "other"], pa.string(), ["1", "null"]),
        (["zip=1e5", "zip=0x10"], pa.string(), ["0x10", "1e5"]),
    ],
    ids=str,
)
def test_a_value_of_a_path_arrives_as_declared(store, steps, folders, kind, want):
    """As text if the schema says text. What the folder looks like decides nothing."""
    for number, name in enumerate(folders):
        store.dataset(runs.rows(1, number), name=f"{name}/part.parquet")
    manifest(store, pa.schema([INDEX, ("text", pa.string()), ("zip", kind)]))
    ended, found = sent(store, steps, "zip")
    assert ended.code == 0, ended
    assert found == want


def test_a_column_of_the_path_that_nobody_declared_keeps_its_text(store, steps):
    """It arrives after the declared ones."""
    store.dataset(runs.rows(1), name="zip=01234/part.parquet")
    manifest(store, schema_of(INDEX, ("text", pa.string())))
    ended, found = sent(store, steps, "zip")
    assert (ended.code, found) == (0, ["01234"])


def test_a_dataset_of_an_older_release_is_read_as_it_was(store, steps):
    """Its manifest has no schema, so the types are those that Arrow guesses."""
    store.dataset(runs.rows(1), name="zip=01234/part.parquet")
    manifest(store, None)
    ended, found = sent(store, steps, "zip")
    assert (ended.code, found) == (0, ["1234"])


def test_rows_of_all_files_are_sent(store, steps):
    """Whatever the names of files and folders, and also without a row in the first; the outputs are complete."""
    names = ["_a.parquet", "_b/c", "d.PARQUET", "e", "f/.g"]
    store.dataset(pa.table({"_index_": pa.array([], pa.int64()), "text": pa.array([], pa.string())}), name="0.parquet")
    for number, name in enumerate(names):
        store.dataset(runs.rows(2, 2 * number), name=name)
    manifest(store, schema_of(INDEX, ("text", pa.string())))
    ended, found = sent(store, steps, "text")
    assert ended.code == 0, ended
    assert found == sorted(f"prompt number {n}" for n in range(10))
    assert steps.verify().code == 0
    assert runs.pairs(store.verified().to_pylist()) == runs.all_pairs(range(10))


def test_columns_in_another_order_and_of_nothing_but_nulls(store, steps):
    """Names decide; a column without values has no type of its own."""
    store.dataset(pa.table({"text": ["a"], "_index_": [0]}), name="a.parquet")
    store.dataset(pa.table({"_index_": [1], "text": pa.array([None])}), name="b.parquet")
    manifest(store, schema_of(INDEX, ("text", pa.string())))
    ended, found = sent(store, steps, "text")
    assert (ended.code, found) == (0, ["a", "null"])


def test_times_in_several_units_are_sent_as_they_are(store, steps):
    """Files may have other units than the schema: none is rounded to it."""
    store.dataset(pa.table({"_index_": [0], "t": pa.array([1_500], MS)}), name="a.parquet")
    store.dataset(pa.table({"_index_": [1], "t": pa.array([2_500_002], US)}), name="b.parquet")
    manifest(store, pa.schema([INDEX, ("t", pa.timestamp("s"))]))
    ended, found = sent(store, steps, "t")
    assert ended.code == 0, ended
    assert found == ["1970-01-01T00:00:01.500000", "1970-01-01T00:00:02.500002"]


def test_a_column_that_says_something_else_than_the_path_ends_the_run(store, steps):
    """With the file and the column, and without a wrong request: neither of the two values is known to be right."""
    store.dataset(pa.table({"_index_": [0, 1], "n": [1, 2]}), name="n=1/a.parquet")
    manifest(store, pa.schema([INDEX, ("n", pa.int64())]))
    ended, found = sent(store, steps, "n")
    assert (ended.code, found) == (65, [])
    assert "'n=1/a.parquet' has the column 'n', which is 1 in the path, and something else in the file" in ended.last


def test_a_column_that_says_the_same_as_the_path_is_fine(store, steps):
    """Some writers keep it in the files too."""
    store.dataset(pa.table({"_index_": [0], "n": pa.array(["01"]).dictionary_encode()}), name="n=01/a.parquet")
    manifest(store, schema_of(INDEX, ("n", pa.string())))
    ended, found = sent(store, steps, "n")
    assert (ended.code, found) == (0, ["01"])


def test_an_index_twice_is_reported_before_the_first_request(store, steps):
    """With its value, the files and the rows."""
    store.dataset(pa.table({"_index_": [5, 3], "text": ["a", "b"]}), name="a.parquet")
    store.dataset(pa.table({"_index_": [4, 6, 3], "text": ["a", "b", "c"]}), name="b.parquet")
    manifest(store, schema_of(INDEX, ("text", pa.string())))
    ended, found = sent(store, steps, "text")
    assert (ended.code, found) == (65, [])
    assert "such as 3 (in row 1 of 'a.parquet' and row 2 of 'b.parquet', counted from 0)" in ended.last


def test_a_damaged_schema_is_reported(store, steps):
    """The run does not guess another one."""
    store.dataset(runs.rows(1))
    manifest(store, pa.schema([INDEX]))
    file = store.objects / "datasets" / runs.DATASET / ".dyff" / "artifacts.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "schema": "bm8gc2NoZW1h"}))
    ended, found = sent(store, steps, "text")
    assert (ended.code, found) == (65, [])
    assert "The schema of the dataset" in ended.last
