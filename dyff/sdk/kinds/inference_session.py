"""The client's group for inference sessions."""

from __future__ import annotations

from datetime import datetime

import httpx

from dyff.kernel import clock
from dyff.sdk import groups, inference, listing, models, requests, sent
from dyff.sdk.calls import Awaited, S, operation


class InferenceSessions(groups.Logged[S, models.InferenceSession]):
    """Inference sessions."""

    @operation
    async def create(self, request: requests.InferenceSessionCreateRequest | sent.Other) -> models.InferenceSessionAndToken:
        """Start a session of a service; returns the session and the token for inference.

        It ends at `expires`, or after the server's default lifetime if the request has none. The returned session has the time.

        Example:
            `made = client.inferencesessions.create({"account": "me", "inferenceService": service.id})`
        """
        return models.read(await self._http.call("POST", self._all, body=sent.plain(request)), models.InferenceSessionAndToken)

    @operation
    async def ready(self, session_id: str) -> bool:
        """Return whether the session accepts inference now.

        Example:
            `client.inferencesessions.ready(session.id)`
        """
        answer = await self._http.call("GET", self._path(session_id, "ready"))
        return bool(answer.get("ready", True)) if isinstance(answer, dict) else True

    @operation
    async def wait(
        self: InferenceSessions[Awaited],
        id: str,  # noqa: A002
        *,
        timeout_s: float = 600.0,
        progress: bool = True,
    ) -> models.InferenceSession:
        """Wait until the session accepts inference; returns it. Shows what it is waiting for unless `progress` is False.

        Raises:
            WorkflowFailed: it has ended; the error says why.
            WaitTimeout: it is not ready within `timeout_s` seconds; it continues to start.

        Example:
            `client.inferencesessions.wait(session.id)`
        """

        async def is_ready(_: models.InferenceSession) -> bool:
            return await self.ready(id)

        return await self._wait(id, is_ready, timeout_s, progress)

    @operation
    async def token(self, session_id: str, *, expires: datetime | None = None) -> str:
        """Create another token for inference on the session. `expires`: None for the end of the session.

        Example:
            `token = client.inferencesessions.token(session.id)`
        """
        body = {} if expires is None else {"expires": clock.iso(expires)}
        answer = await self._http.call("POST", self._path(session_id, "token"), body=body)
        return listing.Token(answer["token"] if isinstance(answer, dict) else answer)

    @operation
    async def terminate(self, session_id: str) -> models.Status:
        """Terminate the session.

        Example:
            `client.inferencesessions.terminate(session.id)`
        """
        return models.read(await self._http.call("PUT", self._path(session_id, "terminate")), models.Status)

    def client(
        self,
        session_id: str,
        token: str,
        *,
        interface: inference.Interface | None = None,
        endpoint: str | None = None,
        input_adapter: inference.Adapter | None = None,
        output_adapter: inference.Adapter | None = None,
        timeout: float | httpx.Timeout = inference.TIMEOUT,
    ) -> inference.InferenceSessionClient[S]:
        """Return a client that calls the session.

        `interface`: provides the endpoint, both adapters and the schema of the answers. `endpoint`, `input_adapter`, `output_adapter`:
        replace those of the interface; with an `output_adapter`, answers are not checked against the schema. One of `interface` and
        `endpoint` is required. `timeout`: the time limit of one inference, in seconds.

        Example:
            `client.inferencesessions.client(s.id, token, interface=s.inferenceService.interface).infer({"text": "Hello"})`
        """
        path = endpoint or (interface.endpoint if interface else None)
        if path is None:
            raise ValueError("either 'interface' or 'endpoint' is needed")
        before = (
            inference.given(input_adapter)
            if input_adapter
            else inference.pipeline(interface.inputPipeline if interface else None, upload=True)
        )
        after = output_adapter or inference.pipeline(interface.outputPipeline if interface else None)
        route = self._path(session_id, f"infer/{path.lstrip('/')}")
        check = inference.check(interface) if interface and not output_adapter else None
        return inference.InferenceSessionClient(
            self._http, route, token, before, after, timeout, check=check, is_blocking=self._is_blocking
        )


GROUP = InferenceSessions
