"""Checks of a new entity beyond its struct: paths that can be stored, schemas that can be read, pipelines that run.

The row of a kind lists which of these rules apply, and to which fields (`dyff.entities.kind.Check`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec

from dyff.adapters import pipelines
from dyff.api import arrow
from dyff.entities import data, identity, kind, tree_paths
from dyff.kernel import errors

Loc = tuple[str | int, ...]
Found = Sequence[tuple[Loc, Any]]
"""Values of a request, each with its location."""

EACH = "*"
MAX_DEPTH = 64
"""The limit for free-form JSON in a request. Every reader must be able to decode what is stored, however deep its own stack is."""

MAX_PIPELINES = 3
"""All pipelines of a request together may be this many times as large as one (`pipelines.MAX_VALUES` and others)."""

MAX_PATHS_BYTES = 4 * 2**20
"""The limit for the paths of one tree together. With 10,000 files, they may have 400 characters each."""

_PIPELINES = ("pipeline", "upload-pipeline")
_SCHEMA_RULES = ("schema", "indexed-schema")


class Facts(msgspec.Struct, frozen=True):
    """What the rules need besides the request. `schemas`: the verdicts on its Arrow schemas."""

    now: datetime
    schemas: arrow.Verdicts


def schemas(request: Any, rules: Iterable[kind.Check]) -> list[str]:
    """Return the Arrow schemas in a request, whose verdicts `check` needs."""
    found = [value for rule in rules if rule.rule in _SCHEMA_RULES and rule.when(request) for _, value in _values(request, rule.at)]
    return [schema.arrowSchema for schema in found]


def with_reduced(request: Any, rules: Iterable[kind.Check], verdicts: arrow.Verdicts) -> Any:
    """Return the request with what is to be stored of its Arrow schemas."""
    smaller = {text: verdict.reduced for text, verdict in verdicts.items() if verdict.reduced is not None}
    for rule in rules if smaller else ():
        if rule.rule in _SCHEMA_RULES and rule.when(request):
            request = _replaced(request, rule.at, smaller)
    return request


def _replaced(request: Any, at: Sequence[str], smaller: dict[str, str]) -> Any:
    """The value with its schemas at the path `at` replaced."""
    if request is None:
        return None
    if not at:
        return msgspec.structs.replace(request, arrowSchema=smaller.get(request.arrowSchema, request.arrowSchema))
    if at[0] == EACH:
        return type(request)(_replaced(each, at[1:], smaller) for each in request)
    name = dict(zip(request.__struct_encode_fields__, request.__struct_fields__, strict=True))[at[0]]
    return msgspec.structs.replace(request, **{name: _replaced(getattr(request, name), at[1:], smaller)})


def has_pipelines(request: Any, rules: Iterable[kind.Check]) -> bool:
    """Whether a request has pipelines, which take longer to check than their size suggests."""
    return any(value for rule in rules if rule.rule in _PIPELINES for _, value in _values(request, rule.at))


def check(request: Any, rules: Sequence[kind.Check], facts: Facts) -> None:
    """Check a create request.

    Raises:
        InvalidFields: lists everything that is wrong.
    """
    every = [(loc, list(value)) for rule in rules if rule.rule in _PIPELINES for loc, value in _values(request, rule.at) if value]
    if len(every) > 1 and (problem := pipelines.size_problem([_plain(adapters) for _, adapters in every], MAX_PIPELINES)):
        raise errors.InvalidFields(errors.Problem(every[-1][0], f"is the last of {len(every)} pipelines, which together have {problem}"))
    problems = [problem for rule in rules if rule.when(request) for problem in _RULES[rule.rule](list(_values(request, rule.at)), facts)]
    if problems:
        raise errors.InvalidFields(*problems)


def _plain(adapters: Iterable[data.SchemaAdapter]) -> list[Any]:
    return [each.configuration for each in adapters]


def _values(request: Any, at: Sequence[str], loc: Loc = ("body",)) -> Iterable[tuple[Loc, Any]]:
    """The values at the path of a check, except those that are absent or null."""
    if request is None:
        return
    if not at:
        yield loc, request
    elif at[0] == EACH:
        for n, each in enumerate(request):
            yield from _values(each, at[1:], (*loc, n))
    else:
        fields = dict(zip(request.__struct_encode_fields__, request.__struct_fields__, strict=True))
        yield from _values(getattr(request, fields[at[0]]), at[1:], (*loc, at[0]))


def expiry(moment: datetime | None, now: datetime, loc: Loc) -> Iterable[errors.Problem]:
    """Yield what is wrong with the time at which something is to end."""
    if moment is not None and identity.utc(moment) <= now:
        yield errors.Problem(loc, "must be in the future (a time without a zone is taken to be in UTC)")


def _future(found: Found, facts: Facts) -> Iterable[errors.Problem]:
    for loc, moment in found:
        yield from expiry(moment, facts.now, loc)


def _paths(found: Found, _: Facts) -> Iterable[errors.Problem]:
    """Check the paths of the files of one tree, each by itself and all together."""
    size = sum(len(path) for _, path in found)
    if size > MAX_PATHS_BYTES:
        yield errors.Problem(_of_tree(found), f"have paths of {size} characters in total; at most {MAX_PATHS_BYTES} are allowed")
        return
    wrong = [errors.Problem(loc, problem) for loc, path in found if (problem := tree_paths.artifact_problem(path))]
    yield from wrong
    if found and not wrong and (problem := tree_paths.tree_problem([path for _, path in found])):
        yield errors.Problem(_of_tree(found), problem)


def _of_tree(found: Found) -> Loc:
    """The location of the list of files."""
    first = found[0][0]
    return first[: next(n for n, step in enumerate(first) if isinstance(step, int))]


def _pipeline(found: Found, _: Facts) -> Iterable[errors.Problem]:
    return [problem for loc, adapters in found for problem in _pipeline_problems(adapters, loc, upload=False)]


def _upload_pipeline(found: Found, _: Facts) -> Iterable[errors.Problem]:
    return [problem for loc, adapters in found for problem in _pipeline_problems(adapters, loc, upload=True)]


def _pipeline_problems(adapters: Sequence[data.SchemaAdapter], loc: Loc, *, upload: bool) -> Iterable[errors.Problem]:
    if not adapters:
        return
    too_deep = [n for n, each in enumerate(adapters) if _is_too_deep(each.configuration)]
    yield from (errors.Problem((*loc, n, "configuration"), f"must not be nested deeper than {MAX_DEPTH}") for n in too_deep)
    if too_deep:
        return
    try:
        pipelines.build([identity.filled(each) for each in adapters], loc, upload=upload)
    except errors.InvalidFields as error:
        yield from error.problems


def _schema(found: Found, facts: Facts) -> Iterable[errors.Problem]:
    return [problem for loc, schema in found for problem in _schema_problems(schema, loc, facts.schemas[schema.arrowSchema].problem)]


def _indexed_schema(found: Found, facts: Facts) -> Iterable[errors.Problem]:
    return [problem for loc, schema in found for problem in _schema_problems(schema, loc, facts.schemas[schema.arrowSchema].as_rows)]


def _schema_problems(schema: data.DataSchema, loc: Loc, problem: str | None) -> Iterable[errors.Problem]:
    if problem:
        yield errors.Problem((*loc, "arrowSchema"), problem)
    if _is_too_deep(schema.jsonSchema):
        yield errors.Problem((*loc, "jsonSchema"), f"must not be nested deeper than {MAX_DEPTH}")


_RULES: dict[str, Callable[[Found, Facts], Iterable[errors.Problem]]] = {
    "schema": _schema,
    "indexed-schema": _indexed_schema,
    "pipeline": _pipeline,
    "upload-pipeline": _upload_pipeline,
    "paths": _paths,
    "future": _future,
}


def _is_too_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inside for each in level for inside in _inside(each)]
        if not level:
            return False
    return True


def _inside(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
