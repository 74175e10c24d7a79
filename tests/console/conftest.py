"""A world with an API, of which a browser can be a client."""

from __future__ import annotations

import pytest

from tests.api import conftest as api_world


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
