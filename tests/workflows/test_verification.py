"""What the verification finds, and that only what it passed is ever published."""

from __future__ import annotations

import hashlib
import json
from importlib import metadata

import pyarrow as pa
import pytest

from dyff.entities import specs
from dyff.workflows import items, verification
from tests.workflows import runs

STRANGER = "f" * 32


def test_missing_outputs(store, steps):
    """A missing output is found and named, nothing is published and nothing of the attempt stays; Ignore lets it pass."""
    store.dataset(runs.rows(5))
    store.raw(runs.outputs([0, 1, 3, 4]))
    failed = steps.verify(process=True)
    assert failed.code == 2
    assert "1 outputs are missing (such as index 2 in replication" in failed.last
    assert store.manifest() is None
    assert not (store.objects / "outputs" / runs.EVALUATION / "verified").exists()
    assert steps.verify(client={"missingOutputPolicy": "Ignore"}).code == 0
    assert runs.pairs(store.verified().to_pylist()) == runs.all_pairs([0, 1, 3, 4])


def test_no_outputs_at_all(store, steps):
    """Outputs of a run that stored nothing are all missing; a dataset without rows has none, and an empty file says so."""
    store.dataset(runs.rows(2))
    assert steps.verify(replications=2).code == 2
    store.dataset(pa.table({"_index_": pa.array([], pa.int64()), "text": pa.array([], pa.string())}))
    assert steps.verify().code == 0
    assert store.verified().num_rows == 0
    assert store.verified().schema.equals(runs.SCHEMA)


def test_duplicate_outputs(store, steps):
    """By policy duplicates are an error, or stay, or one of them is chosen, always the same one."""
    store.dataset(runs.rows(3))
    store.raw(runs.outputs([0, 1, 2], text="first"), attempt="a")
    store.raw(runs.outputs([2, 1], text="second"), attempt="b")
    failed = steps.verify(client={"duplicateOutputPolicy": "Error"})
    assert failed.code == 4
    assert "2 outputs are there twice or more (such as index 1" in failed.last
    assert steps.verify().code == 0
    assert [(row["_index_"], row["responses"][0]["text"]) for row in store.verified().to_pylist()] == [
        (0, "first"),
        (1, "first"),
        (2, "first"),
    ]


def test_duplicates_are_kept_where_they_are_ignored(store, steps):
    """With the policy Ignore users see duplicates as they are."""
    store.dataset(runs.rows(2))
    store.raw(runs.outputs([0, 1, 1]))
    assert steps.verify(client={"duplicateOutputPolicy": "Ignore"}).code == 0
    assert [row["_index_"] for row in store.verified().to_pylist()] == [0, 1, 1]


@pytest.mark.parametrize(
    "extra",
    [
        runs.outputs([7]),
        runs.outputs([-1]),
        [{"_index_": 1, "_replication_": STRANGER, "responses": []}],
        [{"_index_": None, "_replication_": None}],
    ],
)
def test_outputs_that_nobody_asked_for(store, steps, extra):
    """An output of an unknown item or replication makes the outputs wrong, whatever the policies."""
    store.dataset(runs.rows(2))
    store.raw([*runs.outputs([0, 1]), *extra])
    failed = steps.verify(client={"missingOutputPolicy": "Ignore", "duplicateOutputPolicy": "Ignore"})
    assert failed.code == 1
    assert "1 outputs were never asked for" in failed.last
    assert store.manifest() is None


def test_everything_is_wrong_at_once(store, steps):
    """The exit code is the sum of all that is wrong."""
    store.dataset(runs.rows(3))
    store.raw([*runs.outputs([0, 0, 1]), *runs.outputs([9])])
    assert steps.verify(client={"duplicateOutputPolicy": "Error"}).code == 1 + 2 + 4


def test_another_schema(store, steps):
    """An output file with another schema than the interface's makes the outputs wrong, and is named."""
    store.dataset(runs.rows(1))
    store.raw(runs.outputs([0]))
    other = runs.published.make_response_schema(pa.schema([pa.field("label", pa.string())]))
    failed = steps.verify(schema=other)
    assert failed.code == 1
    assert "part-000000-earlier.parquet has not the output schema" in failed.last


@pytest.mark.parametrize("damage", [b"PAR1 but not really", b""])
def test_a_damaged_file(store, steps, damage):
    """A file that cannot be read makes the outputs wrong; the client says so too, instead of doing all again."""
    store.dataset(runs.rows(1))
    store.raw(runs.outputs([0])).write_bytes(damage)
    assert steps.verify().code == 1
    assert steps.evaluate().code == 10


def test_a_dataset_with_an_index_twice(store, steps):
    """Indices of the dataset must be unique; otherwise the dataset is wrong."""
    store.dataset([*runs.rows(2), *runs.rows(1)])
    store.raw(runs.outputs([0, 1]))
    failed = steps.verify()
    assert failed.code == 65
    assert "1 rows of the dataset have an _index_ that another row has, such as 0 (in row 0 of" in failed.last
    assert "data.parquet' and row 2 of" in failed.last


