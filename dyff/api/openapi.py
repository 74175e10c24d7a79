"""The OpenAPI document, made from the routes, the structs in them and the registry of kinds. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dyff.adapters import pipelines
from dyff.api import positions, publishing
from dyff.api.calls import JSON
from dyff.api.components import Components
from dyff.api.route import ANYTHING, BYTES, EVENTS, Other, Route
from dyff.entities import answers, codecs, registry, tree_paths
from dyff.kernel import ids

_DESCRIPTION = """Errors have the body `{"detail": ...}`: a sentence; for 422 a list of what is wrong with which field.

A write answers with the header `Dyff-Position`. A read that sends it sees that write: let your client send the last one that it
got with every request. A create with the header `Idempotency-Key` may be repeated: it happens once. 410: what was created with the
key was deleted.

Every answer has the header `Dyff-Trace`: name it when you report a problem. It is the ID of the request's trace; a request with the
header `traceparent` (W3C Trace Context) continues the trace of its client.

HEAD is possible wherever GET is. OPTIONS answers with the header `Allow`, which lists the methods of a path; so does 405, the
answer to any other method."""

_HEADERS: codecs.Json = {
    "Dyff-Position": {
        "description": "where in the log this write is; a read that sends it sees the write",
        "schema": {"type": "string", "pattern": positions.PATTERN},
    },
    "Dyff-Trace": {
        "description": "the ID of the trace of the request, for reports of problems",
        "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    },
    "Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"schema": {"type": "string"}},
}
_PARAMETERS: codecs.Json = {
    "Idempotency-Key": {
        "in": "header",
        "name": "Idempotency-Key",
        "description": "a text that is new for each new request: a repetition with the same key happens once",
        "example": "0f8fad5b-d9cb-469f-a165-70867728950e",
        "schema": {"type": "string", "minLength": 1, "maxLength": publishing.MAX_KEY_CHARS},
    },
}
_ID = {"type": "string", "pattern": ids.PATTERN}
_IN_PATHS: dict[str, codecs.Json] = {
    "id": {"description": "its ID; there is nothing with another form of ID, which is a 404", "schema": _ID},
    "key": {
        "description": "as in the URL that was given; it has slashes",
        "schema": {"type": "string", "maxLength": tree_paths.MAX_KEY_BYTES},
    },
    "path": {"description": "a path, which may have slashes", "schema": {"type": "string"}},
    "token": {"description": "the ID of a token", "schema": _ID},
}
_ERRORS: dict[int, tuple[str, str, Any, tuple[str, ...]]] = {
    400: ("BadRequest", "JSON in a parameter is wrong", answers.Problem, ()),
    401: ("Unauthenticated", "no token, or not a valid one", answers.Problem, ("WWW-Authenticate",)),
    403: ("Forbidden", "the token does not grant it, or the account keeps as much as it may", answers.Problem, ("WWW-Authenticate",)),
    404: ("NotFound", "there is no such thing", answers.Problem, ()),
    413: ("TooLarge", "the body is too large", answers.Problem, ()),
    422: ("Invalid", "fields are wrong", answers.FieldProblems, ()),
    500: ("Failed", "a fault of the server, or it is not known whether it was done: look before you repeat it", answers.Problem, ()),
    503: ("Unavailable", "nothing was done; try again", answers.Problem, ("Retry-After",)),
}
"""Errors that many operations have: name, meaning, body and headers, by status."""


def document(routes: Iterable[Route], root: str = "/") -> codecs.Json:
    """OpenAPI 3.1 of all routes that are not hidden. `root`: what the paths of clients begin with, such as `/dyff/`.

    Raises:
        Incomplete: two structs would have the same name.
    """
    shown = [route for route in routes if not route.hidden]
    components = Components([each for route in shown for each in _types(route) if each is not None])
    _close(components.schemas)
    paths: codecs.Json = {}
    for route in shown:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, components)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Dyff", "version": "0.1", "description": _DESCRIPTION, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": root if root == "/" else root.rstrip("/")}],
        "tags": [_tag(group) for group in dict.fromkeys(route.group for route in shown)],
        "paths": paths,
        "components": {
            "schemas": components.schemas,
            "headers": _HEADERS,
            "parameters": _PARAMETERS,
            "responses": {name: _response(components, Other(words, body), headers) for name, words, body, headers in _ERRORS.values()},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "password": {"type": "http", "scheme": "basic", "description": "the token is the password; any user name will do"},
            },
        },
    }


def _types(route: Route) -> list[Any]:
    return [route.body, route.answers, *(each.answers for each in route.others.values()), answers.Problem, answers.FieldProblems]


def _close(schemas: codecs.Json) -> None:
    """Say what only the registry and the adapters know: each kind's name, the kinds that can be referred to, the adapters."""
    for row in (each for each in registry.ROWS if each.entity.__name__ in schemas):
        schemas[row.entity.__name__]["properties"]["kind"] = {"type": "string", "const": row.name}
    if "EntityIdentifier" in schemas:
        schemas["EntityIdentifier"]["properties"]["kind"]["enum"] = sorted(registry.BY_KIND)
    if "SchemaAdapter" in schemas:
        words = (f"{name}: {' '.join((adapter.__doc__ or '').split())}" for name, adapter in sorted(pipelines.ADAPTERS.items()))
        kind = {"type": "string", "enum": sorted(pipelines.ADAPTERS), "description": "\n\n".join(words)}
        schemas["SchemaAdapter"]["properties"]["kind"] = kind


