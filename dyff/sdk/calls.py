"""One implementation for two clients: operations are coroutines, which a blocking client runs to completion.

`@operation` marks a coroutine method, `@iteration` an asynchronous generator method, of a class derived from `Bound[S]`.
If `S` is `Blocking`, callers see ordinary methods that return results (or iterators). If it is `Awaited`, they await them.
The I/O of a blocking client never suspends (`dyff.sdk.io`), so it needs no event loop and no extra thread: tracebacks and
debuggers work as usual, it can be used inside a running event loop, and Ctrl-C interrupts the blocking call.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, cast, overload

from dyff.sdk import interruptions

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", covariant=True)
S = TypeVar("S")


class Blocking:
    """Only for types: calls return results."""


class Awaited:
    """Only for types: calls return awaitables."""


class Bound(Generic[S]):
    """The base of classes with operations. `S`: `Blocking` or `Awaited`, depending on how callers use it."""

    _is_blocking: bool

    def _inside(self) -> Self:
        """Return this object for use inside operations, which always await."""
        if not self._is_blocking:
            return self
        seen = copy.copy(self)
        seen._is_blocking = False
        return seen


class operation(Generic[P, R]):
    """Decorates a coroutine method. On a blocking client, it is an ordinary method."""

    def __init__(self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]) -> None:
        """Use it as a decorator."""
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
    """Decorates an asynchronous generator method. On a blocking client, it returns an ordinary iterator."""

    def __init__(self, function: Callable[Concatenate[Any, P], AsyncIterator[R]]) -> None:
        """Use it as a decorator."""
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
        return _like(method, lambda *given, **named: _iterate(method(*given, **named), method)) if instance._is_blocking else method


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that never suspends, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast(T, end.value)
    except KeyboardInterrupt as error:  # inside of the HTTP library, as a rule, whose many frames explain nothing
        raise interruptions.shortened(error) from None
    coroutine.close()
    raise RuntimeError("an operation of a blocking client was suspended: it awaited something other than the client's I/O")


def _iterate(source: Any, method: MethodType) -> Iterator[Any]:
    found: Any = _steps(source)
    found.__qualname__ = method.__qualname__  # for its repr
    return cast(Iterator[Any], found)


def _steps(source: Any) -> Generator[Any, None, None]:
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
    """Return `call` with the name, the documentation and the signature of `method`."""
    return functools.update_wrapper(call, method)
