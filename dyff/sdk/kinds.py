"""The groups of resources, with what is special to each."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from dyff.kernel import clock
from dyff.sdk import calls, folders, groups, inference, models, schemas, transport, uploads
from dyff.sdk.calls import Awaited, S, iteration, operation


class Accounts(calls.Bound[S]):
    """Tokens and permissions of accounts."""

    def __init__(self, http: transport.Transport, *, is_blocking: bool) -> None:
        """Made by the client."""
        self._http, self._is_blocking = http, is_blocking

    @operation
    async def get_permissions(self, id: str) -> list[models.AccessGrant]:  # noqa: A002
        """The most that the account's tokens may be granted.

        Example:
            `client.accounts.get_permissions(account)`
        """
        return models.read(await self._http.call("GET", transport.path("accounts", id, "permissions")), list[models.AccessGrant])

    @operation
    async def set_permissions(self, id: str, request: groups.Request) -> None:  # noqa: A002
        """Replace them: `{"permissions": [grants]}`. Needs a grant on `accounts`.

        Example:
            `client.accounts.set_permissions(account, {"permissions": client.accounts.get_permissions(other)})`
        """
        await self._http.call("PUT", transport.path("accounts", id, "permissions"), body=groups.plain(request))

    @operation
    async def create_token(self, id: str, request: groups.Request) -> str:  # noqa: A002
        """A new token with `grants` that ends at `expires` (a datetime); it is shown only now.

        Example:
            `client.accounts.create_token(account, {"grants": client.accounts.get_permissions(account), "expires": expires})`
        """
        answer = await self._http.call("POST", transport.path("accounts", id, "tokens"), body=groups.plain(request), repeatable=False)
        return models.read(answer, str)

    @operation
    async def get_token(self, account_id: str, token_id: str) -> models.APIKey:
        """One of the account's tokens, without its secret.

        Example:
            `client.accounts.get_token(account, token_id).expires`
        """
        return models.read(await self._http.call("GET", transport.path("accounts", account_id, "tokens", token_id)), models.APIKey)

    @operation
    async def list_tokens(self, account_id: str) -> list[models.APIKey]:
        """The account's tokens, without their secrets.

        Example:
            `[token.id for token in client.accounts.list_tokens(account)]`
        """
        return models.read(await self._http.call("GET", transport.path("accounts", account_id, "tokens")), list[models.APIKey])

    @operation
    async def revoke_token(self, account_id: str, token_id: str) -> None:
        """Refuse a token from now on.

        Example:
            `client.accounts.revoke_token(account, token_id)`
        """
        await self._http.call("DELETE", transport.path("accounts", account_id, "tokens", token_id))

    @operation
    async def revoke_all_tokens(self, account_id: str) -> None:
        """Refuse all its tokens from now on, the one that this client uses too.

        Example:
            `client.accounts.revoke_all_tokens(account)`
        """
        await self._http.call("DELETE", transport.path("accounts", account_id, "tokens"))


class Datasets(groups.Uploadable[S, models.Dataset], groups.Downloadable[S, models.Dataset]):
    """Datasets."""

    @operation
    async def create_arrow_dataset(self: Datasets[Awaited], dataset_directory: Path | str, *, account: str, name: str) -> models.Dataset:
        """Declare a dataset of the Parquet files in a directory; `upload_arrow_dataset` then sends them.

        Raises:
            ValueError: the rows have no `_index_`, or the directory has no data.

        Example:
            `dataset = client.datasets.create_arrow_dataset("prompts", account="me", name="prompts")`
        """
        declared = await self._http.io.in_thread(_arrow_dataset, Path(dataset_directory))
        return await self.create({"account": account, "name": name, **declared})

    @operation
    async def upload_arrow_dataset(
        self: Datasets[Awaited], dataset: models.Dataset, dataset_directory: Path | str, *, progress: bool = True
    ) -> None:
        """Send a declared dataset's files, in parallel, and finalize it: it becomes `Ready`. Repeated, it sends what is missing.

        Example:
            `client.datasets.upload_arrow_dataset(dataset, "prompts")`
        """
        await self._upload(dataset.id, Path(dataset_directory), [artifact.path for artifact in dataset.artifacts], progress)


class Models(groups.Uploadable[S, models.Model], groups.Logged[S, models.Model]):
    """Models."""

    @operation
    async def create_from_volume(
        self: Models[Awaited],
        root_directory: Path | str,
        *,
        account: str,
        name: str,
        resources: groups.Request,
        accelerators: Sequence[groups.Request] | None = None,
        include_symlinks: bool = False,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
    ) -> models.Model:
        """Declare a model of the files below a directory; `upload_volume` then sends them.

        `include_symlinks`, `include` and `exclude` choose the files: see `client.volumes.list`.

        Raises:
            ValueError: there are no files.

        Example:
            `model = client.models.create_from_volume("weights", account="me", name="mine", resources={"storage": "1Gi"})`
        """
        paths = folders.list_files(Path(root_directory), include_symlinks, include, exclude)
        if not paths:
            raise ValueError(f"{root_directory} has no files to upload")
        files = await self._http.io.in_thread(_volume_files, Path(root_directory), paths)
        return await self.create(
            {
                "account": account,
                "name": name,
                "artifact": {"kind": "Volume", "volume": {"files": files}},
                "source": {"kind": "Upload"},
                "resources": groups.plain(resources),
                "accelerators": None if accelerators is None else [groups.plain(each) for each in accelerators],
            }
        )

    @operation
    async def upload_volume(self: Models[Awaited], model: models.Model, root_directory: Path | str, *, progress: bool = True) -> None:
        """Send a declared model's files, in parallel, and finalize it: it becomes `Ready`. Repeated, it sends what is missing.

        Example:
            `client.models.upload_volume(model, "weights")`
        """
        if model.artifact.volume is None:
            raise ValueError(f"model {model.id} is not made of files (its artifact is {model.artifact.kind})")
        await self._upload(model.id, Path(root_directory), [file.path for file in model.artifact.volume.files], progress)


class InferenceServices(groups.Creatable[S, models.InferenceService]):
    """Inference services."""


class InferenceSessions(groups.Logged[S, models.InferenceSession]):
    """Inference sessions."""

    @operation
    async def create(self, request: groups.Request) -> models.InferenceSessionAndToken:
        """Start a service; returns the session and the token that inference needs.

        It ends at `expires`, or where the request does not say, after the server's default; the answer has the time.

        Example:
            `made = client.inferencesessions.create({"account": "me", "inferenceService": service.id})`
        """
        return models.read(await self._http.call("POST", self._path(), body=groups.plain(request)), models.InferenceSessionAndToken)

    @operation
    async def ready(self, session_id: str) -> bool:
        """Whether it answers inference now.

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
        """Wait until it answers inference (it never ends well by itself), showing what it waits for; returns it.

        Raises:
            WorkflowFailed: it has ended; the error says why.
            WaitTimeout: it is not ready within `timeout_s` seconds; it goes on starting.

        Example:
            `client.inferencesessions.wait(session.id)`
        """

        async def is_ready(_: models.InferenceSession) -> bool:
            return await self.ready(id)

        return await self._wait(id, is_ready, timeout_s, progress)

    @operation
    async def token(self, session_id: str, *, expires: datetime | None = None) -> str:
        """Another token for inference on it; `expires` None: when the session does.

        Example:
            `token = client.inferencesessions.token(session.id)`
        """
        body = {} if expires is None else {"expires": clock.iso(expires)}
        answer = await self._http.call("POST", self._path(session_id, "token"), body=body)
        return str(answer["token"] if isinstance(answer, dict) else answer)

    @operation
    async def terminate(self, session_id: str) -> models.Status:
        """End it.

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
        """Something that calls the session.

        `interface`: gives the endpoint and both adapters. `endpoint`, `input_adapter`, `output_adapter`: in place of the
        interface's. One of `interface` and `endpoint` is needed. `timeout`: of one inference, in seconds.

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
        return inference.InferenceSessionClient(self._http, route, token, before, after, timeout, is_blocking=self._is_blocking)


