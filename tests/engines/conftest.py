"""The cache of each test is its own."""

from __future__ import annotations

import pytest

from tests.engines.fakes import FakeRecipe


@pytest.fixture(autouse=True)
def cache(request, tmp_path, monkeypatch):
    if not request.node.get_closest_marker("engines"):
        monkeypatch.setenv("DYFF_ENGINES_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("DYFF_ENGINES", "native")
        monkeypatch.delenv("DYFF_TEST_FAKE", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def recipe(tmp_path):
    return FakeRecipe(tmp_path / "recipe")
