"""The query store, on every adapter."""

from __future__ import annotations

import pytest

from dyff.query import embedded
from dyff.query.mongo import MongoQuery
from tests.contracts import mongodb


@pytest.fixture(params=["query:embedded", *mongodb.params("query")])
async def query(request, tmp_path):
    if request.param == "query:embedded":
        async with embedded.EmbeddedQuery.open(tmp_path / "query.sqlite") as store:
            yield store
        return
    async with mongodb.database(request.param) as connection, MongoQuery.open(connection) as store:
        yield store
