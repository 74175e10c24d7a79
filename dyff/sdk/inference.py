"""Calling a running session."""

from __future__ import annotations

from typing import Any

from dyff.adapters import pipelines, uploads
from dyff.sdk import models, transport


class InferenceSessionClient:
    """Made by `client.inferencesessions.client`."""

    def __init__(
        self,
        http: transport.Transport,
        session_id: str,
        token: str,
        *,
        interface: models.InferenceInterface | None = None,
        endpoint: str | None = None,
    ) -> None:
        """One of `interface` and `endpoint` is needed; with both, `endpoint` is called through the interface's adapters."""
        path = endpoint or (interface.endpoint if interface else None)
        if path is None:
            raise ValueError("either 'interface' or 'endpoint' is needed")
        self._http, self._token = http, token
        self._path = transport.path("inferencesessions", session_id, "infer", *path.lstrip("/").split("/"))
        self._before = pipelines.build((interface.inputPipeline if interface else None) or [], upload=True)
        self._after = pipelines.build((interface.outputPipeline if interface else None) or [])

    def infer(self, body: Any) -> list[Any]:
        """The answers to one item, after the adapters; it is sent as JSON, or as a form where the input pipeline ends in FileUpload.

        Raises:
            ValueError: the input pipeline does not make exactly one request of it.

        Example:
            `session_client.infer({"text": "Hello"})`
        """
        requests = list(self._before([body]))
        if len(requests) != 1:
            raise ValueError(f"the input pipeline must make exactly one request of an item, not {len(requests)}")
        [request] = requests
        form = request if isinstance(request, uploads.Upload) else None
        return list(self._after([self._http.call("POST", self._path, body=None if form else request, form=form, token=self._token)]))
