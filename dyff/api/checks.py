"""What a new entity must be beyond its struct: paths that can be stored, schemas that can be read, pipelines that run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from dyff.adapters import pipelines
from dyff.api import arrow
from dyff.entities import data, dataset, evaluation, identity, inference, model
from dyff.kernel import errors
from dyff.objects import layout

Loc = tuple[str | int, ...]
MAX_DEPTH = 64
"""Of free JSON in a request. What is stored must be readable by every reader, whatever its stack already holds."""


def check(request: Any, now: datetime) -> None:
    """Check a create request.

    Raises:
        InvalidFields: with all that is wrong.
    """
    problems = list(_CHECKS[type(request)](request, now))
    if problems:
        raise errors.InvalidFields(*problems)


def expiry(moment: datetime | None, now: datetime, loc: Loc) -> Iterable[errors.Problem]:
    """What is wrong with a time at which something is to end."""
    if moment is not None and identity.utc(moment) <= now:
        yield errors.Problem(loc, "must be in the future (a time without a zone is taken to be in UTC)")


def _dataset(request: dataset.DatasetCreateRequest, _: datetime) -> Iterable[errors.Problem]:
    paths = [each.path for each in request.artifacts]
    yield from _paths(paths, lambda n: ("body", "artifacts", n, "path"), ("body", "artifacts"))
    yield from _schema(request.schema, ("body", "schema"), indexed=True)
    yield from _views(request.views, ("body", "views"))


def _model(request: model.ModelCreateRequest, _: datetime) -> Iterable[errors.Problem]:
    if request.artifact.volume is not None:
        loc = ("body", "artifact", "volume", "files")
        yield from _paths([each.path for each in request.artifact.volume.files], lambda n: (*loc, n, "path"), loc)


def _service(request: inference.InferenceServiceCreateRequest, _: datetime) -> Iterable[errors.Problem]:
    loc = ("body", "interface")
    yield from _schema(request.interface.outputSchema, (*loc, "outputSchema"), indexed=True)
    yield from _pipeline(request.interface.inputPipeline, (*loc, "inputPipeline"), upload=True)
    yield from _pipeline(request.interface.outputPipeline, (*loc, "outputPipeline"))
    yield from _views(request.outputViews, ("body", "outputViews"))


def _session(request: inference.InferenceSessionCreateRequest, now: datetime) -> Iterable[errors.Problem]:
    yield from expiry(request.expires, now, ("body", "expires"))


def _evaluation(request: evaluation.EvaluationCreateRequest, now: datetime) -> Iterable[errors.Problem]:
    if request.inferenceSession is not None:
        yield from expiry(request.inferenceSession.expires, now, ("body", "inferenceSession", "expires"))
    yield from _pipeline(request.client.input_pipeline, ("body", "client", "inputPipeline"))


_CHECKS: dict[type[Any], Callable[[Any, datetime], Iterable[errors.Problem]]] = {
    dataset.DatasetCreateRequest: _dataset,
    model.ModelCreateRequest: _model,
    inference.InferenceServiceCreateRequest: _service,
    inference.InferenceSessionCreateRequest: _session,
    evaluation.EvaluationCreateRequest: _evaluation,
}


def _paths(paths: list[str], place: Callable[[int], Loc], whole: Loc) -> Iterable[errors.Problem]:
    found = [errors.Problem(place(n), problem) for n, path in enumerate(paths) if (problem := layout.artifact_problem(path))]
    yield from found
    if not found and (problem := layout.tree_problem(paths)):
        yield errors.Problem(whole, problem)


def _views(views: Iterable[data.DataView], loc: Loc) -> Iterable[errors.Problem]:
    for n, view in enumerate(views):
        yield from _schema(view.schema, (*loc, n, "schema"), indexed=False)
        yield from _pipeline(view.adapterPipeline, (*loc, n, "adapterPipeline"))


def _pipeline(adapters: tuple[data.SchemaAdapter, ...] | None, loc: Loc, *, upload: bool = False) -> Iterable[errors.Problem]:
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


def _schema(schema: data.DataSchema, loc: Loc, *, indexed: bool) -> Iterable[errors.Problem]:
    problem = arrow.schema_problem(schema.arrowSchema, indexed=indexed)
    if problem:
        yield errors.Problem((*loc, "arrowSchema"), problem)
    if _is_too_deep(schema.jsonSchema):
        yield errors.Problem((*loc, "jsonSchema"), f"must not be nested deeper than {MAX_DEPTH}")


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
