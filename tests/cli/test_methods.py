"""The folders of methods: what is made, and what is wrong with one, before anything runs or is uploaded."""

from __future__ import annotations

import json
import re

import pytest
from click.testing import CliRunner

from dyff.cli import main
from dyff.cli.methods import folder, template, wrong
from dyff.serve.methods import inputs


@pytest.fixture
def made(tmp_path):
    """The folder of the example, with a function to change its file."""
    template.write("lengths", "function", tmp_path / "m")
    return tmp_path / "m"


def change(made, old, new):
    """Replace a text of method.toml, which must be there."""
    path = made / "method.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


@pytest.mark.parametrize("kind", template.KINDS)
def test_a_new_folder_is_a_method(tmp_path, kind):
    """What is made can be pushed as it is, with the name that was given."""
    template.write("lengths", kind, tmp_path / "m")
    found = folder.read(tmp_path / "m")
    assert found.request["name"] == "lengths"
    assert found.documentation["title"]
    assert not found.derived


@pytest.mark.parametrize("name", ["../up", "", "a/b", "-x", "x" * 101, "a\nb"])
def test_a_name_that_is_no_folders(tmp_path, name):
    """Nothing is written elsewhere."""
    result = CliRunner().invoke(main.client, ["method", "new", "--dir", str(tmp_path / "m"), "--", name])
    assert (result.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "NAME" in result.output


def test_an_existing_folder_is_left_alone(tmp_path):
    """It is named, and nothing in it changes."""
    (tmp_path / "m").mkdir()
    result = CliRunner().invoke(main.client, ["method", "new", "x", "--dir", str(tmp_path / "m")])
    assert (result.exit_code, list((tmp_path / "m").iterdir())) == (1, [])
    assert "exists already" in result.output


WRONG = {
    "a field": ("scope = ", "scoep = ", "scoep is not a field of a method; did you mean 'scope'?"),
    "a field of an input": ('keyword = "prompts"', 'keyword = "prompts"\nkeywrod = 1', "inputs[0] has no field 'keywrod'"),
    "a value": ('scope = "Evaluation"', 'scope = "Model"', "scope: Invalid enum value 'Model'"),
    "a missing field": ('name = "lengths"\nscope', "scope", "name: is missing"),
    "what push adds": ("scope =", 'account = "me"\nscope =', "account: leave it out"),
    "no TOML": ("scope =", "scope", "cannot be read"),
    "a type": ('"float64"', '"flaot64"', "prompt_word_length: 'flaot64' is not a type; did you mean 'float64'?"),
    "the module": ('module = "module"', 'module = "modul"', "module: 'modul' is not a folder"),
    "a module outside": ('module = "module"', 'module = ".."', "module: '..' is not a folder"),
    "a file": ('"word_length.word_length"', '"words.word_length"', "words.py"),
    "a function": ('"word_length.word_length"', '"word_length.word_lenght"', "has no 'word_lenght'; did you mean 'word_length'?"),
    "a text": ('title = "Word', 'titel = "Word', "documentation.titel is not known; did you mean 'title'?"),
    "no output": ("[output]", "[outptu]", "output is missing"),
}


@pytest.mark.parametrize(("old", "new", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named(made, old, new, message):
    """The field and the fix."""
    if old == "[output]":
        text = (made / "method.toml").read_text()
        (made / "method.toml").write_text(text[: text.index("[output]")])
    else:
        change(made, old, new)
    with pytest.raises(wrong.Wrong, match=re.escape(message)):
        folder.read(made)


def test_a_folder_without_a_file(tmp_path):
    """It says which file is missing, and how to get one."""
    with pytest.raises(wrong.Wrong, match=r"no method\.toml and no method\.json.*dyff method new"):
        folder.read(tmp_path)


def test_the_same_as_json(made):
    """A file method.json has the same fields."""
    wanted = folder.read(made)
    (made / "method.toml").unlink()
    (made / "method.json").write_text(json.dumps({**wanted.request, "documentation": wanted.documentation}))
    assert folder.read(made).request == wanted.request


@pytest.mark.parametrize(("text", "message"), [("print()", "not JSON"), ("{}", "no nbformat"), ('{"nbformat": 4}', "no cells")])
def test_a_notebook_that_is_none(tmp_path, text, message):
    """It is found before anything runs."""
    template.write("report", "notebook", tmp_path / "m")
    (tmp_path / "m/module/report.ipynb").write_text(text)
    with pytest.raises(wrong.Wrong, match=f"report.ipynb is not a Jupyter notebook.*{message}"):
        folder.read(tmp_path / "m")


def test_code_that_is_no_python(made):
    """The line is named, without running the code."""
    (made / "module/word_length.py").write_text("x = 1\ndef (:\n")
    with pytest.raises(wrong.Wrong, match=r"word_length\.py, line 2"):
        folder.read(made)


GIVEN = {
    "a missing input": ({"prompts": "."}, {"shortest": "1"}, "give --input outputs=FOLDER"),
    "an unknown input": ({"prompt": "."}, {"shortest": "1"}, "no input 'prompt'; did you mean 'prompts'?"),
    "a missing argument": ({"prompts": ".", "outputs": "."}, {}, "give --argument shortest=VALUE"),
    "an unknown argument": ({"prompts": ".", "outputs": "."}, {"short": "1"}, "no parameter 'short'"),
    "no folder": ({"prompts": "missing", "outputs": "."}, {"shortest": "1"}, "'missing' is not a folder"),
    "no data": ({"prompts": ".", "outputs": "."}, {"shortest": "1"}, "has no Parquet files"),
}


@pytest.mark.parametrize(("data", "arguments", "message"), GIVEN.values(), ids=GIVEN)
def test_what_is_given_must_fit(made, monkeypatch, tmp_path, data, arguments, message):
    """Each input has a folder with data, and each parameter a value; nothing else is given."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(wrong.Wrong, match=re.escape(message)):
        inputs.check(folder.read(made), data, arguments)


def test_without_the_server_the_package_is_named(made, monkeypatch):
    """Only `test` needs it here."""
    monkeypatch.setattr("dyff.cli.method_commands._TESTING", "dyff.no_server")
    result = CliRunner().invoke(main.client, ["method", "test", str(made)])
    assert (result.exit_code, "pip install dyff-platform" in result.output) == (2, True)