class Evaluations(groups.Creatable[S, models.Evaluation], groups.Downloadable[S, models.Evaluation], groups.Logged[S, models.Evaluation]):
    """Evaluations."""

    @iteration
    async def live(self: Evaluations[Awaited], /, account: str) -> AsyncIterator[models.Evaluation]:
        """The account's evaluations that have not ended.

        Example:
            `for evaluation in client.evaluations.live("me"): print(evaluation.status, evaluation.reason)`
        """
        for status in ("Created", "Schedulable", "Admitted"):
            async for each in self.pages(account=account, status=status):
                yield each


def _arrow_dataset(folder: Path) -> Mapping[str, Any]:
    """The artifacts and the schema of a directory."""
    import pyarrow.dataset

    found = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive", ignore_prefixes=[".", "_"])
    if not found.files:
        raise ValueError(f"{folder} has no Parquet files")
    if "_index_" not in found.schema.names:
        raise ValueError("each row needs an `_index_` of type int64 that is unique in the dataset; add that column")
    paths = [Path(file).relative_to(folder).as_posix() for file in found.files]
    artifacts = [{"kind": "parquet", "path": path, "digest": {"md5": uploads.md5_of(folder / path)}} for path in paths]
    return {"artifacts": artifacts, "schema": schemas.encode(found.schema)}


def _volume_files(root: Path, paths: Sequence[Path]) -> list[dict[str, Any]]:
    return [
        {"path": path.as_posix(), "size": (root / path).stat().st_size, "digest": {"md5": uploads.md5_of(root / path)}} for path in paths
    ]
