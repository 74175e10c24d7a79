"""Calling a running session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import httpx

from dyff.sdk import calls, transport
from dyff.sdk.calls import S, operation

TIMEOUT = httpx.Timeout(5.0, read=60.0, write=60.0)
FILE_UPLOAD = "$fileUpload"
"""The only field of what the published adapter `FileUpload` makes."""

Adapter = Callable[[Iterable[Any]], Iterable[Any]]
"""Maps a stream of items; the published package's adapters are such functions, too."""


class Interface(Protocol):
    """How an item becomes a request and an answer rows: our `InferenceInterface`, or one of that form."""

    @property
    def endpoint(self) -> str: ...

    @property
    def inputPipeline(self) -> Sequence[Any] | None: ...

    @property
    def outputPipeline(self) -> Sequence[Any] | None: ...


class InferenceSessionClient(calls.Bound[S]):
    """Made by `client.inferencesessions.client`."""

    def __init__(
        self,
        http: transport.Transport,
        route: str,
        token: str,
        before: Adapter,
        after: Adapter,
        timeout: float | httpx.Timeout,
        *,
        is_blocking: bool,
    ) -> None:
        """`before` and `after`: applied to the items and to the answers."""
        self._http, self._route, self._token, self._timeout = http, route, token, timeout
        self._before, self._after, self._is_blocking = before, after, is_blocking

    @operation
    async def infer(self, body: Any) -> list[Any]:
        """The answers to one item, after the adapters; it is sent as JSON, or as a form where the input pipeline ends in FileUpload.

        Tried again only where the service surely did nothing.

        Raises:
            ValueError: the input pipeline does not make exactly one request of it.

        Example:
            `session_client.infer({"text": "Hello"})`
        """
        requests = list(self._before([body]))
        if len(requests) != 1:
            raise ValueError(f"the input pipeline must make exactly one request of an item, not {len(requests)}")
        options: dict[str, Any] = {"token": self._token, "timeout": self._timeout, "repeatable": False}
        form = _form(requests[0])
        options |= {"body": requests[0]} if form is None else {"form": form}
        return list(self._after([await self._http.call("POST", self._route, **options)]))


def pipeline(adapters: Sequence[Any] | None, *, upload: bool = False) -> Adapter:
    """The adapters as one; none: items pass as they are. `upload`: the last may make a file upload.

    Raises:
        InvalidFields: adapters are wrong; each is named with the fix.
    """
    if not adapters:
        return lambda items: items
    from dyff.adapters import pipelines  # JSONPath takes long to import

    made = [dict(each) if isinstance(each, Mapping) else each.model_dump(mode="json") for each in adapters]
    return pipelines.build(made, upload=upload)


def given(adapter: Adapter) -> Adapter:
    """A caller's own adapter. The published ones mark a file upload by `FILE_UPLOAD`; it becomes our `Upload`."""
    from dyff.adapters import uploads

    def apply(items: Iterable[Any]) -> Iterable[Any]:
        for each in adapter(items):
            if isinstance(each, dict) and set(each) == {FILE_UPLOAD}:
                file = each[FILE_UPLOAD]
                if any(char in file["contentType"] for char in "\r\n"):
                    raise ValueError(f"the contentType of a file upload must have no line breaks: {file['contentType']!r}")
                yield uploads.Upload(file["name"], file["filename"], file["contentType"], file["content"], dict(file["formFields"]))
            else:
                yield each

    return apply


def _form(request: Any) -> dict[str, Any] | None:
    """The `files` and `data` of a file upload, for httpx; None: it is none."""
    from dyff.adapters import uploads

    if not isinstance(request, uploads.Upload):
        return None
    return {"files": {request.name: (request.filename, request.content, request.content_type)}, "data": request.form_fields}
