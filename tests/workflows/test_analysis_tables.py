"""Parquet files of a measurement against the schema that its method declares."""

from __future__ import annotations

import msgspec
import pyarrow as pa
import pyarrow.parquet
import pytest

from dyff.workflows import analysis_tables
from tests.arrow_types import schema_of
from tests.entities.bodies import arrow
from tests.narrowing import sure
from tests.workflows import analyses

ROW = analyses.ROW
REPLICATED = schema_of(("_index_", pa.int64()), ("_replication_", pa.string()), ("label", pa.string()))
STRICT = pa.schema([
    pa.field("_index_", pa.int64(), nullable=False),
    pa.field("s", pa.struct([pa.field("inner", pa.int64(), nullable=False)])),
    pa.field("l", pa.list_(pa.field("item", pa.int64(), nullable=False))),
])  # fmt: skip


@pytest.fixture
def out(tmp_path):
    return analyses.Out(tmp_path)


def check(out, schema=ROW, level="Instance"):
    """The answer about all files of the output."""
    paths = sorted(str(file.relative_to(out.output)) for file in out.output.rglob("*.parquet"))
    needed = analysis_tables.required(schema, level)
    request = analysis_tables.Request(str(out.root), f"root/{analyses.ID}", paths, arrow(schema), needed)
    return msgspec.json.decode(analysis_tables.serve(msgspec.json.encode(request)), type=analysis_tables.Answer)


def test_rows_that_fit(out):
    """In several files, and with several rows of one item: the published packages do not forbid that."""
    out.table()
    out.table([{"_index_": 1, "length": None}, {"_index_": 1, "length": 0.0}], name="part-1.parquet")
    assert check(out) == analysis_tables.Answer(rows=4)


def test_no_rows_fit(out):
    """A table can be empty."""
    out.table([])
    assert check(out) == analysis_tables.Answer(rows=0)


def test_how_a_column_is_kept_makes_no_difference(out):
    """Dictionaries and large strings have the same values."""
    text = pa.array(["a", "b"]).dictionary_encode()
    out.table(pa.table({"_index_": [0, 1], "_replication_": ["r", "r"], "label": text}))
    out.table(pa.table({"_index_": [0], "_replication_": ["r"], "label": pa.array(["a"], pa.large_string())}), name="part-1.parquet")
    assert check(out, REPLICATED) == analysis_tables.Answer(rows=3)


def test_columns_can_come_from_folders(out):
    """As in datasets; a value that is not there is null."""
    rows = pa.table({"_index_": [0, 1], "label": ["a", "b"]})
    out.table(rows, name="_replication_=r/part-0.parquet")
    assert check(out, REPLICATED) == analysis_tables.Answer(rows=2)
    out.table(rows, name="_replication_=__HIVE_DEFAULT_PARTITION__/part-0.parquet")
    assert "has rows without a value of '_replication_'" in check(out, REPLICATED).problem


WRONG = {
    "another type": ({"_index_": [0], "length": ["x"]}, ROW, "the field 'length' should be double, but is string"),
    "a column is missing": ({"_index_": [0]}, ROW, "the field 'length' should be double, but is missing"),
    "a column more": ({"_index_": [0], "length": [1.0], "x": [1]}, ROW, "the field 'x', which is int64, is not declared"),
    "no index": ({"_index_": [0, None], "length": [1.0, 1.0]}, ROW, "has rows without a value of '_index_', which must not be null"),
    "only nulls": ({"_index_": pa.nulls(2), "length": [1.0, 1.0]}, ROW, "without a value of '_index_'"),
    "no replication": ({"_index_": [0], "_replication_": pa.array([None], pa.string()), "label": ["x"]}, REPLICATED, "'_replication_'"),
    "inner null": ({"_index_": [0], "s": [{"inner": None}], "l": [[1]]}, STRICT, "without a value of 's.inner'"),
    "null in a list": ({"_index_": [0], "s": [{"inner": 1}], "l": [[1, None]]}, STRICT, "without a value of 'l.item'"),
}


