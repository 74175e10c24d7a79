"""What is in which wheel: the two together are the tree, and the client's has exactly what it imports."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
import zipfile
from pathlib import Path

import grimp  # comes with import-linter
import pytest

from wheels.build import ROOT, build

PLATFORM = tomllib.loads((ROOT / "pyproject.toml").read_text())
SDK = tomllib.loads((ROOT / "wheels/sdk/pyproject.toml").read_text())
FILES = SDK["tool"]["hatch"]["build"]["targets"]["wheel"]["hooks"]["custom"]["files"]
RUNNER = "dyff.workflows.analysis_runner"
"""It has an extra of its own: who uses it without the environment of analyses installs that."""
PACKAGES = [f"dyff.{path.name}" for path in (ROOT / "dyff").iterdir() if (path / "__init__.py").exists()]


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """The files of each wheel that are not about it: those of dyff-platform, and those of dyff-sdk."""
    wheels = build(tmp_path_factory.mktemp("wheels"))
    return [{name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name} for wheel in wheels]


def sources():
    """All files of the package in the tree, by their path in a wheel."""
    found = (path for path in (ROOT / "dyff").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(ROOT)) for path in found}


def test_every_file_is_in_one_wheel(contents):
    """None is in both, so that either can be removed; none is forgotten."""
    platform, client = contents
    assert platform & client == set()
    added = {name for name in platform if name.startswith(("dyff/serve/docs/", "dyff/serve/migrations/"))}
    assert (platform - added) | client == sources()
    assert added


def test_the_lists_of_both_projects_are_the_same():
    """What dyff-platform excludes is what dyff-sdk includes."""
    assert PLATFORM["tool"]["hatch"]["build"]["targets"]["wheel"]["exclude"] == [f"dyff/{each}" for each in FILES]


def test_both_have_one_version():
    """dyff-platform depends on dyff-sdk at its own version: their files belong together."""
    version = PLATFORM["project"]["version"]
    assert SDK["project"]["version"] == version
    assert f"dyff-sdk[arrow,stats]=={version}" in PLATFORM["project"]["dependencies"]


def test_only_one_has_the_command():
    """A script that both had would be removed with either."""
    assert "scripts" not in PLATFORM["project"]
    assert SDK["project"]["scripts"] == {"dyff": "dyff.cli.main:main"}


def reached(*starts, without=()):
    """The modules that these import, directly or through others, and the packages of others that those import.

    `without`: parts of the name of modules that are left out.
    """
    graph = grimp.build_graph(*PACKAGES, include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None)
    seen, todo = set(), [module for start in starts for module in graph.modules if module == start or module.startswith(f"{start}.")]
    while todo:
        module = todo.pop()
        if module in seen or any(each in module for each in without):
            continue
        seen.add(module)
        parent = module.rpartition(".")[0]
        todo += [*graph.find_modules_directly_imported_by(module), *([parent] if parent in graph.modules else [])]
    return {each for each in seen if each.startswith("dyff.")}, {each for each in seen if not each.startswith("dyff.")}


def test_the_client_has_what_it_imports_and_no_more():
    """Of the kernel, which is shared: exactly those modules that the client reaches. Of other packages: all, or nothing."""
    modules, _ = reached("dyff.sdk", "dyff.cli", "dyff.adapters", "dyff.entities", "dyff.stats")
    whole = {f"dyff.{each}" for each in FILES if "/" not in each}
    single = {f"dyff.{each.removesuffix('.py').replace('/', '.').removesuffix('.__init__')}" for each in FILES if each.endswith(".py")}
    assert {".".join(each.split(".")[:2]) for each in modules} == {*whole, "dyff.kernel"}
    assert {each for each in modules if each.startswith("dyff.kernel")} == single


def names(project, extra=None):
    """The packages that a project declares, as modules."""
    declared = [*project["project"]["dependencies"], *(project["project"].get("optional-dependencies", {}).get(extra, []) if extra else [])]
    return {re.split(r"[<>=;\[ ]", each)[0].replace("-", "_") for each in declared}


def test_the_client_declares_what_it_imports():
    """No package of others is there only because another one happens to need it, and none that nothing imports."""
    _, others = reached("dyff.sdk", "dyff.cli", "dyff.adapters", "dyff.entities")
    assert others - set(sys.stdlib_module_names) == names(SDK, "arrow") - {"tzdata"}  # tzdata is data


def test_the_statistics_declare_what_they_import():
    """Nothing but what their extra has, and pyarrow, of columns that are Arrow's."""
    _, others = reached("dyff.stats")
    assert others - set(sys.stdlib_module_names) == names(SDK, "stats") - names(SDK) | {"pyarrow"}


def test_the_server_declares_what_it_imports():
    """The same for dyff-platform, with all of its extras. The runner of analyses has another environment."""
    _, others = reached(*PACKAGES, without=[RUNNER])
    modules = {"jwt": "pyjwt", "yaml": "pyyaml", "bson": "pymongo", "opentelemetry": "opentelemetry_sdk"}
    wanted = {modules.get(each, each) for each in others - set(sys.stdlib_module_names)}
    declared = names(PLATFORM) | names(SDK, "arrow") | names(SDK, "stats")
    for extra in PLATFORM["project"]["optional-dependencies"]:
        declared |= names(PLATFORM, extra) if extra != "all" else set()
    assert wanted <= declared
    assert not [name for name in ("aiokafka", "motor", "pymongo", "kubernetes_asyncio", "aiohttp", "obstore") if name in names(PLATFORM)]


def test_the_runner_of_analyses_stands_alone():
    """It imports nothing of Dyff, and of others what its environment has."""
    modules, others = reached(RUNNER)
    assert {each for each in modules if not each.startswith(RUNNER)} == {"dyff.workflows"}  # the package that it is in, which has no code
    assert not ast.parse((ROOT / "dyff/workflows/__init__.py").read_text()).body[1:]
    listed = {line.partition("==")[0].lower() for line in (ROOT / "requirements/analysis.txt").read_text().splitlines() if "==" in line}
    assert {each.lower() for each in others - set(sys.stdlib_module_names)} <= listed


def test_links_are_files(tmp_path):
    """The licence in the client's wheel is the text, although it is a link in the tree."""
    _, client = build(tmp_path)
    name = next(each for each in zipfile.ZipFile(client).namelist() if each.endswith("LICENSE"))
    assert zipfile.ZipFile(client).read(name) == (ROOT / "LICENSE").read_bytes()
    assert Path(ROOT / "wheels/sdk/LICENSE").is_symlink()
