"""Indices that occur twice are found in any number of rows, with bounded memory."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest

from dyff.sdk import indices
from tests.arrow_types import schema_of
from tests.sdk.small_datasets import folder, table

SCHEMA = table(1).schema


def files(root, *parts):
    """A directory with a file of each list of indices."""
    folder(root, {f"{n:03}": table(*part) for n, part in enumerate(parts)})
    return [(path.name, path) for path in sorted(root.iterdir())]


@pytest.mark.parametrize("stride", [1, 7, 8, 2**20, 2**40 + 1, -3])
def test_an_index_that_occurs_twice_is_found_in_parts(tmp_path, monkeypatch, stride):
    """With less memory than rows the files are read in parts: the one repetition is found, wherever it is, and no other."""
    monkeypatch.setattr(indices, "MAX_AT_ONCE", 50)
    known = [n * stride for n in range(500)]
    random.Random(7).shuffle(known)
    parts = [known[:200], known[200:210], known[210:]]
    indices.check(files(tmp_path / "right", *parts), SCHEMA)
    parts[2][100] = parts[0][17]
    with pytest.raises(ValueError, match=rf"the _index_ {parts[0][17]} occurs twice: in row 17 of '000' and in row 100 of '002'"):
        indices.check(files(tmp_path / "wrong", *parts), SCHEMA)


@pytest.mark.parametrize("stride", [1, 8, 2**20, 2**40 + 1, -3])
def test_parts_have_about_the_same_size(stride):
    """No common pattern of indices brings them all into one part, which would need the memory that is to be saved."""
    values = pa.array([n * stride for n in range(10_000)], pa.int64())
    sizes = [len(indices._part(values, part, 10)) for part in range(10)]
    assert sum(sizes) == 10_000
    assert max(sizes) < 1500


def test_indices_at_the_ends_of_their_range(tmp_path):
    """The smallest and the largest number are indices like others."""
    ends = [2**63 - 1, -(2**63), 0]
    indices.check(files(tmp_path / "right", ends), SCHEMA)
    with pytest.raises(ValueError, match=f"{-(2**63)} occurs twice"):
        indices.check(files(tmp_path / "wrong", ends, ends[1:2]), SCHEMA)


def test_rows_in_order_are_read_once(tmp_path, monkeypatch):
    """Most datasets are in order: then one pass is enough."""
    read = []
    real = indices._of_file

    def noted(*arguments):
        read.append(arguments[0])
        return real(*arguments)

    monkeypatch.setattr(indices, "_of_file", noted)
    indices.check(files(tmp_path, range(10), range(10, 20)), SCHEMA)
    assert read == ["000", "001"]


def test_an_index_in_the_path(tmp_path):
    """An index that a folder gives is the same for all rows below it, so there can be only one."""
    schema = schema_of(("text", pa.string()), ("_index_", pa.int64()))
    for count in (1, 2):
        folder(tmp_path / str(count), {"_index_=4/a": pa.table({"text": ["x"] * count})})
    indices.check([("_index_=4/a", tmp_path / "1" / "_index_=4" / "a")], schema)
    with pytest.raises(ValueError, match="the _index_ 4 occurs twice"):
        indices.check([("_index_=4/a", tmp_path / "2" / "_index_=4" / "a")], schema)
