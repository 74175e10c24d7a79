from __future__ import annotations

import ast
import subprocess
import tomllib
from pathlib import Path

import pytest

from tests.narrowing import sure

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "dyff").rglob("*.py"))
GENERATED = ROOT / "dyff/sdk/requests.py"
"""No one writes it, so it need not be small."""
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60


def functions(text: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_files_and_functions_stay_small():
    """A file has at most 500 lines and a function at most 60."""
    long = {}
    for path in SOURCES:
        text, name = path.read_text(), str(path.relative_to(ROOT))
        if path != GENERATED and (lines := len(text.splitlines())) > MAX_FILE_LINES:
            long[name] = lines
        for node in functions(text):
            if (lines := sure(node.end_lineno) - node.lineno + 1) > MAX_FUNCTION_LINES:
                long[f"{name}: {node.name}"] = lines
    assert SOURCES
    assert long == {}


def test_no_module_lies_directly_in_the_namespace_package():
    """`dyff/` has no modules: `dyff/operator` would shadow the standard library's for anything that ran there."""
    assert [path.name for path in (ROOT / "dyff").glob("*.py")] == []


def test_every_package_is_under_the_import_contracts():
    """The list of root packages in pyproject.toml is the list of folders."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]
    assert sorted(listed) == sorted(f"dyff.{path.name}" for path in (ROOT / "dyff").iterdir() if (path / "__init__.py").exists())


def test_every_package_is_typed_and_says_what_it_is():
    """Each package has `py.typed` and an `__init__.py` that holds a docstring."""
    for package in (path for path in (ROOT / "dyff").iterdir() if path.is_dir() and path.name != "__pycache__"):
        assert (package / "py.typed").exists(), package
        assert ast.get_docstring(ast.parse((package / "__init__.py").read_text())), package


def test_nothing_reads_the_environment_but_settings_and_the_programs_at_the_edge():
    """Settings are declared in one place; only step programs and the SDK have documented variables, and a cloud its credentials.

    A forked step replaces its environment, and the attacks that a sandbox must withstand look for a secret in theirs.
    """
    shim = "dyff/cluster/pods/shim"
    allowed = {
        "dyff/kernel/settings.py", "dyff/sdk", "dyff/cli", "dyff/workflows", "dyff/serve/opening.py", f"{shim}/forked.py",
        f"{shim}/attacks/files.py", "dyff/stats/recording.py",
    }  # fmt: skip
    readers = [path.relative_to(ROOT) for path in SOURCES if "os.environ" in path.read_text()]
    assert [str(path) for path in readers if not any(str(path).startswith(prefix) for prefix in allowed)] == []


def test_every_test_states_its_rule():
    """A test's docstring is a sentence that says what must hold."""
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    assert len(files) > 300
    assert [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in files
        for node in functions(path.read_text())
        if node.name.startswith("test_") and not ast.get_docstring(node)
    ] == []


def test_nothing_that_was_installed_or_built_is_kept():
    """The repository has what people wrote: no environment, no cache, nothing large."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-z"], capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a checkout")
    tracked = [Path(name) for name in listed.stdout.split("\0") if name]
    assert tracked
    made = {"site-packages", "node_modules", "__pycache__", "build", "dist"}
    assert [str(path) for path in tracked if made & set(path.parts) or path.parts[0].startswith(".venv")] == []
    assert [str(path) for path in tracked if (ROOT / path).exists() and (ROOT / path).stat().st_size > 1_000_000] == []
