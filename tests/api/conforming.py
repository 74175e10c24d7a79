"""Holds every request and every answer of the API's tests against the OpenAPI document."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import jsonschema
import referencing
from referencing.jsonschema import DRAFT202012

from tests.narrowing import sure

URI = "urn:openapi"
FORMATS = jsonschema.FormatChecker(["date-time"])
"""Of answers. In requests a time may lack its zone, which the format does not allow."""


class Document:
    """What the document says of a request and its answer."""

    def __init__(self, whole: dict[str, Any]):
        self.whole = whole
        resource = referencing.Resource.from_contents(whole, default_specification=DRAFT202012)
        self._registry = referencing.Registry().with_resource(URI, resource)
        self._validators: dict[str, jsonschema.Draft202012Validator] = {}
        templates = sorted(whole["paths"], key=lambda each: each.count("{"))
        self._paths = [(re.compile(self._pattern(each)), each) for each in templates]

    @staticmethod
    def _pattern(template: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda found: ".*" if found[1] in ("path", "key") else "[^/]+", template) + "/?"

    def operation(self, method: str, path: str) -> tuple[str, dict[str, Any]] | None:
        """The place of an operation in the document, and what it says; None: it has none."""
        for pattern, template in self._paths:
            if pattern.fullmatch(path) and method.lower() in self.whole["paths"][template]:
                place = f"/paths/{template.replace('/', '~1')}/{method.lower()}"
                return place, self.whole["paths"][template][method.lower()]
        return None

    def resolved(self, value: dict[str, Any], place: str) -> tuple[dict[str, Any], str]:
        """`value`, or what it refers to, and its place."""
        if "$ref" not in value:
            return value, place
        place = value["$ref"].removeprefix("#")
        found: Any = self.whole
        for step in place.strip("/").split("/"):
            found = found[step]
        return found, place

    def _validator(self, place: str, formats: jsonschema.FormatChecker | None) -> jsonschema.Draft202012Validator:
        if place in self._validators:
            return self._validators[place]
        schema = {"$ref": f"{URI}#{place.replace('{', '%7B').replace('}', '%7D')}"}
        self._validators[place] = jsonschema.Draft202012Validator(schema, registry=self._registry, format_checker=formats)
        return self._validators[place]

    def problems(self, place: str, value: Any, formats: jsonschema.FormatChecker | None = None) -> list[str]:
        """How `value` differs from the schema at `place`. `formats`: None: they are not checked."""
        return [f"{error.json_path}: {error.message[:300]}" for error in self._validator(place, formats).iter_errors(value)]

    def request_problems(self, method: str, path: str, body: bytes) -> list[str]:
        """How a JSON body differs from the document."""
        place, operation = sure(self.operation(method, path))
        if "application/json" not in operation.get("requestBody", {}).get("content", {}) or "default" in operation["responses"]:
            return []
        if not body.strip():
            return ["it has no body"] if operation["requestBody"].get("required") else []
        return self.problems(f"{place}/requestBody/content/application~1json/schema", json.loads(body))

    def answer_problems(self, method: str, path: str, answer: httpx.Response) -> list[str]:
        """How the answer of an operation differs from the document."""
        place, operation = sure(self.operation(method, path))
        status = str(answer.status_code)
        if status not in operation["responses"]:
            return [] if "default" in operation["responses"] else [f"the status {status} is not documented"]
        said, place = self.resolved(operation["responses"][status], f"{place}/responses/{status}")
        content = said.get("content", {})
        if "*/*" in content:
            return []
        named = KNOWN | {each.lower() for each in said.get("headers", {})}
        found = [f"the header {name} is not documented" for name in answer.headers if name not in named]
        if not content and not answer.content:
            return found
        media_type = answer.headers.get("content-type", "").split(";")[0]
        if media_type not in content:
            return [*found, f"the media type {media_type} is not documented"]
        if media_type == "application/json":
            found += self.problems(f"{place}/content/application~1json/schema", answer.json(), FORMATS)
        return found


KNOWN = frozenset({"content-type", "content-length", "content-range", "content-security-policy"})
"""Headers that every HTTP answer may have, or that say nothing about the API."""


class Transport(httpx.ASGITransport):
    """Calls the application in this process. What it accepts and what it answers must be as documented."""

    known: Document | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        if Transport.known is None:
            description = await super().handle_async_request(httpx.Request("GET", "http://dyff.test/v0/openapi.json"))
            Transport.known = Document(json.loads(await description.aread()))
        method, path, known = request.method, request.url.path, Transport.known
        body = await response.aread()
        if known.operation(method, path) is not None and b'"there is no such route' not in body:
            assert known.answer_problems(method, path, response) == [], (method, path, response.status_code, body[:500])
            if response.is_success:
                assert known.request_problems(method, path, await request.aread()) == [], (method, path)
        return response