def _tag(group: str) -> codecs.Json:
    row = registry.BY_PLURAL.get(group)
    words = (row.entity.__doc__ or "").split("\n")[0] if row is not None else ""
    return {"name": group, **({"description": words} if words else {})}


def _operation(route: Route, components: Components) -> codecs.Json:
    operation: codecs.Json = {
        "operationId": f"{route.group}_{route.operation}",
        "summary": route.summary,
        "tags": [route.group],
        "parameters": list(_parameters(route)),
        "responses": {status: _found(status, each, route, components) for status, each in sorted(_answers(route))},
    }
    if route.takes_position:
        operation["description"] = "It waits for the write whose `Dyff-Position` it is sent."
    body = _body(route, components)
    if body is not None:
        operation["requestBody"] = body
    if route.deprecated:
        operation["deprecated"] = True
    security: list[codecs.Json] = [{"token": []}, *([{"password": []}] if route.basic else []), *([{}] if route.anonymous else [])]
    operation["security"] = [] if route.open else security
    return operation


def _answers(route: Route) -> Iterator[tuple[str, Other | str]]:
    """By status what a route answers; a text is the name of a common response."""
    yield str(route.status), Other(route.returns, route.answers, route.media_type, route.headers, route.or_media_types)
    if route.media_type == ANYTHING:
        yield "default", Other("what the service answers, or why it could not be asked", media_type=ANYTHING)
        return
    found: dict[int, Other | str] = {status: _ERRORS[status][0] for status in _errors(route)}
    if route.conflict is not None:
        found[409] = Other(route.conflict, answers.Problem)
    yield from ((str(status), each) for status, each in (found | route.others).items())


def _errors(route: Route) -> Iterator[int]:
    """The statuses of the common errors that a route may answer with."""
    if not route.open:
        yield from (401, 403, 500, 503)
        if route.parameters:
            yield 404
    if route.body is not None:
        yield 413
    if any(each.is_json for each in route.query.values()):
        yield 400
    if route.body is not None or route.query or route.takes_position or route.takes_key:
        yield 422


def _found(status: str, answer: Other | str, route: Route, components: Components) -> codecs.Json:
    if isinstance(answer, str):
        return {"$ref": f"#/components/responses/{answer}"}
    position = ("Dyff-Position",) if route.gives_position and status == str(route.status) else ()
    return _response(components, answer, position)


def _response(components: Components, answer: Other, referred: Iterable[str]) -> codecs.Json:
    """`referred`: names of headers that many answers have."""
    found: codecs.Json = {"description": answer.returns}
    headers = {name: {"description": words, "schema": {"type": "string"}} for name, words in answer.headers.items()}
    headers |= {name: {"$ref": f"#/components/headers/{name}"} for name in (*referred, "Dyff-Trace")}
    found["headers"] = headers
    if answer.answers is not None:
        found["content"] = {JSON: {"schema": components.of(answer.answers)}}
    elif answer.media_type is not None:
        found["content"] = {each: _content(each) for each in (answer.media_type, *answer.or_media_types)}
    return found


def _content(media_type: str) -> codecs.Json:
    if media_type == ANYTHING:
        return {"schema": {"description": "any value"}}
    if media_type == EVENTS:  # of each event, as OpenAPI 3.2 and testers of APIs take it
        return {"schema": {"type": "object", "properties": {name: {"type": "string"} for name in ("id", "event", "data")}}}
    if media_type == JSON:  # one of several: then it is any value
        return {"schema": {"description": "any value"}}
    return {"schema": {"type": "string", **({"format": "binary"} if media_type == BYTES else {})}}


def _body(route: Route, components: Components) -> codecs.Json | None:
    if route.body is None:
        if route.body_type is None:
            return None
        media_type = JSON if route.body_type == ANYTHING else route.body_type  # generators take no wildcards
        return {"content": {media_type: _content(route.body_type)}}
    schema = components.of(route.body)
    example = getattr(route.body, "example", {})
    content = {"schema": {"anyOf": [schema, {"type": "null"}]} if route.body_optional else schema}
    return {"required": not route.body_optional, "content": {JSON: {**content, **({"example": example} if example else {})}}}


def _parameters(route: Route) -> Iterator[codecs.Json]:
    for name in route.parameters:
        yield {"in": "path", "name": name, "required": True, **_IN_PATHS.get(name, {"schema": {"type": "string"}})}
    for name, parameter in route.query.items():
        schema = {"content": {JSON: {"schema": parameter.schema}}} if parameter.is_json else {"schema": parameter.schema}
        yield {"in": "query", "name": name, "required": False, "description": parameter.meaning, **schema}
    if route.takes_key:
        yield {"$ref": "#/components/parameters/Idempotency-Key"}
