"""Methods that could never run are refused when they are created."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest

from dyff.entities import method_code
from dyff.entities.kinds import method, module
from dyff.kernel import errors
from tests.entities import bodies
from tests.narrowing import sure

NOW = datetime(2026, 11, 30, tzinfo=UTC)
FULL, NOTEBOOK, RUBRIC = bodies.METHOD_FULL, bodies.METHOD_NOTEBOOK, bodies.METHOD_RUBRIC

REFUSED = {
    "an unknown kind of code": (bodies.METHOD, "implementation.kind", "PythonFunktion", "did you mean 'PythonFunction'"),
    "code of another kind": (bodies.METHOD, "implementation.kind", "JupyterNotebook", "jupyterNotebook must be given"),
    "code of two kinds": (
        bodies.METHOD,
        "implementation.pythonRubric",
        {"fullyQualifiedName": "a.b"},
        "pythonRubric must be left out, because kind is PythonFunction",
    ),
    "a name without a module": (bodies.METHOD, "implementation.pythonFunction.fullyQualifiedName", "mean", "regex"),
    "an unknown scope": (bodies.METHOD, "scope", "Dataset", "Invalid enum value"),
    "an output of another kind": (bodies.METHOD, "output.kind", "SafetyCase", "safetyCase must be given"),
    "a function that makes a document": (
        bodies.METHOD,
        "output",
        {"kind": "SafetyCase", "safetyCase": {"name": "s"}},
        "output.kind must be Measurement, which is what a PythonFunction makes",
    ),
    "a notebook that makes a table": (NOTEBOOK, "output", bodies.METHOD["output"], "output.kind must be SafetyCase"),
    "a keyword twice": (FULL, "parameters.1.keyword", "threshold", "keyword 'threshold' is there twice"),
    "a parameter and an input with one keyword": (FULL, "inputs.0.keyword", "threshold", "keyword 'threshold' is there twice"),
    "a notebook whose module is not listed": (NOTEBOOK, "modules", [], "modules must contain"),
    "a rubric with other inputs": (RUBRIC, "inputs.0.keyword", "data", "inputs of a PythonRubric must be task_data"),
    "a rubric with parameters": (RUBRIC, "parameters", [{"keyword": "x"}], "it has no parameters"),
    "a rubric that makes rows about the whole": (RUBRIC, "output.measurement.level", "Dataset", "with the level 'Instance'"),
    "two primary scores": (FULL, "scores.1.priority", "primary", "exactly one score"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_contradicts_itself_is_refused(case):
    """The message names the field, and says what would be right."""
    body, path, value, problem = REFUSED[case]
    with pytest.raises(msgspec.ValidationError, match=problem):
        msgspec.json.decode(json.dumps(bodies.changed(body, path, value)), type=method.MethodCreateRequest)


def made(body: dict, *paths: str) -> dict:
    """The method that `body` becomes if its module has files with these paths."""
    request = msgspec.json.decode(json.dumps(body), type=method.MethodCreateRequest)
    artifacts = [{"path": each, "digest": {}} for each in paths]
    known = {"id": bodies.MODULE_ID, "account": "test", "name": "m", "artifacts": artifacts}
    return method.KIND.create(request, {bodies.MODULE_ID: msgspec.Raw(msgspec.json.encode(known))}, "0" * 32, NOW)


FITS = {
    "in a file": ("words/length.py",),
    "in a package": ("words/length/__init__.py",),
    "in the package above": ("words/__init__.py",),
    "compiled": ("words/length.cpython-311-x86_64-linux-gnu.so",),
    "a class in a file": ("words.py",),
}


@pytest.mark.parametrize("case", FITS)
def test_code_that_a_module_can_define_is_accepted(case):
    """A function can be in a module's file, in a package, or inside a class."""
    assert made(bodies.METHOD, *FITS[case])["modules"] == [bodies.MODULE_ID]


def test_code_that_no_module_defines_is_refused_at_once():
    """Not when an analysis runs, hours later. The message names the missing file."""
    with pytest.raises(errors.InvalidFields) as caught:
        made(bodies.METHOD, "word/length.py", "words/lengths.py")
    (problem,) = caught.value.problems
    assert problem.loc == ("body", "implementation", "pythonFunction", "fullyQualifiedName")
    assert "'words/length.py'" in problem.msg


@pytest.mark.parametrize(
    ("name", "files", "nearest"),
    [
        ("word_lenght.mean", ["notes.md", "word_length.py"], "word_length.py"),
        ("words.lenght.mean", ["words/length.py", "words/test.py"], "words/length.py"),
        ("word_lenght.Words.mean", ["word_length.py"], "word_length.py"),
        ("length.mean", ["src/length.py"], "src/length.py"),
        ("words.length.mean", ["words/length"], "words/length"),
        ("Length.mean", ["length.py"], "length.py"),
    ],
)
def test_code_that_no_module_defines_is_refused_with_the_nearest_file(name, files, nearest):
    """A slip in the name of a file, a class within it, or a folder above it."""
    body = {**bodies.METHOD, "implementation": {"kind": "PythonFunction", "pythonFunction": {"fullyQualifiedName": name}}}
    with pytest.raises(errors.InvalidFields) as refused:
        made(body, *files)
    assert str(refused.value).endswith(f"needs; did you mean {nearest!r}?")


@pytest.mark.parametrize(
    ("modules", "fix"),
    [
        ([["a.py"], ["b.csv"]], "name the function as package.module.function, from the root of its module"),
        ([], "list its module in `modules`"),
    ],
)
def test_code_like_no_file_is_refused_with_what_to_do(modules, fix):
    """Where no file has a similar name, the message says how functions are named, or where modules are listed."""
    problem = method_code.name_problem("words.length.mean", modules)
    assert problem == f"none of the modules has the file 'words/length.py' that words.length.mean needs; {fix}"


def test_a_notebook_that_its_module_has_not_is_refused_at_once():
    """The nearest name that it has is in the message."""
    with pytest.raises(errors.InvalidFields) as caught:
        made(NOTEBOOK, "Report.ipynb")
    (problem,) = caught.value.problems
    assert problem.loc == ("body", "implementation", "jupyterNotebook", "notebookPath")
    assert "did you mean 'Report.ipynb'?" in problem.msg


@pytest.mark.parametrize(
    "change", [("implementation.pythonFunction.fullyQualifiedName", "dyff.audit.x.f"), ("analysisImage", bodies.IMAGE)]
)
def test_code_of_the_environment_needs_no_module(change):
    """What the environment has is known only when the analysis runs."""
    assert made(bodies.changed(bodies.METHOD, *change), "other.py")["status"] == "Created"


def test_a_method_waits_for_its_modules():
    """They are its dependencies, so it becomes Ready after them, and fails if one fails."""
    assert method.KIND.dependencies(made(bodies.METHOD, "words/length.py")) == [bodies.MODULE_ID]


def test_a_module_waits_for_its_files():
    """Until they are uploaded it is in the published status WaitingForUpload."""
    request = msgspec.json.decode(json.dumps(bodies.MODULE), type=module.ModuleCreateRequest)
    entity = module.KIND.create(request, {}, "0" * 32, NOW)
    assert (entity["status"], [each.path for each in sure(module.KIND.upload).files(entity)]) == ("WaitingForUpload", ["words/length.py"])
