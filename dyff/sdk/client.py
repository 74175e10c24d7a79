"""The clients: where the server is, who is asking, and a group for each kind of resource."""

from __future__ import annotations

import os
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self

import httpx

from dyff.sdk import calls, folders, found, groups, io, transport
from dyff.sdk import models as sdk_models
from dyff.sdk.accounts import Accounts
from dyff.sdk.calls import Awaited, Blocking, S, operation

if TYPE_CHECKING:  # their own loader names one that is missing
    from dyff.sdk.kinds import dataset, evaluation, inference_service, inference_session, model

DEFAULT_ENDPOINT = "http://127.0.0.1:8000/v0"
TIMEOUT_S = 60.0
MAX_CONNECTIONS = 64


class _Server(calls.Bound[S], Generic[S]):
    """What both clients are: the groups, over one way to do I/O."""

    _io: type[io.Blocking] | type[io.Awaited]

    datasets: dataset.Datasets[S]
    evaluations: evaluation.Evaluations[S]
    inferenceservices: inference_service.InferenceServices[S]
    inferencesessions: inference_session.InferenceSessions[S]
    models: model.Models[S]

    def __init__(
        self,
        *,
        api_token: str | None = None,
        endpoint: str | None = None,
        insecure: bool = False,
        timeout: float | httpx.Timeout = TIMEOUT_S,
        retries: int = transport.RETRIES,
        http: Any = None,
    ) -> None:
        """Connect lazily.

        Args:
            api_token: None: `DYFF_API_TOKEN`. Make one with `dyff token create`.
            endpoint: The API's address with `/v0`; None: `DYFF_API_ENDPOINT`, or this machine's port 8000.
            insecure: Accept any TLS certificate, for tests only; so does `DYFF_API_INSECURE=1`.
            timeout: For a single answer, in seconds.
            retries: Of what is safe to repeat.
            http: Another way to send requests (an httpx transport), for tests; None: the network.

        Raises:
            ValueError: there is no token.
        """
        token = api_token or os.environ.get("DYFF_API_TOKEN")
        if not token:
            raise ValueError("a token is needed: pass api_token, or set DYFF_API_TOKEN to what 'dyff token create' printed")
        self.endpoint = endpoint or os.environ.get("DYFF_API_ENDPOINT") or DEFAULT_ENDPOINT
        self.insecure = insecure or os.environ.get("DYFF_API_INSECURE", "0").lower() in ("1", "true")
        self.timeout = timeout
        limits = httpx.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS // 2)
        options = {"timeout": timeout, "limits": limits, "verify": not self.insecure, "transport": http}
        self._http = transport.Transport(self._io(**options), self.endpoint, token, retries=retries)
        mode: dict[str, Any] = {"is_blocking": self._is_blocking}
        self.accounts: Accounts[S] = Accounts(self._http, **mode)
        self._groups: dict[str, groups.Group[S, Any]] = {}
        for plural, (row, group) in found.groups_of(type(self)).items():
            self._groups[row.name] = group(self._http, plural, row.entity, **mode)
            setattr(self, plural, self._groups[row.name])
        self.tokens = folders.Tokens()
        self.volumes = folders.Volumes()

    def apigroup(self, kind: str) -> Any:
        """The group of a kind, by its name.

        Raises:
            ValueError: there is no such kind.

        Example:
            `client.apigroup("Dataset").get(id)`
        """
        known = {"Account": self.accounts, **self._groups}
        if (name := str(getattr(kind, "value", kind))) not in known:
            raise ValueError(f"there is no kind {name!r}; known are {', '.join(known)}")
        return known[name]

    @operation
    async def get(self, entity: sdk_models.Identified) -> Any:
        """The entity of an identifier (anything with `kind` and `id`), as it is now.

        Example:
            `evaluation = client.get(evaluation)`
        """
        return await self._inside().apigroup(entity.kind)._inside().get(entity.id)


class Client(_Server[Blocking]):
    """A Dyff server, from Python.

    Its reads see everything that it has written; it repeats what is safe to repeat. Thread-safe, and at home inside a
    running event loop (Jupyter). Close it, or use it as a context manager, where many are made.

    Example:
        `client = Client(); print(client.evaluations.query(account="me"))`
    """

    _io = io.Blocking
    _is_blocking = True

    def close(self) -> None:
        """Close the connections.

        Example:
            `client.close()`
        """
        calls.run(self._http.io.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class AsyncClient(_Server[Awaited]):
    """A Dyff server, from asynchronous Python: `Client`, whose operations are awaited and iterated with `async for`.

    Belongs to the event loop that it was first used on.

    Example:
        `async with AsyncClient() as client: print(await client.evaluations.query(account="me"))`
    """

    _io = io.Awaited
    _is_blocking = False

    async def aclose(self) -> None:
        """Close the connections.

        Example:
            `await client.aclose()`
        """
        await self._http.io.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()
