"""The client: where the server is, who is asking, and a group for each kind of resource."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

import httpx

from dyff.sdk import kinds, models, transport

DEFAULT_ENDPOINT = "http://127.0.0.1:8000/v0"


class Client:
    """A Dyff server, from Python.

    Its reads see everything that it has written; it repeats what is safe to repeat. Thread-safe. Close it, or use it
    as a context manager, where many are made.

    Example:
        `client = Client(); print(client.evaluations.query(account="me"))`
    """

    def __init__(
        self,
        *,
        endpoint: str | None = None,
        api_token: str | None = None,
        timeout_s: float = 60.0,
        http: httpx.BaseTransport | None = None,
    ) -> None:
        """Connect lazily.

        Args:
            endpoint: The API's address with `/v0`; None: `DYFF_API_ENDPOINT`, or this machine's port 8000.
            api_token: None: `DYFF_API_TOKEN`. Make one with `dyff token create`.
            timeout_s: For a single answer, in seconds.
            http: Another way to send requests, for tests; None: the network.

        Raises:
            ValueError: there is no token.
        """
        token = api_token or os.environ.get("DYFF_API_TOKEN")
        if not token:
            raise ValueError("a token is needed: pass api_token, or set DYFF_API_TOKEN to what 'dyff token create' printed")
        address = endpoint or os.environ.get("DYFF_API_ENDPOINT") or DEFAULT_ENDPOINT
        self._http = transport.Transport(address, token, timeout_s=timeout_s, http=http)
        self.accounts = kinds.Accounts(self._http)
        self.datasets = kinds.Datasets(self._http, "datasets", models.Dataset)
        self.models = kinds.Models(self._http, "models", models.Model)
        self.inferenceservices = kinds.InferenceServices(self._http, "inferenceservices", models.InferenceService)
        self.inferencesessions = kinds.InferenceSessions(self._http, "inferencesessions", models.InferenceSession)
        self.evaluations = kinds.Evaluations(self._http, "evaluations", models.Evaluation)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
