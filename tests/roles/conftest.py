"""What the roles that follow the log are tested on."""

from __future__ import annotations

import pytest

from tests.roles import log


@pytest.fixture
async def bus(tmp_path):
    """An embedded log with Dyff's topics."""
    async with log.opened(tmp_path / "log.db") as opened:
        yield opened
