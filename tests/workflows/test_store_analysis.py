"""Storing what the program of an analysis has output."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import pytest

from dyff import stats
from dyff.kernel import backoff, errors
from dyff.objects import local
from dyff.workflows import analysis_checks, analysis_outputs, analysis_tables, confined, hostile_folders
from tests.workflows import analyses, runs

MEASUREMENTS, CASES = f"measurements/{analyses.ID}", f"safetycases/{analyses.ID}"


@pytest.fixture
def out(tmp_path):
    return analyses.Out(tmp_path / "out")


@pytest.fixture
def stored(store, steps, tmp_path, out):
    """Runs the step; returns how it ended."""
    analyses.put_inputs(store)

    def run(method=None, attempt="attempt-1", process=False, limits=None, **changes):
        manifest = analyses.a_manifest(tmp_path, analyses.a_spec(method, **changes), limits)
        return (steps.run if process else steps.call)("store-analysis", "--manifest", manifest, "--source", out.root, attempt=attempt)

    return run


def read(store, key):
    return json.loads((store.objects / key).read_bytes())


def test_a_measurement_is_stored(store, stored, out):
    """Its files, with their digests; what is hidden or no table is not among them; the log."""
    out.table()
    out.table(name="more/part-1.parquet")
    (out.output / "plot.png").write_bytes(b"png")
    (out.output / ".hidden").write_bytes(b"x")
    done = stored(process=True)
    assert done.code == 0, done
    assert "'plot.png' is left out" in str(done)
    manifest = read(store, f"{MEASUREMENTS}/.dyff/artifacts.json")
    assert [(each["path"], each["kind"]) for each in manifest["artifacts"]] == [
        ("more/part-1.parquet", "parquet"), ("part-0.parquet", "parquet"),
    ]  # fmt: skip
    for each in manifest["artifacts"]:
        data = (store.objects / each["key"]).read_bytes()
        assert each["key"] == f"{MEASUREMENTS}/data/attempt-1/{each['path']}"
        assert (each["size"], each["digest"]["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        assert data == (out.output / each["path"]).read_bytes()
    assert (store.objects / MEASUREMENTS / ".dyff/logs.txt").read_bytes() == b"it ran\n"


def test_a_safety_case_is_stored(store, stored, out):
    """Its page and other files, its scores and curves."""
    out.page()
    (out.output / "data.csv").write_bytes(b"1,2")
    out.results("scores", {"name": "accuracy", "quantity": 0.25, "text": "bad"})
    out.results("curves", {"name": "roc", "points": {"x": [0, 1], "y": [0, 1]}})
    estimate = stats.mean([0, 0.5]).document()
    out.results("estimates", {"name": "accuracy", "quantity": 0.25, "text": "bad", "estimate": estimate})
    done = stored(analyses.a_method("SafetyCase", scores=[analyses.SCORE, analyses.CURVE]))
    assert done.code == 0, done
    manifest = read(store, f"{CASES}/.dyff/artifacts.json")
    assert [each["path"] for each in manifest["artifacts"]] == ["data.csv", "index.html"]
    results = read(store, f"{CASES}/.dyff/results.json")
    assert [(each["kind"], each["quantityString"]) for each in results["scores"]] == [("Score", "0.25 pt")]
    assert [each["metadata"]["estimate"] for each in results["scores"]] == [estimate]
    assert [each["points"] for each in results["curves"]] == [{"x": [0.0, 1.0], "y": [0.0, 1.0]}]


def test_what_ran_is_recorded(store, stored, out):
    """With the digests of the manifests, which are read again, and of the outputs."""
    dataset, module = analyses.put_inputs(store)
    out.table()
    assert stored(image="registry/x@sha256:1").code == 0
    found = read(store, f"{MEASUREMENTS}/.dyff/results.json")["provenance"]
    assert found["run"]["environment"] == {"python": "3.11", "packages": {"numpy": "2.0"}, "digest": "d" * 64}
    assert (found["run"]["seed"], found["run"]["machine"], found["run"]["attempt"]) == (7, {"cpus": 2}, "x")
    assert "message" not in found["run"]
    assert found["inputs"] == [{"keyword": "prompts", "kind": "Dataset", "id": runs.DATASET, "sha256": dataset}]
    assert found["modules"] == [{"kind": "Module", "id": analyses.MODULE_ID, "sha256": module}]
    assert (found["outputs"]["files"], found["image"]) == (1, "registry/x@sha256:1")
    assert found["outputs"]["bytes"] == (out.output / "part-0.parquet").stat().st_size
    [package] = found["provided"]
    assert (package["name"], package["version"], package["sha256"]) == ("dyff.stats", stats.VERSION, package_digest())


def package_digest():
    """Of the files of dyff.stats, calculated from their bytes here."""
    root = Path(stats.__file__).parent
    found = sorted((str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest()) for path in root.glob("*.py"))
    return hashlib.sha256(json.dumps(found, separators=(",", ":")).encode()).hexdigest()


def test_a_repetition_confirms(store, stored, out):
    """The first output counts, although the second differs; its results are there again if another attempt has replaced them."""
    out.table()
    assert stored().code == 0
    first = read(store, f"{MEASUREMENTS}/.dyff/results.json")
    out.table([])
    (store.objects / MEASUREMENTS / ".dyff/results.json").unlink()
    again = stored(attempt="attempt-2")
    assert (again.code, "stored before: 1 files are whole" in again.last) == (0, True)
    assert read(store, f"{MEASUREMENTS}/.dyff/results.json") == first
    assert not (store.objects / MEASUREMENTS / "data/attempt-2").exists()


@pytest.mark.parametrize("harm", ["missing", "changed"])
def test_a_repetition_notices_harm(store, stored, out, harm):
    """Files that were stored must still be whole."""
    out.table()
    assert stored().code == 0
    file = store.objects / MEASUREMENTS / "data/attempt-1/part-0.parquet"
    file.unlink()
    if harm == "changed":
        file.write_bytes(b"other")
    failed = stored(attempt="attempt-2")
    assert (failed.code, "part-0.parquet is missing or was changed" in failed.last) == (65, True)


def test_an_attempt_that_was_killed_leaves_nothing_of_itself(store, stored, out):
    """The same attempt starts from the beginning."""
    leftover = store.objects / MEASUREMENTS / "data/attempt-1/old.parquet"
    leftover.parent.mkdir(parents=True)
    leftover.write_bytes(b"half")
    out.table()
    assert stored().code == 0
    assert not leftover.exists()


def test_the_first_manifest_counts(store, stored, out, monkeypatch):
    """An attempt that another one was faster than removes its files, and restores the results of the other."""
    out.table()
    assert stored().code == 0
    first = read(store, f"{MEASUREMENTS}/.dyff/results.json")
    real, answers = analysis_outputs.Output.published, iter([True])

    async def blind_at_first(self):
        return None if next(answers, False) else await real(self)

    monkeypatch.setattr(analysis_outputs.Output, "published", blind_at_first)
    second = stored(attempt="attempt-2")
    assert (second.code, "another attempt" in second.last) == (0, True), second
    assert read(store, f"{MEASUREMENTS}/.dyff/results.json") == first
    assert not list((store.objects / MEASUREMENTS / "data").glob("attempt-2/*"))


@pytest.mark.parametrize("arrives", [True, False], ids=["its answers are lost", "it does not answer"])
def test_a_store_that_does_not_answer_is_asked_again(store, stored, out, monkeypatch, arrives):
    """Otherwise the whole analysis would run again. An answer that was lost makes no difference to what is stored."""
    real, seen = local.LocalObjects.put, set[str]()

    async def put(self, key, data, **options):
        if key in seen:
            return await real(self, key, data, **options)
        seen.add(key)
        if arrives:
            await real(self, key, data, **options)
        raise errors.OutcomeUnknown("no answer") if arrives else errors.Unavailable("no answer")

    monkeypatch.setattr(local.LocalObjects, "put", put)
    monkeypatch.setattr(backoff, "delays", lambda *_, **__: iter([0.0] * 9))
    out.table()
    done = stored()
    assert (done.code, "stored: 1 files" in done.last) == (0, True), done
    [artifact] = read(store, f"{MEASUREMENTS}/.dyff/artifacts.json")["artifacts"]
    assert (store.objects / artifact["key"]).read_bytes() == (out.output / "part-0.parquet").read_bytes()
    assert "provenance" in read(store, f"{MEASUREMENTS}/.dyff/results.json")


LINE = {"file": "/dyff/in/m/words/length.py", "line": 3, "function": "mean", "text": "1 / 0"}
FAILURES = {
    "raises": ({"reason": "RunFailed", "message": "ZeroDivisionError: division by zero", "line": LINE}, 10,
               "ZeroDivisionError: division by zero (/dyff/in/m/words/length.py, line 3, in mean)"),
    "says where": ({"reason": "RunFailed", "message": "x (length.py, line 3)", "line": LINE}, 10, "x (length.py, line 3)"),
    "memory": ({"reason": "OutOfMemory", "message": "too much"}, 12, "too much"),
    "time": ({"reason": "DeadlineExceeded", "message": "too late"}, 13, "too late"),
    "unknown reason": ({"reason": "Other", "message": "x"}, 10, "x"),
    "controls": ({"message": "a\nb\x1b[31mc\u202e"}, 10, r"a\nb\x1b[31mc\u202e"),
    "nothing": ({}, 10, "The code of the method failed. Its log has the details."),
    "long": ({"message": "x" * 100_000}, 10, "x" * 1997 + "..."),
}  # fmt: skip


@pytest.mark.parametrize(("said", "code", "last"), FAILURES.values(), ids=FAILURES)
def test_a_program_that_failed(store, stored, out, said, code, last):
    """The exit code has the reason, the last line the message; the log is stored, the output is not."""
    out.table()
    out.outcome(status="Failed", **said)
    failed = stored()
    assert (failed.code, failed.last) == (code, last)
    assert (store.objects / MEASUREMENTS / ".dyff/logs.txt").read_bytes() == b"it ran\n"
    assert {file.name for file in (store.objects / MEASUREMENTS).rglob("*") if file.is_file()} == {"logs.txt"}


def _no_outcome(out):
    (out.root / "outcome.json").unlink()


def _odd_outcome(out):
    out.outcome(status="Fine")


def _outcome_link(out):
    _no_outcome(out)
    (out.root / "outcome.json").symlink_to("/etc/passwd")


def _outcome_pipe(out):
    _no_outcome(out)
    os.mkfifo(out.root / "outcome.json")


def _large_outcome(out):
    out.outcome(status="Succeeded", message="x" * 2**20)


def _no_table(out):
    (out.output / "part-0.parquet").unlink()


def _wrong_table(out):
    out.table([{"x": 1}], schema=None)


def _link(out):
    (out.output / "passwd").symlink_to("/etc/passwd")


def _pipe(out):
    os.mkfifo(out.output / "pipe.parquet")


def _sparse(out):
    with (out.output / "part-1.parquet").open("wb") as file:
        file.truncate(10 * 2**30)


def _name(out):
    (out.output / "a\nb.parquet").write_bytes(b"")


def _scores_link(out):
    (out.output / ".dyff").mkdir()
    (out.output / ".dyff/scores.json").symlink_to("/etc/passwd")


def _large_scores(out):
    (out.output / ".dyff").mkdir()
    with (out.output / ".dyff/scores.json").open("wb") as file:
        file.truncate(200 * 2**20)


def _undeclared(out):
    out.results("scores", {"name": "x", "quantity": 1.0, "text": ""})


def _root_link(out):
    (out.root / "root").rename(out.root / "elsewhere")
    (out.root / "root").symlink_to(out.root / "elsewhere")


INVALID = {
    _no_outcome: "it left no outcome.json", _odd_outcome: "outcome.json cannot be read", _outcome_link: "is a symbolic link",
    _outcome_pipe: "is a named pipe", _large_outcome: "'outcome.json' has more than 1048576 bytes", _no_table: "output no Parquet file",
    _wrong_table: "the field '_index_' should be int64, but is missing", _link: "'passwd' is a symbolic link", _pipe: "is a named pipe",
    _sparse: "the setting analyses.output_bytes", _name: r"'a\nb.parquet'", _scores_link: "'.dyff/scores.json' is a symbolic link",
    _large_scores: "scores.json' has more than 1048576 bytes", _undeclared: "The score 'x' is not declared",
    _root_link: "leads through a symbolic link",
}  # fmt: skip


@pytest.mark.parametrize(("harm", "message"), INVALID.items(), ids=[each.__name__ for each in INVALID])
def test_output_that_is_not_what_was_declared(store, stored, out, harm, message):
    """Final, with a last line that says why; the log is stored all the same, and nothing else is."""
    out.table()
    harm(out)
    failed = stored()
    assert (failed.code, message in failed.last) == (11, True), failed
    assert {file.name for file in (store.objects / MEASUREMENTS).rglob("*") if file.is_file()} == {"logs.txt"}


PAGES = {"missing": (None, "made no index.html"), "empty": (b"", "or an empty one"), "not text": (b"<p>\xff", "is not UTF-8 text"),
         "cut": ("ü".encode()[:1], "is not UTF-8 text"), "large": (b"x" * 101, "has 101 bytes, more than 100")}  # fmt: skip


@pytest.mark.parametrize(("page", "message"), PAGES.values(), ids=PAGES)
def test_a_page_that_is_none(stored, out, monkeypatch, page, message):
    """A safety case is a page of text, of a bounded size."""
    monkeypatch.setattr(analysis_checks, "MAX_PAGE_BYTES", 100)
    if page is not None:
        out.page(page)
    failed = stored(analyses.a_method("SafetyCase"))
    assert (failed.code, message in failed.last) == (11, True), failed


@pytest.mark.parametrize("harm", ["missing", "link", "folder"])
def test_a_log_that_is_none_costs_nothing(store, stored, out, harm):
    """The output is stored without it."""
    out.table()
    (out.root / "logs.txt").unlink()
    if harm == "link":
        (out.root / "logs.txt").symlink_to("/etc/passwd")
    elif harm == "folder":
        (out.root / "logs.txt").mkdir()
    done = stored()
    assert (done.code, "there is no log" in str(done)) == (0, True), done
    assert not (store.objects / MEASUREMENTS / ".dyff/logs.txt").exists()


def test_the_log_is_bounded(store, stored, out):
    """Whatever the program made of the file."""
    out.table()
    with (out.root / "logs.txt").open("wb") as file:
        file.truncate(10 * 2**30)
    assert stored(limits={"log_bytes": 10}).code == 0
    assert (store.objects / MEASUREMENTS / ".dyff/logs.txt").stat().st_size == 10 + 2**12


def test_a_table_that_makes_its_reader_die(stored, out, monkeypatch):
    """It ends a process of its own, and the step says so."""
    out.table()
    monkeypatch.setattr(analysis_tables, "serve", lambda request: os._exit(3))
    failed = stored()
    bounds = f"{confined.MAX_CPU_S} s and {confined.MAX_MEMORY_BYTES} bytes"
    assert (failed.code, f"cannot be read within {bounds}" in failed.last) == (11, True), failed


def test_a_file_that_changes_meanwhile_is_noticed(store, stored, out, monkeypatch):
    """What is stored is what was checked."""
    out.table()
    real = hostile_folders.Folder.files
    monkeypatch.setattr(hostile_folders.Folder, "files", lambda *given: [hostile_folders.File(f.path, f.size + 1) for f in real(*given)])
    failed = stored()
    assert (failed.code, "was changed while it was stored" in failed.last) == (11, True), failed
    assert not list((store.objects / MEASUREMENTS).rglob("*.parquet"))


WITHOUT = {
    "no method": {"data": []},
    "no base64": {"data": [{"key": "usecase", "value": "%"}]},
    "another": {"data": [{"key": "usecase", "value": "e30="}]},
}


@pytest.mark.parametrize("changes", WITHOUT.values(), ids=WITHOUT)
def test_a_spec_without_its_method(stored, out, changes):
    """The manifest is wrong, not the output."""
    out.table()
    failed = stored(**changes)
    assert (failed.code, "spec.data" in failed.last) == (78, True), failed
