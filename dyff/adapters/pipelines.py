"""Pipelines of adapters, which make the requests to a service and the rows from its answers. Pure.

A pipeline is a list of `{"kind", "configuration"}`. It is compiled once (`build`), which also checks it, and then applied
to any number of items. An adapter maps one item to any number of items and has no state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from dyff.adapters import collections, configurations, fields, paths, transformations, uploads
from dyff.kernel import errors, suggestions

Pipeline = Callable[[Iterable[Any]], Iterator[Any]]
_Made = tuple[str, fields.Step]

_WRONG_ITEM = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What adapters raise for an item that does not fit. Anything else is a defect in Dyff and is not caught."""


MAX_VALUES, MAX_CHARACTERS, MAX_PATTERNS, MAX_SETS = 1_000, 32_768, 2_000, 50
"""Limits of one pipeline: its values, the characters of its strings and of its patterns, and the sets `[...]` in patterns.

They limit the cost of compiling, because other work waits for it. In the worst case it takes just under a second.
"""


def build(pipeline: Iterable[fields.Json], location: configurations.Location = ("pipeline",), *, upload: bool = False) -> Pipeline:
    """Compile `pipeline` to a function that applies it to a stream of items.

    The function raises `FixRequest`, with the adapter and the reason, for an item that does not fit. Items are not changed in
    place, but the results share parts with them.

    Args:
        pipeline: the adapters, in order. `configuration` may be absent or null if all of it is optional.
        location: the location of the pipeline in the request. The locations of errors begin with it.
        upload: whether the last adapter may be FileUpload, whose result is an `uploads.Upload` instead of JSON. True only for
            pipelines that make the requests to a service.

    Raises:
        InvalidFields: adapters are wrong; one problem for each.
    """
    _check_size(pipeline, location)
    made = _compile_all(pipeline, location)
    if problems := list(_misplaced_uploads(pipeline, location, upload)):
        raise errors.InvalidFields(*problems)
    return _stream(made)


def _compile_all(pipeline: Any, location: configurations.Location) -> list[_Made]:
    if not isinstance(pipeline, list | tuple):
        raise configurations.invalid(location, "must be a list of adapters", "type_error")
    made: list[_Made] = []
    problems: list[errors.Problem] = []
    for place, adapter in enumerate(pipeline):
        try:
            made.append(_compile(adapter, (*location, place)))
        except errors.InvalidFields as error:
            problems.extend(error.problems)
        except RecursionError:
            problems.append(errors.Problem((*location, place), "is nested too deep"))
    if problems:
        raise errors.InvalidFields(*problems)
    return made


def _compile(adapter: Any, location: configurations.Location) -> _Made:
    configurations.an_object(adapter, location, ("kind", "configuration"))
    kind, configuration = adapter.get("kind"), adapter.get("configuration")
    if kind not in ADAPTERS:
        near = suggestions.nearest(kind, ADAPTERS) if isinstance(kind, str) else None
        meant = "" if near is None else f"did you mean {near!r}? "
        raise configurations.invalid((*location, "kind"), f"{kind!r} is no known adapter; {meant}known are {', '.join(ADAPTERS)}")
    if configuration is None:
        configuration = {}
    if not isinstance(configuration, dict):
        raise configurations.invalid((*location, "configuration"), "must be an object", "type_error")
    try:
        return kind, ADAPTERS[kind](configuration, (*location, "configuration"))
    except errors.InvalidFields as error:
        problems = [errors.Problem(each.loc, f"{each.msg} (in {kind})", each.type) for each in error.problems]
        raise errors.InvalidFields(*problems) from error


_MISPLACED = (
    "FileUpload makes a request that no other adapter can take: it may only be the last adapter of a service's interface.inputPipeline"
)


def _check_size(pipeline: Any, location: configurations.Location) -> None:
    """Refuse pipelines that would take long to compile, so that the time is bounded."""
    if problem := size_problem(pipeline):
        raise configurations.invalid(location, f"has {problem}")


def size_problem(pipeline: Any, times: int = 1) -> str | None:
    """What a pipeline, or a list of pipelines, has too many of, as the end of a sentence; None if of nothing.

    `times`: multiplies the limits of one pipeline.
    """
    level: list[Any] = [pipeline]
    values = characters = patterns = sets = 0
    while level and values <= times * MAX_VALUES:
        values += len(level)
        characters += sum(len(each) for each in level if isinstance(each, str))
        objects = [each for each in level if isinstance(each, dict)]
        characters += sum(len(key) for each in objects for key in each if isinstance(key, str))
        texts = [each["pattern"] for each in objects if isinstance(each.get("pattern"), str)]
        patterns += sum(map(len, texts))
        sets += sum(text.count("[") for text in texts)
        level = [inside for each in level if isinstance(each, dict | list | tuple) for inside in _inside(each)]
    for size, one, words in (
        (values, MAX_VALUES, "values"), (characters, MAX_CHARACTERS, "characters"),
        (patterns, MAX_PATTERNS, "characters in patterns"), (sets, MAX_SETS, "sets [...] in patterns"),
    ):  # fmt: skip
        if size > times * one:
            return f"{size} {words}; at most {times * one} are allowed: make it simpler"
    return None


