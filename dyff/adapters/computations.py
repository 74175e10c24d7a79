"""The `$compute` part of TransformJSON: a value from the item or the configuration, passed through functions. Pure.

Compiling never runs a user's regular expression, not even on an empty string, because some never finish even then. Callers
that process items must have a time limit.
"""

from __future__ import annotations

import functools
import operator
import re
import warnings
from collections.abc import Callable
from typing import Any

from dyff.adapters import configurations, paths

Value = Callable[[Any], Any]
"""A function from an item, or from the result of the previous step, to a value."""

MAX_PATTERN = 1_000
"""The most characters of a regular expression."""
_FLAGS = re.ASCII | re.IGNORECASE | re.MULTILINE | re.DOTALL | re.UNICODE | re.VERBOSE

_SOURCES = ("$literal", "$scalar", "$list")


def compute(steps: Any, location: configurations.Location) -> Value:
    """Compile a computation: one step or a list of steps. The first gets the item, each other one the result of the previous step.

    A step is a source (`{"$literal": any}`, `{"$scalar": query}`, `{"$list": query or list of sources}`) or a function
    (`{"$func": name, ...}` with the parameters of Python's function of that name).

    Raises:
        InvalidFields: a step is wrong; the location names it.
    """
    listed = isinstance(steps, list)
    compiled = tuple(_step(step, (*location, place) if listed else location) for place, step in enumerate(steps if listed else [steps]))
    if not compiled:
        return lambda _: None
    return lambda value: functools.reduce(lambda passed, step: step(passed), compiled, value)


def _step(step: Any, location: configurations.Location) -> Value:
    if not isinstance(step, dict):
        raise configurations.invalid(location, f"must be an object with $func or one of {', '.join(_SOURCES)}", "type_error")
    if "$func" in step:
        return _function(step, location)
    return _source(step, location)


def _source(step: Any, location: configurations.Location) -> Value:
    given = [key for key in _SOURCES if isinstance(step, dict) and key in step]
    if len(given) != 1 or len(step) != 1:
        raise configurations.invalid(
            location, f"must be an object with exactly one key: $func with its parameters, or {', '.join(_SOURCES)}"
        )
    kind, value = given[0], step[given[0]]
    if kind == "$literal":
        return lambda _: value
    if kind == "$list" and isinstance(value, list):
        parts = tuple(_source(each, (*location, kind, place)) for place, each in enumerate(value))
        return lambda item: [part(item) for part in parts]
    if not isinstance(value, str) or not value.startswith("$") or value.startswith("$$"):
        raise configurations.invalid((*location, kind), "must be a JSONPath query that begins with $; for a value as it is use $literal")
    try:
        return paths.only_match(value) if kind == "$scalar" else paths.every_match(value)
    except ValueError as error:
        raise configurations.invalid((*location, kind), str(error)) from error


def _function(step: dict[str, Any], location: configurations.Location) -> Value:
    name = step["$func"]
    if name not in _FUNCTIONS:
        raise configurations.invalid((*location, "$func"), f"is not known; known are {', '.join(_FUNCTIONS)}")
    make, required, optional = _FUNCTIONS[name]
    for parameter in step:
        if parameter != "$func" and parameter not in required and parameter not in optional:
            known = ", ".join((*required, *optional)) or "none"
            raise configurations.invalid((*location, parameter), f"is no parameter of {name}; known are {known}", "extra_forbidden")
    for parameter in required:
        if parameter not in step:
            raise configurations.invalid((*location, parameter), f"is missing: {name} needs it", "missing")
    for parameter, value in step.items():
        wanted = _TYPES.get(parameter)
        if wanted and (not isinstance(value, wanted) or isinstance(value, bool)):
            allowed = " or ".join(_TYPE_NAMES[each] for each in wanted)
            raise configurations.invalid((*location, parameter), f"must be {allowed}", "type_error")
    try:
        return make({key: value for key, value in step.items() if key != "$func"})
    except (re.error, ValueError, IndexError, OverflowError, RecursionError) as error:
        raise configurations.invalid(location, f"{name} cannot work: {error}") from error


def _pattern(parameters: dict[str, Any]) -> re.Pattern[str]:
    pattern, flags = parameters["pattern"], parameters.get("flags", 0)
    if len(pattern) > MAX_PATTERN:
        raise ValueError(f"the pattern is longer than {MAX_PATTERN} characters")
    if flags < 0 or flags & ~_FLAGS:
        raise ValueError(f"the flags may be a sum of {', '.join(f'{flag.value} ({flag.name})' for flag in sorted(_FLAGS))}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # for patterns that later Python versions may interpret differently
        return re.compile(pattern, flags)


def _stand_in(pattern: re.Pattern[str]) -> re.Pattern[str]:
    """A pattern with the same groups that matches only the empty string, in constant time. It checks replacements safely."""
    named = {number: f"?P<{name}>" for name, number in pattern.groupindex.items()}
    return re.compile("".join(f"({named.get(number, '')})" for number in range(1, pattern.groups + 1)))


def _check_number(number: int) -> int:
    """Return `number` if the functions of `re` accept it, else raise ValueError."""
    if abs(number) >= 2**31:
        raise ValueError(f"{number} is too large a number")
    return number


def _findall(parameters: dict[str, Any]) -> Value:
    return _pattern(parameters).findall


def _join(parameters: dict[str, Any]) -> Value:
    separator: str = parameters.get("separator", "")
    return separator.join


def _reduce(_: dict[str, Any]) -> Value:
    return lambda values: functools.reduce(operator.add, values)


def _search(parameters: dict[str, Any]) -> Value:
    pattern, group, default = _pattern(parameters), parameters.get("group", 0), parameters.get("default")
    if group not in pattern.groupindex and not (isinstance(group, int) and 0 <= group <= pattern.groups):
        raise ValueError(f"the pattern has no group {group!r}")

    def search(text: str) -> Any:
        match = pattern.search(text)
        return default if match is None else match.group(group)

    return search


def _split(parameters: dict[str, Any]) -> Value:
    pattern, maxsplit = _pattern(parameters), _check_number(parameters.get("maxsplit", 0))
    return lambda text: pattern.split(text, maxsplit)


def _sub(parameters: dict[str, Any]) -> Value:
    pattern, replacement, count = _pattern(parameters), parameters["repl"], _check_number(parameters.get("count", 0))
    _stand_in(pattern).sub(replacement, "")
    return lambda text: pattern.sub(replacement, text, count)


_FUNCTIONS: dict[str, tuple[Callable[[dict[str, Any]], Value], tuple[str, ...], tuple[str, ...]]] = {
    "findall": (_findall, ("pattern",), ("flags",)),
    "join": (_join, (), ("separator",)),
    "list": (lambda _: list, (), ()),
    "reduce": (_reduce, (), ()),
    "search": (_search, ("pattern",), ("flags", "group", "default")),
    "split": (_split, ("pattern",), ("maxsplit", "flags")),
    "sub": (_sub, ("pattern", "repl"), ("count", "flags")),
}
"""Functions by name: how to compile one, its required parameters, and its optional ones."""

_TYPES: dict[str, tuple[type, ...]] = {
    "pattern": (str,), "repl": (str,), "separator": (str,), "flags": (int,), "count": (int,), "maxsplit": (int,), "group": (int, str),
}  # fmt: skip
_TYPE_NAMES = {str: "a string", int: "a whole number"}
