"""The package needs nothing but the standard library until a function is called, in every Python that a method may have."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from tests.analyses.runs import ROOT

FILES = sorted((ROOT / "dyff/stats").glob("*.py"))


def loaded(code: str) -> set[str]:
    """The packages that a fresh process has loaded after some code."""
    program = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{code}\nprint(*{{each.partition('.')[0] for each in sys.modules}})"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_the_import_loads_nothing_large():
    """No numpy, no scipy, no pyarrow, and nothing else of Dyff that has to be there."""
    assert not loaded("import dyff.stats") & {"numpy", "scipy", "pyarrow", "msgspec", "pandas"}


def test_scipy_is_loaded_for_an_interval_only():
    """Wilson's interval, permutations and the bootstrap need numpy only. A t interval needs scipy, but not its large part."""
    common = "from dyff import stats\nstats.proportion([1, 0] * 20)\nstats.permutation([1, 2], [2, 1])\nstats.bootstrap([1, 2, 3])"
    assert not loaded(common) & {"scipy", "pyarrow"}
    assert "scipy" in loaded("from dyff import stats\nstats.mean([1, 2])\nassert 'scipy.stats' not in sys.modules")


def test_without_scipy_the_command_is_said():
    """Where it is missing, the error has the command that installs it."""
    code = "sys.modules['scipy'] = None\nfrom dyff import stats\ntry:\n    stats.mean([1, 2])\nexcept ModuleNotFoundError as error:\n"
    code += "    assert 'pip install \"dyff-sdk[stats]\"' in str(error), error\nelse:\n    raise AssertionError"
    loaded(code)


@pytest.mark.parametrize("path", FILES, ids=lambda each: each.name)
def test_an_old_python_reads_it(path):
    """The oldest Python that an environment may have."""
    ast.parse(path.read_text(), feature_version=(3, 10))


def test_what_is_exported_exists_once():
    """The list of names is that of the imports, sorted."""
    from dyff import stats

    names = [
        name for name in vars(stats) if not name.startswith("_") and getattr(vars(stats)[name], "__module__", "").startswith("dyff.stats")
    ]
    assert {*names, "VERSION"} == set(stats.__all__)
    assert all(getattr(stats, name).__doc__ for name in stats.__all__)
