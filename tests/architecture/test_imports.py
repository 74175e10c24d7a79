from __future__ import annotations

import graphlib
from pathlib import Path

import grimp  # comes with import-linter
import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = sorted(f"dyff.{path.name}" for path in (ROOT / "dyff").iterdir() if (path / "__init__.py").exists())


def cycle(*packages: str) -> list[str]:
    """Modules of the packages each of which is imported by the next one, the last one also by the first; empty: there are none.

    Imports count wherever they are: also within a function, and those for type checkers only.
    """
    graph = grimp.build_graph(*packages, exclude_type_checking_imports=False, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        return list(error.args[1][:-1])
    return []


def test_no_modules_import_each_other():
    """No module imports, directly or through others, a module that imports it: each can be read, and tested, after those it uses."""
    assert cycle(*PACKAGES) == []


@pytest.mark.parametrize(
    "back",
    [
        "from a_package import a",
        "def later():\n    from a_package import a",
        "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import a_package.a",
    ],
    ids=["plain", "in a function", "for type checkers"],
)
def test_a_cycle_is_found(tmp_path, monkeypatch, back):
    """The check above sees a cycle over three modules, whatever form its imports have."""
    package = tmp_path / "a_package"
    package.mkdir()
    modules = {"__init__": "", "a": "from a_package import b", "b": "from a_package import c", "c": back, "d": "from a_package import a"}
    for name, text in modules.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert sorted(cycle("a_package")) == ["a_package.a", "a_package.b", "a_package.c"]
