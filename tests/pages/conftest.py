"""A world with an API for the tests of pages, and a browser."""

from __future__ import annotations

import pytest

from tests.api import conftest as api_world
from tests.pages import cases


@pytest.fixture
async def world(tmp_path):
    """A world of the test's own."""
    async for subject in api_world.held(api_world.opened(tmp_path)):
        yield subject


@pytest.fixture
async def api(world):
    """A client with an administrator's token."""
    async with world.client() as client:
        yield client


@pytest.fixture
async def audit(world, api):
    """A system and a dataset, and methods that were ready before the first output."""
    return await cases.Audit(world, api).prepare()
