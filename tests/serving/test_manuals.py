"""The documents that messages name exist where Dyff is installed: in a wheel, in an environment that has nothing else of the checkout."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from dyff.kernel import errors
from dyff.serve import manuals
from wheels.build import build

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"docs/((?:adr/)?[\w-]+)\.md(?:#([\w-]+))?|dyff docs ([\w/-]+)(?: ([\w.#-]+))?")
SOURCES = sorted([*(ROOT / "dyff").rglob("*.py"), *(ROOT / "migrations").glob("*.py")])


def texts(tree):
    """All texts of a module that are not docstrings, with the parts of f-strings."""
    docstrings = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            docstrings |= {id(each.value) for each in body if isinstance(each, ast.Expr)}
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]


@functools.cache
def named():
    """What the command must show: for each document that a text names, its name and a heading (or None)."""
    found = set()
    for path in SOURCES:
        for text in texts(ast.parse(path.read_text())):
            for name, anchor, again, heading in NAMED.findall(text):
                found.add((name or again, anchor or heading or None))
    return sorted(found, key=str)


def in_help():
    """The same of the help of commands, which is made of docstrings."""
    text = "".join(path.read_text() for path in sorted((ROOT / "dyff/serve").glob("cli*.py")))
    return {(name or again, anchor or None) for name, anchor, again, _ in NAMED.findall(text)}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs the command `dyff` of an environment that has the wheels. Their dependencies are those of this environment."""
    folder = tmp_path_factory.mktemp("installed")
    wheels = build(folder)
    venv.create(folder / "env", with_pip=False, symlinks=True)
    python = folder / "env/bin/python"
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, *wheels], check=True)
    # A directory of PYTHONPATH is not asked for .pth files, so this checkout is not found through it.
    environment = {**{key: value for key, value in os.environ.items() if not key.startswith("DYFF_")}}
    environment["PYTHONPATH"] = sysconfig.get_path("purelib")

    def run(*arguments, program="dyff"):
        command = [str(folder / "env/bin" / program), *arguments]
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)

    return run


def test_the_wheel_has_the_documents_and_not_the_checkout(installed):
    """The installed program finds its own copy."""
    found = installed("-c", "from dyff.serve import manuals; print(manuals.folder())", program="python")
    assert found.returncode == 0, found.stderr
    assert not Path(found.stdout.strip()).is_relative_to(ROOT)
    assert found.stdout.strip().endswith("dyff/serve/docs")


def test_messages_name_documents():
    """The search below finds what it should find."""
    assert {("settings", None), ("containment", None), ("production", None)} <= set(named())


SHOW = """
import json, sys
from click.testing import CliRunner
from dyff.serve import cli
shown = [CliRunner().invoke(cli.main, ["docs", *each]) for each in json.loads(sys.argv[1])]
print(json.dumps([[each.exit_code, each.output] for each in shown]))
"""
"""All in one process, since a process for each is a minute of imports."""


def test_every_document_that_a_message_names_is_shown(installed):
    """With its heading, by the installed program."""
    wanted = sorted(([name, heading] if heading else [name] for name, heading in {*named(), *in_help()}), key=str)
    found = installed("-c", SHOW, json.dumps(wanted), program="python")
    assert found.returncode == 0, found.stderr
    shown = json.loads(found.stdout)
    assert [(each, text) for each, (code, text) in zip(wanted, shown, strict=True) if code != 0 or not text.startswith("#")] == []
    assert installed("docs", *wanted[0]).stdout == shown[0][1]


def test_every_document_is_in_the_wheel(installed):
    """The list that the command prints has all of the folder, and what is read most is not behind the decisions."""
    listed = [line.split()[0] for line in installed("docs").stdout.splitlines()]
    assert listed == sorted(listed, key=lambda name: ("/" in name, name))
    assert sorted(listed) == sorted(str(each.relative_to(ROOT / "docs").with_suffix("")) for each in (ROOT / "docs").rglob("*.md"))


def test_links_between_documents_lead_to_headings():
    """Every link with an anchor in the documents names a heading that is there."""
    links = re.compile(r"\]\(([\w./-]*\.md)?#([\w-]+)\)")
    for path in sorted((ROOT / "docs").rglob("*.md")):
        for file, anchor in links.findall(path.read_text()):
            target = (path.parent / file if file else path).resolve().relative_to(ROOT / "docs")
            assert manuals.text(f"{target.with_suffix('')}#{anchor}")


@pytest.mark.parametrize("name", ["settings#objects.url", "settings#objectsurl", "docs/settings.md#objectsurl", "settings#`objects.url`"])
def test_a_section_ends_before_the_next(name):
    """A heading is named as it is written, without its marks, or as an anchor."""
    shown = manuals.text(name)
    assert shown.startswith("### `objects.url`\n")
    assert shown.count("###") == 1
    assert "AWS_ACCESS_KEY_ID" in shown


def test_a_section_has_those_below_it_and_no_lines_of_code_as_headings():
    """`## Network` of the page has its deeper ones; a comment in a block of code is no heading."""
    shown = manuals.text("kubernetes#pods-that-run-accounts-programs")
    assert "### Network" in shown
    assert "## The operator alone" not in shown
    with pytest.raises(errors.NotFound):
        manuals.text("production#dyff.yaml, for all roles")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("setings", "did you mean 'settings'?"),
        ("../README", "there is no document"),
        ("settings#objekts.url", "did you mean 'objects.url'?"),
        ("settings#zzzz", "has no heading 'zzzz'"),
        ("", "there is no document"),
    ],
)
def test_what_is_not_there_is_answered_with_the_nearest(name, said):
    """A document or a heading; and nothing outside the folder is shown."""
    with pytest.raises(errors.NotFound, match=re.escape(said)):
        manuals.text(name)
