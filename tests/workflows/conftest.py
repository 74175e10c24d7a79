from __future__ import annotations

import pytest

from tests.workflows import hub as hubs
from tests.workflows import runs
from tests.workflows.fetching import Fetch


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


@pytest.fixture
def git(tmp_path):
    with hubs.a_git_server(tmp_path / "git") as running:
        yield running


@pytest.fixture
def fetch(store, steps, tmp_path):
    return Fetch(store, steps, tmp_path)
