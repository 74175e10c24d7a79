"""Values that may be None in general, and are not in a test."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TypeVar

T = TypeVar("T")


def sure(value: T | None) -> T:
    """`value`, which must not be None here: otherwise the test fails at this line."""
    assert value is not None
    return value


@asynccontextmanager
async def closing_stream(stream: AsyncIterator[T]) -> AsyncIterator[AsyncGenerator[T, None]]:
    """A stream of a port, which all adapters implement as a generator: it is closed at the end."""
    assert isinstance(stream, AsyncGenerator)
    async with aclosing(stream):
        yield stream
