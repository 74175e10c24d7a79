"""A real server that speaks MongoDB's protocol, on which every test has a database of its own; and both drivers on it."""

from __future__ import annotations

import os
import uuid
from contextlib import asynccontextmanager

import pytest

from dyff.kernel import mongo
from tests.conftest import missing

URI = "DYFF_TEST_MONGODB"
DRIVERS = ("motor", "pymongo")


def params(port: str) -> list[object]:
    """`<port>:mongo-<driver>` for each driver."""
    return [pytest.param(f"{port}:mongo-{driver}", marks=pytest.mark.engines) for driver in DRIVERS]


@asynccontextmanager
async def database(param: str):
    """How to connect to a new database, which is dropped afterwards. `param`: one of `params`."""
    uri = os.environ.get(URI)
    if not uri:
        missing(f"no MongoDB: {URI} is not set; start one with make services, or run make test-engines")
    connection = mongo.Connection(uri=uri, database=f"dyff-test-{uuid.uuid4().hex}", driver=param.rpartition("-")[2])
    try:
        yield connection
    finally:
        async with mongo.Database.open(connection, "the test's database") as opened:
            await opened.drop()
