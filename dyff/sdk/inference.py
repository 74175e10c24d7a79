"""Calls to a running session."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import httpx

from dyff.kernel import errors as kernel
from dyff.sdk import arrow, calls, errors, transport
from dyff.sdk.calls import S, operation

TIMEOUT = httpx.Timeout(5.0, read=60.0, write=60.0)
FILE_UPLOAD = "$fileUpload"
"""The only field of the items that the published adapter `FileUpload` returns."""

Adapter = Callable[[Iterable[Any]], Iterable[Any]]
"""Maps a stream of items. The adapters of the published package are functions of this kind, too."""


Check = Callable[[list[Any]], None]


class Interface(Protocol):
    """How items become requests and answers become rows: our `InferenceInterface`, or an object with the same attributes."""

    @property
    def endpoint(self) -> str: ...

    @property
    def inputPipeline(self) -> Sequence[Any] | None: ...

    @property
    def outputPipeline(self) -> Sequence[Any] | None: ...


class InferenceSessionClient(calls.Bound[S]):
    """A client of one session. `client.inferencesessions.client` creates it."""

    def __init__(
        self,
        http: transport.Transport,
        route: str,
        token: str,
        before: Adapter,
        after: Adapter,
        timeout: float | httpx.Timeout,
        *,
        check: Check | None = None,
        is_blocking: bool,
    ) -> None:
        """`before`, `after`: applied to items and to answers. `check`: of the responses, as in `answers.read`."""
        self._check = check
        self._http, self._route, self._token, self._timeout = http, route, token, timeout
        self._before, self._after, self._is_blocking = before, after, is_blocking

    @operation
    async def infer(self, body: Any) -> list[Any]:
        """Send one item; returns the answers after the adapters. It is sent as JSON, or as a form if the input pipeline ends in FileUpload.

        It is retried only if the service has certainly done nothing. An answer is accepted or refused as an evaluation does.

        Raises:
            SdkError: the service refuses or does not answer, or its answer cannot be read or does not fit the interface; it says why.
            ValueError: the input pipeline does not turn the item into exactly one request.

        Example:
            `session_client.infer({"text": "Hello"})`
        """
        from dyff.adapters import answers

        try:
            requests = list(self._before([body]))
        except kernel.FixRequest as error:
            raise ValueError(f"the item does not fit the input pipeline: {error.message}") from error
        if len(requests) != 1:
            raise ValueError(f"the input pipeline must make exactly one request of an item, not {len(requests)}")
        form = _form(requests[0])
        content = {"body": requests[0]} if form is None else {"form": form}
        answer = await self._http.foreign(self._route, token=self._token, timeout=self._timeout, **content)
        try:
            return answers.read(*answer, self._after, self._check).responses
        except answers.Unfit as error:
            raise errors.SdkError(f"the service's answer {error}; it begins with {answers.excerpt(answer.body)[:300]!r}") from error


def check(interface: Interface) -> Check | None:
    """Return the check of responses against the schema of an interface; None if it has no schema.

    Raises:
        Misconfigured: it is not a schema of outputs.
        NotInstalled: there is one, and pyarrow is not installed.
    """
    schema = getattr(interface, "outputSchema", None)
    encoded = schema.get("arrowSchema") if isinstance(schema, Mapping) else getattr(schema, "arrowSchema", None)
    if not encoded:
        return None
    arrow.require("an interface with an output schema")
    from dyff.adapters import fitting  # importing Arrow takes long

    return fitting.check(fitting.declared(encoded))


def pipeline(adapters: Sequence[Any] | None, *, upload: bool = False) -> Adapter:
    """Combine adapters into one. Without adapters, items pass unchanged. `upload`: the last one may make a file upload.

    Raises:
        InvalidFields: adapters are wrong; each is named with the fix.
    """
    if not adapters:
        return lambda items: items
    from dyff.adapters import pipelines  # importing JSONPath takes long

    made = [dict(each) if isinstance(each, Mapping) else each.model_dump(mode="json") for each in adapters]
    return pipelines.build(made, upload=upload)


def given(adapter: Adapter) -> Adapter:
    """Wrap a caller's own adapter. The published ones mark a file upload with `FILE_UPLOAD`; it is turned into our `Upload`."""
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
    """The `files` and `data` of a file upload, for httpx; None if the request is not a file upload."""
    from dyff.adapters import uploads

    if not isinstance(request, uploads.Upload):
        return None
    return {"files": {request.name: (request.filename, request.content, request.content_type)}, "data": request.form_fields}