def test_a_second_verification_is_harmless(store, steps):
    """Where outputs were verified, a repetition confirms them and changes nothing."""
    store.dataset(runs.rows(4))
    store.raw(runs.outputs([3, 1, 0, 2]))
    assert steps.verify(attempt="verify-1").code == 0
    before = {file: file.read_bytes() for file in store.objects.rglob("*") if file.is_file() and file.name != "progress.json"}
    again = steps.verify(attempt="verify-2")
    assert (again.code, again.last) == (0, "verified before: 1 files are whole")
    assert {file: file.read_bytes() for file in store.objects.rglob("*") if file.is_file() and file.name != "progress.json"} == before


def test_a_second_verification_sees_what_was_lost(store, steps):
    """Where a verified file was changed or lost, a repetition says so."""
    store.dataset(runs.rows(2))
    store.raw(runs.outputs([0, 1]))
    assert steps.verify().code == 0
    file = store.objects / store.manifest()[0]["key"]
    data = file.read_bytes()
    file.write_bytes(data[:-1] + b"x")
    assert "was changed" in steps.verify(attempt="verify-2").last
    file.unlink()
    gone = steps.verify(attempt="verify-3")
    assert gone.code == 1
    assert "is missing" in gone.last


def test_every_published_file_has_its_size_and_digests(store, steps):
    """Also the file of items without responses: size, MD5 and SHA-256 of exactly the bytes that are there."""
    store.dataset(runs.rows(3))
    store.raw(runs.outputs([0, 1]))
    replication = specs.replication_id(runs.EVALUATION, 0)
    store.raw_error([{"_index_": 2, "_replication_": replication, "error": "BadRequest", "message": "no"}])
    assert steps.verify(client={"missingOutputPolicy": "Ignore"}).code == 0
    assert [each["path"] for each in store.manifest()] == ["part-00000.parquet", ".dyff/errors.parquet"]
    for each in store.manifest():
        data = (store.objects / each["key"]).read_bytes()
        assert each["size"] == len(data)
        assert each["digest"] == {"md5": runs.md5(data), "sha256": hashlib.sha256(data).hexdigest()}


def test_a_late_writer_changes_nothing(store, steps):
    """What an attempt writes after the verification is not part of what users see."""
    store.dataset(runs.rows(2))
    store.raw(runs.outputs([0, 1], text="in time"))
    assert steps.verify().code == 0
    store.raw(runs.outputs([0, 1], text="late"), attempt="lost-node")
    assert steps.verify(attempt="verify-2").code == 0
    assert {row["responses"][0]["text"] for row in store.verified().to_pylist()} == {"in time"}


def test_a_verification_that_was_killed_leaves_nothing_behind(store, steps):
    """What the same attempt wrote before it was killed is not published."""
    store.dataset(runs.rows(2))
    store.raw(runs.outputs([0, 1]))
    left = store.objects / "outputs" / runs.EVALUATION / "verified" / "verify-1" / "part-00007.parquet"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half of something")
    assert steps.verify(attempt="verify-1").code == 0
    assert not left.exists()
    assert [artifact["path"] for artifact in store.manifest()] == ["part-00000.parquet"]


def test_large_outputs_are_several_files_in_order(store, steps, monkeypatch):
    """Outputs beyond the size of a file are written to several, whose rows are in order across all of them."""
    monkeypatch.setattr(verification, "FILE_BYTES", 4096)
    store.dataset(runs.rows(600))
    for number in range(6):
        store.raw(runs.outputs(range(number, 600, 6), text="x" * 50), name=f"part-{number}.parquet")
        store.raw(runs.outputs(range(number, 600, 6), 1, text="x" * 50), name=f"part-{number}-b.parquet")
    assert steps.verify(replications=2).code == 0
    assert len(store.manifest()) >= 4
    replications = [specs.replication_id(runs.EVALUATION, number) for number in (0, 1)]
    want = [(index, replication) for index in range(600) for replication in replications]
    assert [(row["_index_"], row["_replication_"]) for row in store.verified().to_pylist()] == want


def test_ranges_cover_every_index():
    """Whatever its index, an output falls into exactly one range, so that none escapes the verification."""
    expected = items.Indices([pa.array([10, 20, 30, 40, 50])])
    everything = pa.table({"_index_": [-5, 10, 15, 20, 30, 39, 40, 50, 99]})
    found = [everything.filter(part.rows)["_index_"].to_pylist() for part in verification.ranges(expected, 2)]
    assert found == [[-5, 10, 15, 20], [30, 39, 40], [50, 99]]
    assert [part.expected.to_pylist() for part in verification.ranges(expected, 2)] == [[10, 20], [30, 40], [50]]


def test_the_manifest_has_the_release_that_verified_the_outputs(store, steps):
    """With the next release it stays as it was: the manifest is written once."""
    store.dataset(runs.rows(2))
    store.raw(runs.outputs([0, 1]))
    file = store.objects / "outputs" / runs.EVALUATION / ".dyff" / "artifacts.json"
    assert steps.verify().code == 0
    source = json.loads(file.read_bytes())["source"]
    assert (source["kind"], source["platform"]["name"]) == ("Outputs", "dyff-platform")
    assert source["platform"]["version"] == metadata.version("dyff-platform")
