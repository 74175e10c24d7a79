"""What the footers of Parquet files reveal before anyone reads a row."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dyff.adapters import file_ends, footers
from tests.sdk import small_datasets

FIELDS: list[pa.Field[Any]] = [pa.field("_index_", pa.int64()), pa.field("text", pa.string())]
SCHEMA = pa.schema(FIELDS)


def written(table: pa.Table, **options: Any) -> tuple[bytes, int]:
    """The footer of a file with this table, and the file's size."""
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    data = file.getvalue()
    return data[-file_ends.length(data[-8:]) :], len(data)


def rows(*indices: int | None, **columns: Any) -> pa.Table:
    return pa.table({"_index_": pa.array(indices, pa.int64()), "text": [str(each) for each in indices], **columns})


def looked(table: pa.Table, path: str = "a.parquet", schema: pa.Schema = SCHEMA, **options: Any) -> footers.Found:
    return footers.Footers(schema, frozenset()).look(path, *written(table, **options))


def test_a_file_that_fits_has_its_rows_and_no_problem():
    """Also one without any row."""
    assert looked(rows(1, 2, 3)) == footers.Found(3, [])
    assert looked(rows()) == footers.Found(0, [])


@pytest.mark.parametrize("footer", [b"", b"PAR1", b"\xff" * 100, written(rows(1))[0][:-20] + b"\0" * 12 + b"\4\0\0\0PAR1"])
def test_what_is_no_footer_is_a_problem_and_no_error(footer):
    """Hostile bytes end no program."""
    found = footers.Footers(SCHEMA, frozenset()).look("a", footer, 1000)
    assert found.rows == 0
    assert found.problems[0].startswith("cannot be read as a Parquet file (")


def test_a_file_that_was_cut_is_damaged():
    """Its footer is whole, and says that more data is before it than there is."""
    footer, size = written(rows(1, 2))
    (problem,) = footers.Footers(SCHEMA, frozenset()).look("a", footer, size - 30).problems
    assert "a part of its data is missing" in problem


def test_a_listing_of_other_files_is_named():
    """`_metadata` has the rows of others."""
    metadata: list[Any] = []
    file = io.BytesIO()
    pq.write_table(rows(1), file, metadata_collector=metadata)
    metadata[0].set_file_path("part-0.parquet")
    listing = io.BytesIO()
    metadata[0].write_metadata_file(listing)
    data = listing.getvalue()
    found = footers.Footers(SCHEMA, frozenset()).look("_metadata", data[-file_ends.length(data[-8:]) :], len(data))
    assert found.is_listing
    assert "leave it out" in found.problems[0]


@pytest.mark.parametrize("plaintext_footer", [True, False])
def test_an_encrypted_file_is_named(plaintext_footer):
    """Whether or not its footer is in plain text: Arrow would end the process at a look at its columns."""
    data = small_datasets.encrypted(rows(1), plaintext_footer=plaintext_footer)
    found = footers.Footers(SCHEMA, frozenset()).look("a", data[-file_ends.length(data[-8:]) :], len(data))
    assert found == footers.Found(0, ["is an encrypted Parquet file, which cannot be read here"])


def test_a_compression_that_cannot_be_read_is_named():
    """The format knows LZO, which no reader here has."""
    footer, size = written(rows(*range(100)), compression="snappy", use_dictionary=False)
    snappy, lzo = b"\x15\x02\x16\xc8\x01", b"\x15\x06\x16\xc8\x01"  # the codec of a column, followed by its 100 values
    assert footer.count(snappy) == 2
    (problem,) = footers.Footers(SCHEMA, frozenset()).look("a", footer.replace(snappy, lzo), size).problems
    assert problem == "is compressed with LZO, which cannot be read here"


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ([rows(1, 2), rows(3)], None),
        ([rows(1, None)], "has 1 rows without an _index_"),
        ([rows(1, 2), rows(2, 3)], "has the _index_ 2 of 'a0' again"),
        ([rows(1, 1, 2)], "has 3 rows whose _index_ is from 1 to 2"),
        ([rows(0, 9), rows(1, 2, 3, 4, 5, 8), rows(6, 7, 7)], "has 3 rows whose _index_ is from 6 to 7"),
        ([rows(0, 1, 2, 9), rows(3, 4, 5, 6, 8), rows(2, 4, 7)], "is one of several files with 12 rows"),
    ],
)
def test_indices_that_occur_twice_or_not_at_all_show_in_statistics(tables, words):
    """Only what is certain is a problem, with the file it concerns."""
    subject = footers.Footers(SCHEMA, frozenset())
    problems = [each for number, table in enumerate(tables) for each in subject.look(f"a{number}", *written(table)).problems]
    assert problems == [] if words is None else words in problems[0]


