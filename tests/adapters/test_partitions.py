"""Columns in paths are read in one way: as text, with the declared type, and null where Hive writes no value."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dyff.adapters import arrow_schemas, partitions

UNTYPED: Any = pa
"""For calls that Arrow takes and its types do not."""
JSON = UNTYPED.json_()


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("a.parquet", {}),
        ("a/b/c", {}),
        ("n=1/a", {"n": "1"}),
        ("x/n=1/y/m=x=y/o=2.parquet", {"n": "1", "m": "x=y"}),
        ("n=/a", {"n": ""}),
        ("=1/a", {}),
        ("n=__HIVE_DEFAULT_PARTITION__/a", {"n": None}),
        ("_index_=1/_a", {"_index_": "1"}),
    ],
)
def test_the_columns_of_a_path(path, want):
    """A folder `name=value` is one; a file's own name and a folder without a name are none."""
    assert partitions.given(path) == want


@pytest.mark.parametrize(
    ("text", "kind", "want"),
    [
        ("01234", pa.string(), "01234"),
        ("01234", pa.large_string(), "01234"),
        ("01234", pa.dictionary(pa.int32(), pa.string()), "01234"),
        ("{}", JSON, "{}"),
        ("01234", pa.int32(), 1234),
        ("01234", pa.int64(), 1234),
        ("-5", pa.int8(), -5),
        ("1.50", pa.decimal128(5, 2), Decimal("1.50")),
        ("1.5", pa.float64(), 1.5),
        ("true", pa.bool_(), True),
        ("2024-02-29", pa.date32(), date(2024, 2, 29)),
        ("2024-02-29 10:30", pa.timestamp("us"), datetime(2024, 2, 29, 10, 30, tzinfo=UTC).replace(tzinfo=None)),
        ("2024-02-29 10:30", pa.timestamp("us", "UTC"), datetime(2024, 2, 29, 10, 30, tzinfo=UTC)),
        ("2024-02-29 10:30Z", pa.timestamp("us", "UTC"), datetime(2024, 2, 29, 10, 30, tzinfo=UTC)),
        ("", pa.string(), ""),
        (None, pa.string(), None),
        (None, pa.int32(), None),
        (None, pa.dictionary(pa.int32(), pa.string()), None),
    ],
    ids=str,
)
def test_a_value_has_the_declared_type(text, kind, want):
    """Nothing is guessed from its text."""
    assert arrow_schemas.value(text, kind).as_py() == want


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("x", pa.int32()),
        ("1.5", pa.int32()),
        ("300", pa.int8()),
        ("", pa.int32()),
        ("yes", pa.timestamp("us", "UTC")),
        ("1", pa.list_(pa.int8())),
    ],
    ids=str,
)
def test_a_value_of_another_type_is_no_value(text, kind):
    """It is refused, never changed until it fits."""
    with pytest.raises(pa.ArrowException):
        arrow_schemas.value(text, kind)


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (["1", "-1", "0"], pa.int32()),
        (["1", None], pa.int32()),
        (["2147483647", "-2147483648"], pa.int32()),
        (["2147483648"], pa.string()),
        (["01"], pa.string()),
        (["1", "01"], pa.string()),
        (["-0"], pa.string()),
        (["+1"], pa.string()),
        (["1_0"], pa.string()),
        ([" 1"], pa.string()),
        (["\u0661"], pa.string()),
        (["1.0"], pa.string()),
        (["9" * 5000], pa.string()),
        ([""], pa.string()),
        ([None], pa.string()),
        (["a", None], pa.string()),
    ],
    ids=str,
)
def test_the_type_of_a_column_that_nobody_declared(values, want):
    """A number only if its text is that of the number: no zero, sign or digit of another script is lost."""
    assert arrow_schemas.inferred(values) == want


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("a/b", "a/b"),
        ("n=a%20b/x", "n=a b/x"),
        ("a%20b=1/x", "a b=1/x"),
        ("n=%C3%BC/x", "n=ü/x"),
        ("n=%5F%5FHIVE_DEFAULT_PARTITION__/x", "n=__HIVE_DEFAULT_PARTITION__/x"),
        ("n=x%3Dy/x", "n=x=y/x"),
        ("n=a+b/x", "n=a+b/x"),
        ("a%20b/x%20y", "a%20b/x%20y"),
    ],
)
def test_folders_are_stored_with_the_characters_that_they_mean(path, want):
    """Only folders of partitions are encoded; a plus sign is no space."""
    assert partitions.decoded(path) == (want, None)


@pytest.mark.parametrize("path", ["n=a%2Fb/x", "n%3Dm=1/x", "%2Ehidden=1/x", "n=%ff/x"])
def test_a_folder_that_no_path_can_mean_is_refused(path):
    """A slash in a value, an equals sign in a name, a dot that would hide it, and bytes that are not UTF-8."""
    assert partitions.decoded(path)[1]


@pytest.mark.parametrize(
    ("paths", "want"),
    [
        ([], {}),
        (["a", "b/c"], {}),
        (["n=1/a", "n=2/b", "n=1/c"], {"n": {"1", "2"}}),
        (["n=1/m=x/a", "b", "n=__HIVE_DEFAULT_PARTITION__/c"], {"n": {"1", None}, "m": {"x"}}),
    ],
)
def test_the_columns_of_a_dataset_are_those_of_any_of_its_files(paths, want):
    """With all their values, null among them."""
    assert partitions.by_path(paths) == want


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("n=1/m=1/a", None),
        ("n=1/m=2/n=1/a", "has folders with two values of the column 'n'"),
        (f"{'x' * 200}=1/{'x' * 200}=2/a", f"has folders with two values of the column '{'x' * 100}'"),
    ],
)
def test_a_path_gives_a_column_once(path, want):
    """Two folders for one column would be two values of it."""
    assert partitions.problem(path) == want
