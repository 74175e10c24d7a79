"""Preparing the folder that the program of an analysis reads."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from dyff.entities import analysis_data, registry
from dyff.kernel import analysis_settings
from dyff.objects import layout
from dyff.workflows import fetch_analysis, provided
from tests.entities.bodies import arrow
from tests.workflows import analyses, runs


@pytest.fixture(autouse=True)
def runner(tmp_path, monkeypatch):
    """A folder in the place of the installed runner, and another for what the platform provides."""
    source = tmp_path / "installed"
    (source / "__pycache__").mkdir(parents=True)
    (source / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    (source / "__main__.py").write_text("print('the runner')")
    (source / "page.css").write_text("p {}")
    monkeypatch.setattr(fetch_analysis, "RUNNER", source)
    package = tmp_path / "stats"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    (package / "__init__.py").write_text("VERSION = '0'")
    monkeypatch.setattr(provided, "SOURCE", package)
    return source


@pytest.fixture
def fetched(store, steps, tmp_path):
    """Runs the step; returns how it ended. The folder is `tmp_path / "in"`."""

    def run(spec=None, **limits):
        manifest = analyses.a_manifest(tmp_path, spec or analyses.a_spec(), limits)
        return steps.call("fetch-analysis", "--manifest", manifest, "--destination", tmp_path / "in")

    yield run
    for folder, _, _ in os.walk(tmp_path / "in"):
        os.chmod(folder, 0o755)


def files(folder: Path):
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_everything_is_there(store, fetched, tmp_path):
    """The runner, the descriptions, and each file and link of the inputs and modules, with the digests of their manifests."""
    dataset, module = analyses.put_inputs(store)
    done = fetched(timeout_s=60, log_bytes=5, output_bytes=7)
    assert done.code == 0, done
    folder = tmp_path / "in"
    assert files(folder) == {
        ".dyff/runner/__main__.py", ".dyff/runner/page.css", ".dyff/packages/dyff/stats/__init__.py",
        ".dyff/analysis.json", ".dyff/limits.json", ".dyff/inputs.json",
        f"{runs.DATASET}/split=a/part-0.parquet", f"{runs.DATASET}/part-1.parquet", f"{analyses.MODULE_ID}/words/length.py",
        f"{analyses.MODULE_ID}/again.py",
    }  # fmt: skip
    assert os.readlink(folder / analyses.MODULE_ID / "again.py") == "words/length.py"
    limits = json.loads((folder / ".dyff/limits.json").read_bytes())
    known = analysis_settings.Analyses().limits
    assert limits == {**{name: known[name] for name in ("memory_bytes", "file_bytes", "cell_bytes")}, "timeout_s": 60, "log_bytes": 5}
    assert json.loads((folder / ".dyff/inputs.json").read_bytes()) == {
        runs.DATASET: {"schema": arrow(analyses.ROW), "files": 2, "sha256": dataset},
        analyses.MODULE_ID: {"schema": None, "files": 1, "sha256": module},
    }


def test_all_can_read_and_none_can_write(store, fetched, tmp_path):
    """Another user runs the program."""
    analyses.put_inputs(store)
    assert fetched().code == 0
    found = [tmp_path / "in", *(tmp_path / "in").rglob("*")]
    modes = {stat.filemode(each.lstat().st_mode) for each in found if not each.is_symlink()}
    assert modes == {"dr-xr-xr-x", "-r--r--r--"}


def test_a_second_attempt_replaces_what_is_wrong(store, fetched, tmp_path, runner):
    """In the same folder, what is whole is kept; what is not, and the runner, is replaced."""
    analyses.put_inputs(store)
    assert fetched().code == 0
    damaged = tmp_path / "in" / runs.DATASET / "part-1.parquet"
    damaged.chmod(0o644)
    damaged.write_bytes(b"erom")
    (runner / "page.css").unlink()
    again = fetched()
    assert [line for line in again.lines if line.startswith("fetched")] == ["fetched part-1.parquet, 4 bytes"]
    assert (again.code, damaged.read_bytes()) == (0, b"more")
    assert not (tmp_path / "in" / ".dyff/runner/page.css").exists()


def test_the_runner_reads_the_spec_as_it_is(store, fetched, tmp_path):
    """All that was declared, with the whole method among the data."""
    analyses.put_inputs(store)
    spec = analyses.a_spec(analyses.a_method(scores=[analyses.SCORE, analyses.CURVE]))
    assert fetched(spec).code == 0
    written = json.loads((tmp_path / "in/.dyff/analysis.json").read_bytes())["spec"]
    assert {name: written[name] for name in spec if name != "scope"} == {name: spec[name] for name in spec if name != "scope"}
    assert written["scope"]["dataset"] == runs.DATASET


GONE = {
    "input": (f"datasets/{runs.DATASET}", f"the input 'prompts' (Dataset {runs.DATASET})"),
    "module": (f"modules/{analyses.MODULE_ID}", f"the module {analyses.MODULE_ID}"),
}


@pytest.mark.parametrize(("root", "named"), GONE.values(), ids=GONE)
def test_data_that_is_gone_is_named(store, fetched, tmp_path, root, named):
    """By kind, keyword and ID; that is final, and nothing is fetched."""
    analyses.put_inputs(store)
    (store.objects / root).rename(tmp_path / "gone")
    failed = fetched()
    assert (failed.code, named in failed.last) == (65, True), failed
    assert not (tmp_path / "in").exists()


def test_too_much_data_is_refused(store, fetched, tmp_path):
    """Before anything is fetched; the message has the sizes and the setting."""
    analyses.put_inputs(store)
    failed = fetched(input_bytes=20)
    assert failed.code == 65
    assert "have 23 bytes" in failed.last
    assert f"the module {analyses.MODULE_ID}: 15" in failed.last
    assert "the 20 of the setting analyses.input_bytes" in failed.last
    assert not (tmp_path / "in").exists()


def test_an_entity_that_is_read_twice_counts_once(store, fetched):
    """Two keywords can name the same dataset."""
    analyses.put_inputs(store)
    inputs = [{"keyword": each, "entity": runs.DATASET, "kind": "Dataset"} for each in ("first", "second")]
    assert fetched(analyses.a_spec(inputs=inputs), input_bytes=23).code == 0


@pytest.mark.parametrize("entity", ["../../etc", "x", runs.DATASET.upper()])
def test_an_input_is_an_id(store, fetched, tmp_path, entity):
    """Anything else could be a path."""
    analyses.put_inputs(store)
    failed = fetched(analyses.a_spec(inputs=[{"keyword": "prompts", "entity": entity, "kind": "Dataset"}]))
    assert (failed.code, "which is no ID" in failed.last) == (78, True)


def test_an_evaluation_has_its_exchanges(store, fetched, tmp_path):
    """All files that its manifest lists are there, hidden ones, too."""
    analyses.put_inputs(store)
    listed = {"part-0.parquet": b"rows", ".dyff/exchanges/part-0.parquet": b"kept"}
    analyses.put_tree(store, f"outputs/{runs.EVALUATION}", listed)
    done = fetched(analyses.a_spec(inputs=[{"keyword": "outputs", "entity": runs.EVALUATION, "kind": "Evaluation"}]))
    assert done.code == 0, done
    assert files(tmp_path / "in" / runs.EVALUATION) == set(listed)


OLD = {
    "Dataset": (runs.DATASET, f"datasets/{runs.DATASET}/"),
    "Evaluation": (runs.EVALUATION, layout.evaluation_verified(runs.EVALUATION)),
}


@pytest.mark.parametrize("kind", OLD)
def test_data_of_older_releases_has_no_manifest(store, fetched, tmp_path, kind):
    """Then it is what is stored, except hidden files."""
    analyses.put_inputs(store)
    entity, prefix = OLD[kind]
    folder = store.objects / prefix
    (store.objects / f"datasets/{runs.DATASET}/.dyff/artifacts.json").unlink()
    (folder / "split=b").mkdir(parents=True)
    (folder / "split=b" / "old.parquet").write_bytes(b"old")
    done = fetched(analyses.a_spec(inputs=[{"keyword": "old", "entity": entity, "kind": kind}]))
    assert done.code == 0, done
    assert (tmp_path / "in" / entity / "split=b/old.parquet").read_bytes() == b"old"


def test_changed_bytes_are_refused(store, fetched):
    """Every byte is verified, as for volumes."""
    analyses.put_inputs(store)
    (store.objects / "datasets" / runs.DATASET / "part-1.parquet").write_bytes(b"erom")
    failed = fetched()
    assert (failed.code, "does not have the listed bytes" in failed.last) == (65, True)


def test_an_incomplete_installation_is_reported(store, fetched, runner):
    """The runner is a part of it."""
    analyses.put_inputs(store)
    (runner / "__main__.py").unlink()
    failed = fetched()
    assert (failed.code, str(runner) in failed.last) == (78, True)


def test_the_folders_are_those_of_the_registry():
    """Where the data of a kind is follows from its row."""
    for name, collection in analysis_data.COLLECTIONS.items():
        if name in registry.BY_KIND:
            assert registry.BY_KIND[name].collection == collection


def test_an_installation_without_its_package_says_so(fetched, store, monkeypatch, tmp_path):
    """The message names what is missing, and what an operator has to do."""
    analyses.put_inputs(store)
    monkeypatch.setattr(provided, "SOURCE", tmp_path / "nothing")
    assert "must have the package dyff.stats; install Dyff again" in fetched().last