def test_without_statistics_nothing_is_certain():
    """A file need not have any; and where the indices themselves are read, they are not looked at."""
    twice = rows(1, 1)
    assert looked(twice, write_statistics=False).problems == []
    assert footers.Footers(SCHEMA, frozenset(), indices=False).look("a", *written(twice)).problems == []


def test_only_so_many_indices_are_remembered(monkeypatch):
    """The memory is bounded; what is not remembered is not reported, and later files are still counted."""
    monkeypatch.setattr(footers, "MAX_SEEN", 2)
    subject = footers.Footers(SCHEMA, frozenset())
    problems = [
        subject.look(f"a{number}", *written(table)).problems for number, table in enumerate([rows(1, 5), rows(9, 20), rows(9), rows(5)])
    ]
    assert problems[:3] == [[], [], []]
    assert "has the _index_ 5 of 'a0' again" in problems[3][0]


PARTED = pa.schema([*FIELDS, pa.field("n", pa.int32())])


@pytest.mark.parametrize(
    ("path", "columns", "words"),
    [
        ("n=3/a.parquet", {}, None),
        ("n=x/a.parquet", {}, "should be int32, but is 'x' in the path"),
        ("n=3/a.parquet", {"n": pa.array([3, 3], pa.int32())}, None),
        ("n=3/a.parquet", {"n": pa.array([4, 4], pa.int32())}, "is '3' in the path and something else in the file"),
    ],
)
def test_what_a_path_gives_must_be_what_is_declared_and_what_is_in_the_file(path, columns, words):
    """A path such as `n=3/` gives a column."""
    found = footers.Footers(PARTED, frozenset({"n"})).look(path, *written(rows(1, 2, **columns)))
    assert found.problems == [] if words is None else any(words in each for each in found.problems)


@pytest.mark.parametrize(
    ("kind", "path", "values", "options"),
    [
        (pa.int32(), "n=3/a", [4, 4], {"write_statistics": False}),
        (pa.int32(), "n=__HIVE_DEFAULT_PARTITION__/a", [None, None], {}),
        (pa.float16(), "n=1.5/a", [2.5, 2.5], {}),
    ],
    ids=str,
)
def test_where_statistics_do_not_tell_the_rows_are_left_to_their_reader(kind, path, values, options):
    """There may be none, or of another type than the values. Who reads the rows compares them."""
    schema = pa.schema([*FIELDS, pa.field("n", kind)])
    table = rows(1, 2, n=pa.array(values, kind))
    assert footers.Footers(schema, frozenset({"n"})).look(path, *written(table, **options)).problems == []


def test_an_index_in_the_path_is_the_index_of_every_row():
    """So such a file has one row, and not the index of another one; one without rows has no index."""
    text = pa.table({"text": ["a"]})
    subject = footers.Footers(SCHEMA, frozenset({"_index_"}))
    assert subject.look("_index_=1/a", *written(text)).problems == []
    assert "has the _index_ 1 of '_index_=1/a' again" in subject.look("_index_=1/b", *written(text)).problems[0]
    assert subject.look("_index_=1/c", *written(text[:0])).problems == []
    assert "without an _index_" in subject.look("_index_=__HIVE_DEFAULT_PARTITION__/b", *written(text)).problems[0]
