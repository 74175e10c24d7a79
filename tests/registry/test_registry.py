"""The registry: what must hold of rows, and that no code outside of it asks for a kind by name."""

from __future__ import annotations

import ast
from pathlib import Path

import msgspec
import pytest

from dyff.entities import identity, kind, registry, statuses
from dyff.entities.kinds import dataset, evaluation, model
from dyff.kernel import errors
from tests.entities import bodies
from tests.narrowing import sure

PACKAGE = Path(__file__).parents[2] / "dyff"
KINDS = {row.name for row in registry.ROWS}
OWN_FOLDERS = ("entities", "api/routes/kinds", "operator/kinds", "sdk/kinds")
"""Where a kind's own file is, and the domain, whose published enumerations have its name."""

EXPORTS = ("sdk/models.py", "sdk/requests.py", "workflows/analysis_runner", "serve/methods")
"""The names of classes that users import, what is written from the rows, and a program that runs without
Dyff, on published names, with what stands for its inputs when an author tests a method."""

DESCRIBED = (
    "api/comparisons", "api/dossiers", "api/routes/exports.py", "api/routes/samples.py", "api/samples", "cli/compare_command.py",
    "cli/export_commands.py", "cli/method_commands.py", "cli/samples_command.py", "sdk/reproducing.py",
)  # fmt: skip
"""What tells people, or other programs in their own forms, how these kinds rest on each other, and what reads several of them together."""


def strings(file: Path) -> set[str]:
    """The texts in a file's code; not those in comments and docstrings."""
    tree = ast.parse(file.read_text())
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    return {
        node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    }


def test_no_code_asks_for_a_kind_by_name():
    """Outside the domain and the files that are named after a kind, no code has a kind's name as a text."""
    files = [file for file in PACKAGE.rglob("*.py") if not str(file.relative_to(PACKAGE)).startswith((*OWN_FOLDERS, *EXPORTS, *DESCRIBED))]
    found = {str(file.relative_to(PACKAGE)): KINDS & strings(file) for file in files}
    assert {name: kinds for name, kinds in found.items() if kinds} == {}


def test_the_folder_lists_the_kinds():
    """There is a row for each file in the folder, and no other row."""
    files = {file.stem for file in (PACKAGE / "entities/kinds").glob("*.py")} - {"__init__"}
    assert {row.module for row in registry.ROWS} == files


@pytest.mark.parametrize(
    ("name", "want"),
    [("Dataset", "dataset"), ("InferenceSession", "inference_session"), ("OCIArtifact", "oci_artifact"), ("UseCase", "use_case")],
)
def test_a_file_is_named_after_its_kind(name, want):
    """CamelCase becomes lower case with underscores, and an abbreviation stays one word."""
    assert kind.module(name) == want


def changed(row: kind.Kind, **fields) -> kind.Kind:
    return msgspec.structs.replace(row, **fields)


RENAMED = changed(model.KIND, name="Other", run=None, logs=None)
ARROW = kind.Upload(files=sure(model.KIND.upload).files, contents="arrow")
MISSPELT = msgspec.structs.replace(sure(dataset.KIND.creation), checks=(kind.Check("paths", ("artifacts", "path")),))
WRONG = {
    "a plural that is there twice": ([model.KIND, RENAMED], "the plural 'models'"),
    "a resource whose name is taken": (
        [
            model.KIND,
            changed(
                model.KIND,
                plural="others",
                run=msgspec.structs.replace(sure(model.KIND.run), resource=msgspec.structs.replace(model.RESOURCE)),
            ),
        ],
        "the kind of the custom resource 'Model'",
    ),
    "logs without a run": ([changed(dataset.KIND, logs=kind.Logs())], "has logs, but no `run`"),
    "an upload without a creation": ([changed(dataset.KIND, creation=None)], "has an `upload`, but no `creation`"),
    "an upload without downloads": ([changed(dataset.KIND, download=None)], "`download` must say that folder"),
    "an upload that never waits": ([changed(dataset.KIND, first=kind.created)], "`first` must say when"),
    "Arrow data without a schema": (
        [changed(model.KIND, upload=kind.Upload(files=sure(model.KIND.upload).files, contents="arrow"))],
        "needs a field `schema`",
    ),
    "a query that asks for nothing": ([changed(dataset.KIND, query={"nam": ("nam",)})], "has no field 'nam'"),
    "a query whose name is taken": ([changed(dataset.KIND, query={"status": ("name",)})], "one that all kinds have"),
    "an embedded field that is not there": ([changed(dataset.KIND, embedded=("id", "nam"))], "names 'nam'"),
    "a check that leads nowhere": ([changed(dataset.KIND, creation=MISSPELT)], "artifacts.path, which leads nowhere"),
    "an upload that lies elsewhere": ([changed(dataset.KIND, download=kind.Download("outputs"))], "lies in datasets"),
}


@pytest.mark.parametrize(("rows", "want"), WRONG.values(), ids=WRONG)
def test_rows_that_contradict_are_refused(rows, want):
    """What cannot be right together is found at the start, and the message names it."""
    with pytest.raises(errors.Incomplete, match="dyff/entities/kinds") as caught:
        registry.check(rows)
    assert want in str(caught.value)


def test_kinds_may_share_a_custom_resource():
    """Two kinds that run as the same type are fine: there is one definition of it."""
    registry.check([model.KIND, changed(model.KIND, name="Other", plural="others", upload=None, download=None)])


@pytest.mark.parametrize("row", registry.ROWS, ids=lambda row: row.name)
def test_statuses_are_published_ones(row):
    """A kind begins and ends in statuses that the fold knows, and a run's end is one of its own."""
    assert {row.success, row.failure} <= statuses.TERMINAL
    if row.run is not None:
        assert set(row.run.ended.values()) <= {row.success, row.failure}
        assert next(iter(row.run.ended)) == "Failed"  # what failed is never complete


@pytest.mark.parametrize("row", [row for row in registry.ROWS if row.creation], ids=lambda row: row.name)
def test_every_kind_has_requests_to_test_with(row):
    """Tests of all kinds, such as those of strangers and of the published schema, post these."""
    assert row.name in bodies.CREATE, f"add valid requests of a {row.name} to CREATE in tests/entities/bodies.py"


def test_entities_have_what_they_are_made_of():
    """The struct of an entity has every field that its request has, so that clients can read what they wrote."""
    for row in registry.ROWS:
        if row.creation is None:
            continue
        asked = {field.encode_name for field in msgspec.structs.fields(row.creation.request)}
        assert asked - {field.encode_name for field in msgspec.structs.fields(row.entity)} == set(), row.name
        assert issubclass(row.entity, identity.Entity)


def test_an_evaluation_may_lie_in_two_folders():
    """Whatever is stored of an entity is in one of its kind's folders, so that deleting it finds all."""
    assert evaluation.KIND.collections == ("evaluations", "outputs")
    assert dataset.KIND.collections == ("datasets",)