@pytest.mark.parametrize(("columns", "schema", "message"), WRONG.values(), ids=WRONG)
def test_rows_that_do_not_fit(out, columns, schema, message):
    """The message names the file, the column, and the fix."""
    given = {
        name: values if isinstance(values, pa.Array) else pa.array(values, _kind(schema, name, values)) for name, values in columns.items()
    }
    out.table(pa.table(given))
    problem = check(out, schema).problem
    assert problem.startswith("The output file 'part-0.parquet' ")
    assert message in problem
    assert problem.endswith("with the schema that the method declares in output.measurement.schema.")


def _kind(schema, name, values):
    """The declared type, with nullable parts; None if the values are of another one."""
    if name == "s":
        return pa.struct([("inner", pa.int64())])
    if name == "l":
        return pa.list_(pa.int64())
    return schema.field(name).type if name in schema.names and not isinstance(values[0], str) else None


def test_what_is_null_as_a_whole_has_no_parts(out):
    """Parts that must not be null are only looked at in values that are there."""
    rows = {
        "_index_": [0, 1],
        "s": pa.array([None, {"inner": 1}], _kind(STRICT, "s", [])),
        "l": pa.array([None, []], _kind(STRICT, "l", [])),
    }
    out.table(pa.table(rows))
    assert check(out, STRICT, "Dataset") == analysis_tables.Answer(rows=2)


def test_rows_about_a_whole_dataset_need_no_index(out):
    """Only the level Instance does."""
    out.table([{"_index_": None, "length": 1.0}])
    assert check(out, level="Dataset").rows == 1
    assert analysis_tables.required(schema_of(("x", pa.int64())), "Instance") == ["_index_"]


def test_text_that_is_not_unicode(out):
    """No reader could show it."""
    bad = pa.Array.from_buffers(pa.string(), 1, pa.array([b"\xff"]).buffers())
    out.table(pa.table({"_index_": [0], "_replication_": ["r"], "label": bad}), use_dictionary=False)
    assert "cannot be read" in check(out, REPLICATED).problem


DAMAGE = {
    "empty": lambda data: b"",
    "text": lambda data: b"index,length\n" * 100,
    "cut": lambda data: data[:-9],
    "encrypted": lambda data: data[:-4] + b"PARE",
    "footer of nothing": lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1",
    "a page": lambda data: data[:4] + bytes(60) + data[64:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file(out, damage):
    """It is named, whatever Arrow makes of it."""
    out.table()
    file = out.output / "part-0.parquet"
    file.write_bytes(damage(file.read_bytes()))
    assert "part-0.parquet" in check(out).problem


@pytest.mark.parametrize(
    ("error", "said"), [(RuntimeError("odd\nbytes"), "cannot be read: odd."), (KeyError(), "cannot be read: KeyError.")]
)
def test_whatever_arrow_raises_is_a_problem_of_the_file(out, monkeypatch, error, said):
    """Hostile bytes can lead anywhere."""

    def read(file):
        raise error

    monkeypatch.setattr(analysis_tables, "_batches", read)
    out.table()
    assert f"'part-0.parquet' {said}" in check(out).problem


def test_memory_that_is_not_there_is_a_problem_of_the_file(out, monkeypatch):
    """Arrow raises it for a size that a file only claims, too."""

    def read(file):
        raise pa.ArrowMemoryError("malloc of size 1 failed")

    monkeypatch.setattr(analysis_tables, "_batches", read)
    out.table()
    assert "needs too much memory" in check(out).problem


def test_few_bytes_can_be_much_text(out):
    """Rows that repeat a long text are not unfolded to look at them."""
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 100_000, pa.int32()), pa.array(["x" * 100_000]))
    rows = pa.table({"_index_": range(100_000), "_replication_": ["r"] * 100_000, "label": text})
    out.table(rows)
    assert (out.output / "part-0.parquet").stat().st_size < 2**20
    before = pa.total_allocated_bytes()
    assert check(out, REPLICATED) == analysis_tables.Answer(rows=100_000)
    assert sure(pa.default_memory_pool().max_memory()) - before < 2**28
