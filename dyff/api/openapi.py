"""The OpenAPI document, made from the table of routes and the request structs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from dyff.api.route import Route

_REFERENCE = "#/components/schemas/{name}"
_PROBLEM = {
    "type": "object",
    "properties": {
        "detail": {
            "description": "a sentence; for 422 a list of what is wrong with which field",
            "anyOf": [
                {"type": "string"},
                {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "properties": {
                            "loc": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
                            "msg": {"type": "string"},
                            "type": {"type": "string"},
                        },
                    },
                },
            ],
        }
    },
}
_DESCRIPTION = """Errors have the body `{"detail": ...}`. 401: no valid token. 403: not granted. 404: no such thing. 409: its status
forbids it. 422: wrong fields, each named. 503 with `Retry-After`: nothing was done, try again.

A write answers with the header `Dyff-Position`. A read that sends it sees that write. A create with the header
`Idempotency-Key` may be repeated: it happens once. 410: what was created with the key was deleted."""


def document(routes: Iterable[Route]) -> dict[str, Any]:
    """OpenAPI 3.1 of all routes that are not hidden."""
    shown = [route for route in routes if not route.hidden]
    bodies = [route.body for route in shown if route.body is not None]
    schemas, components = msgspec.json.schema_components(bodies, ref_template=_REFERENCE)
    by_body = dict(zip(bodies, schemas, strict=True))
    paths: dict[str, Any] = {}
    for route in shown:
        paths.setdefault(route.template, {})[route.method.lower()] = _operation(route, by_body)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Dyff", "version": "0.1", "description": _DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(route: Route, schemas: dict[Any, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": route.summary,
        "tags": [route.group],
        "operationId": f"{route.group}_{route.operation}",
        "parameters": [*(_parameter("path", name, "", required=True) for name in route.parameters), *_query(route)],
        "responses": {
            str(route.status): {"description": route.returns},
            "default": {"description": "An error", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}},
        },
    }
    if route.body is not None:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schemas[route.body]}}}
    if not route.open:
        operation["security"] = [{"token": []}]
    return operation


def _query(route: Route) -> list[dict[str, Any]]:
    return [_parameter("query", name, meaning, required=False) for name, meaning in route.query.items()]


def _parameter(place: str, name: str, description: str, *, required: bool) -> dict[str, Any]:
    return {"in": place, "name": name, "required": required, "description": description, "schema": {"type": "string"}}
