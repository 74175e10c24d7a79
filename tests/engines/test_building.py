from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from image import archive
from tests.engines import building
from tests.engines.building import build, fingerprint
from tests.engines.catalog import RECIPES
from tests.engines.fakes import FakeRecipe
from tests.engines.recipes import EngineError, Unavailable


def test_the_hash_changes_with_the_recipe(recipe):
    """What is cached is found by the content and the names of all files of the recipe, and by what else the build depends on."""
    found = [fingerprint(recipe)]
    (recipe.folder / "more").write_text("x")
    found.append(fingerprint(recipe))
    (recipe.folder / "more").write_text("y")
    found.append(fingerprint(recipe))
    (recipe.folder / "more").rename(recipe.folder / "other")
    found.append(fingerprint(recipe))
    recipe.identity = lambda: b"another Python"
    found.append(fingerprint(recipe))
    assert len(set(found)) == len(found)


def test_what_python_caches_is_no_part_of_the_recipe(recipe):
    """Importing a recipe's module does not change its hash."""
    before = fingerprint(recipe)
    (recipe.folder / "__pycache__").mkdir()
    (recipe.folder / "__pycache__/recipe.pyc").write_bytes(b"x")
    assert fingerprint(recipe) == before


def test_a_second_build_costs_nothing(recipe):
    """The same recipe is built once, another one next to it."""
    first = build(recipe)
    assert build(recipe) == first
    assert recipe.builds == 1
    (recipe.folder / "more").write_text("x")
    assert build(recipe) != first
    assert first.exists()
    assert recipe.builds == 2


def test_builds_at_the_same_time_build_once(recipe):
    """The second one waits for the first and takes what it built."""
    begun, may_end = threading.Event(), threading.Event()

    class Slow(FakeRecipe):
        def build(self, target):
            begun.set()
            may_end.wait(20)
            super().build(target)

    slow = Slow(recipe.folder)
    found = []
    threads = [threading.Thread(target=lambda: found.append(build(slow))) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert begun.wait(20)
    may_end.set()
    for thread in threads:
        thread.join(20)
    assert slow.builds == 1
    assert len(found) == 3
    assert len(set(found)) == 1


def test_a_build_that_failed_leaves_nothing(recipe, cache):
    """A half-made build is never found by the next run, which tries again."""

    class Broken(FakeRecipe):
        def build(self, target):
            super().build(target)
            if self.builds == 1:
                raise EngineError("no network")

    broken = Broken(recipe.folder)
    with pytest.raises(EngineError, match="no network"):
        build(broken)
    assert [each.name for each in cache.iterdir() if each.is_dir()] == []
    assert (build(broken) / "server.py").exists()


def test_what_a_killed_build_left_is_removed(recipe, cache):
    """The next build of the same server removes it."""
    left = cache / ".fake-123"
    left.mkdir(parents=True)
    build(recipe)
    assert not left.exists()


def test_a_missing_program_is_named(recipe):
    """On a machine that lacks something the error says what; what is built already needs no tools to build."""
    recipe.build_programs = ("no-such-builder",)
    with pytest.raises(Unavailable, match=r"Fake 1\.0: no-such-builder not found; install it"):
        build(recipe)
    recipe.build_programs = ()
    build(recipe)
    recipe.build_programs = ("no-such-builder",)
    assert build(recipe).exists()
    recipe.programs = ("no-such-java",)
    with pytest.raises(Unavailable, match="no-such-java"):
        build(recipe)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_names_its_server_and_version(name):
    """The table of a run says what it ran on; the version is the pinned one."""
    title = RECIPES[name].title
    assert title in {"Apache Kafka 4.2.0", "Kubernetes 1.35.4", "Kubernetes 1.35.4 with a node", "SecantusDB 0.7.0b3", "SeaweedFS 4.48"}
    assert RECIPES[name].folder.name == name


def test_a_node_is_built_again_with_what_writes_its_images(monkeypatch, tmp_path):
    """Its recipe is more than its folder: the module that writes archives is shared with Dyff's own image."""
    before = fingerprint(RECIPES["node"])
    changed = tmp_path / "archive.py"
    changed.write_text("")
    monkeypatch.setattr(archive, "__file__", str(changed))
    assert fingerprint(RECIPES["node"]) != before


def test_a_node_is_not_built_where_it_would_not_see_it(monkeypatch):
    """Folders that a node has of its own hide those of the machine: the reason is reported immediately, with the way out."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(building, "root", lambda: Path("/var/lib/runner/.cache"))
    with pytest.raises(Unavailable, match=r"/var/lib of its own.* set DYFF_ENGINES_DIR"):
        build(RECIPES["node"])


def test_packages_are_pinned_with_hashes():
    """What is downloaded is what was reviewed."""
    for name in ("secantusdb", "seaweedfs"):
        lines = (RECIPES[name].folder / "requirements.txt").read_text().splitlines()
        pins = [number for number, line in enumerate(lines) if "==" in line]
        assert pins
        assert all("--hash=sha256:" in lines[number + 1] for number in pins)