def _inside(value: dict[Any, Any] | list[Any] | tuple[Any, ...]) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value


def _misplaced_uploads(pipeline: Iterable[Any], location: configurations.Location, allowed: bool) -> Iterator[errors.Problem]:
    """Yield a problem for each FileUpload in a valid pipeline, except at the end of one that makes requests."""
    adapters = list(pipeline)
    for place, adapter in enumerate(adapters):
        last = place == len(adapters) - 1
        yield from _misplaced_upload(adapter, (*location, place), allowed and last)


def _misplaced_upload(adapter: fields.Json, location: configurations.Location, allowed: bool) -> Iterator[errors.Problem]:
    inside = (*location, "configuration")
    match adapter:
        case {"kind": "FileUpload"} if not allowed:
            yield errors.Problem((*location, "kind"), _MISPLACED)
        case {"kind": "Map", "configuration": {"adapter": inner}}:
            yield from _misplaced_upload(inner, (*inside, "adapter"), False)
        case {"kind": "Pipeline", "configuration": {"adapters": inner}}:
            yield from _misplaced_uploads(inner, (*inside, "adapters"), allowed)


def _stream(made: list[_Made]) -> Pipeline:
    """Apply all adapters in turn to a stream of items."""
    run, steps = _chain(made), tuple(step for _, step in made)

    def apply(items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            yield from run(item)

    def apply_one_to_one(items: Iterable[Any]) -> Iterator[Any]:
        """The same, but two to four times as fast."""
        for item in items:
            result = item
            try:
                for step in steps:
                    result = step(result)
            except (errors.FixRequest, *_WRONG_ITEM):
                [result] = run(item)  # raises the same error, with the adapter
            yield result

    return apply if any(kind in _EXPANDING for kind, _ in made) else apply_one_to_one


def _chain(made: list[_Made]) -> Callable[[Any], list[Any]]:
    """Apply all adapters in turn to one item."""

    def run(item: Any) -> list[Any]:
        items = [item]
        for place, (kind, step) in enumerate(made):
            try:
                results = [step(each) for each in items]
            except errors.FixRequest as error:
                raise errors.FixRequest(f"adapter {place} ({kind}), inside it {error.message}") from error
            except _WRONG_ITEM as error:
                raise errors.FixRequest(f"adapter {place} ({kind}): {error}") from error
            items = [each for several in results for each in several] if kind in _EXPANDING else results
        return items

    return run


def _map(configuration: fields.Json, location: configurations.Location) -> fields.Step:
    """`{"collections": [...], "adapter": {...}}`: applies the adapter to the elements of each of these lists."""
    configurations.an_object(configuration, location, ("collections", "adapter"))
    names = configurations.names(configuration, "collections", location)
    if configuration.get("adapter") is None:
        raise configurations.invalid((*location, "adapter"), "is missing: give the adapter for the elements", "missing")
    inner = _stream([_compile(configuration["adapter"], (*location, "adapter"))])

    def mapped(item: Any) -> fields.Json:
        result = fields.an_object(item).copy()
        for name in names:
            elements = fields.field(result, name)
            if not isinstance(elements, list | tuple):
                raise ValueError(f"the field {name!r} must be a list, not {paths.shown(elements)}")
            result[name] = list(inner(elements))
        return result

    return mapped


def _pipeline(configuration: fields.Json, location: configurations.Location) -> fields.Step:
    """`{"adapters": [...]}`: a pipeline inside the pipeline."""
    configurations.an_object(configuration, location, ("adapters",))
    if configuration.get("adapters") is None:
        raise configurations.invalid((*location, "adapters"), "is missing: give a list of adapters", "missing")
    return _chain(_compile_all(configuration["adapters"], (*location, "adapters")))


ADAPTERS: dict[str, Callable[[fields.Json, configurations.Location], fields.Step]] = {
    "Drop": fields.drop,
    "ExplodeCollections": collections.explode,
    "FileUpload": uploads.file_upload,
    "FlattenHierarchy": fields.flatten_hierarchy,
    "Map": _map,
    "Pipeline": _pipeline,
    "Rename": fields.rename,
    "Select": fields.select,
    "TransformJSON": transformations.transform_json,
}
"""The one table of adapters: from kind to the function that compiles a configuration."""

_EXPANDING = frozenset({"ExplodeCollections", "Pipeline"})
"""The adapters that return a list of items for each item."""
