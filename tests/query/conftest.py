"""A database of MongoDB for the view, by each driver."""

from __future__ import annotations

import pytest

from tests.contracts import mongodb


@pytest.fixture(params=mongodb.params("view"))
async def connection(request):
    async with mongodb.database(request.param) as given:
        yield given
