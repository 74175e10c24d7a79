"""What the roles that follow the log are tested on."""

from __future__ import annotations

import pytest

from tests.roles import log, world


@pytest.fixture
async def bus(tmp_path):
    """An embedded log with Dyff's topics."""
    async with log.opened(tmp_path / "log.db") as opened:
        yield opened


@pytest.fixture
async def here(tmp_path):
    """A world with a dataset and a service that are ready."""
    async with world.installation(tmp_path) as made:
        await made.create(world.a_dataset(), world.a_service())
        yield made
