"""A world with an API for the tests of pages, and a browser."""

from __future__ import annotations

import pytest

from tests.api.conftest import api as api
from tests.api.conftest import world as world
from tests.pages import cases


@pytest.fixture
async def audit(world, api):
    """A system and a dataset, and methods that were ready before the first output."""
    return await cases.Audit(world, api).prepare()
