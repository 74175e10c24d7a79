"""HTTP over sockets is tested on both event loops: servers and steps run on uvloop, whose transports differ from asyncio's."""

from __future__ import annotations

import asyncio

import pytest
import uvloop


@pytest.hookimpl(tryfirst=True)
def pytest_asyncio_loop_factories(config, item):
    if item.name.startswith(("test_the_proxy", "test_the_evaluation_client")):
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return None
