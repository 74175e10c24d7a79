from __future__ import annotations

import pytest

from tests.workflows import runs


@pytest.fixture
def store(tmp_path):
    return runs.Store(tmp_path / "store")


@pytest.fixture
def steps(store, tmp_path):
    return runs.Steps(store, tmp_path)


@pytest.fixture(scope="session")
def service():
    """The URL of one mock service for all tests."""
    with runs.a_mock_service() as url:
        yield url
