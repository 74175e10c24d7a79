"""The proxy is tested on both event loops, since servers run on uvloop and its transports differ from asyncio's."""

from __future__ import annotations

import asyncio

import pytest
import uvloop


@pytest.hookimpl(tryfirst=True)
def pytest_asyncio_loop_factories(config, item):
    if "front" in item.fixturenames:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return None
