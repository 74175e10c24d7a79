"""One implementation for two clients: operations are coroutines, and a blocking client runs them to their end.

`@operation` marks a coroutine method, `@iteration` an asynchronous generator method, of a class derived from `Bound[S]`.
Where `S` is `Blocking`, callers see ordinary methods that return results (or iterators); where it is `Awaited`, they
await. A blocking client's I/O never suspends (`dyff.sdk.io`), so there is no event loop and no thread behind it:
tracebacks and debuggers go straight through, it works inside a running event loop, and Ctrl-C arrives where it blocks.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", covariant=True)
S = TypeVar("S")


class Blocking:
    """In types only: calls return results."""


class Awaited:
    """In types only: calls return awaitables."""


class Bound(Generic[S]):
    """What has operations. `S`: `Blocking` or `Awaited`, as its callers see it."""

    _is_blocking: bool

    def _inside(self) -> Self:
        """Itself as its own operations see it: everything is awaited there."""
        if not self._is_blocking:
            return self
        seen = copy.copy(self)
        seen._is_blocking = False
        return seen


class operation(Generic[P, R]):
    """A coroutine method that a blocking client's callers simply call."""

    def __init__(self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        """As a decorator."""
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Bound[Blocking], owner: type) -> Callable[P, R]: ...
    @overload
    def __get__(self, instance: Bound[Awaited], owner: type) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        method = MethodType(self._function, instance._inside())
        return _like(method, lambda *given, **named: run(method(*given, **named))) if instance._is_blocking else method


class iteration(Generic[P, R]):
    """An asynchronous generator method that a blocking client's callers iterate over as usual."""

    def __init__(self, function: Callable[Concatenate[Any, P], AsyncIterator[R]]) -> None:
        """As a decorator."""
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...
    @overload
    def __get__(self, instance: Bound[Blocking], owner: type) -> Callable[P, Iterator[R]]: ...
    @overload
    def __get__(self, instance: Bound[Awaited], owner: type) -> Callable[P, AsyncIterator[R]]: ...
    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        method = MethodType(self._function, instance._inside())
        return _like(method, lambda *given, **named: _iterate(method(*given, **named))) if instance._is_blocking else method


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    coroutine.close()
    raise RuntimeError("an operation of a blocking client was suspended: it awaited something other than the client's I/O")


def _iterate(source: Any) -> Iterator[Any]:
    try:
        while True:
            try:
                item = run(source.__anext__())
            except StopAsyncIteration:
                return
            yield item
    finally:
        run(source.aclose())


def _like(method: MethodType, call: Callable[..., Any]) -> Callable[..., Any]:
    """`call` with the name, the documentation and the signature of `method`."""
    return functools.update_wrapper(call, method)
