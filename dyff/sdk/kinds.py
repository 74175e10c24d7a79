"""The groups of resources, with what is special to each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from dyff.kernel import clock
from dyff.sdk import groups, inference, models, schemas, transfers, transport


class Accounts:
    """Tokens and permissions of accounts."""

    def __init__(self, http: transport.Transport) -> None:
        """Made by the client."""
        self._http = http

    def get_permissions(self, id: str) -> list[dict[str, Any]]:  # noqa: A002
        """The most that the account's tokens may be granted.

        Example:
            `client.accounts.get_permissions(account)`
        """
        return models.read(self._http.call("GET", transport.path("accounts", id, "permissions")), list[dict[str, Any]])

    def create_token(self, id: str, grants: Sequence[Mapping[str, Any]], expires: datetime) -> str:  # noqa: A002
        """A new token; it is shown only now.

        Example:
            `client.accounts.create_token(account, [{"resources": ["*"], "functions": ["get"], "accounts": [account]}], expires)`
        """
        body = {"grants": [dict(grant) for grant in grants], "expires": clock.iso(expires)}
        return models.read(self._http.call("POST", transport.path("accounts", id, "tokens"), body=body), str)

    def list_tokens(self, account_id: str) -> list[dict[str, Any]]:
        """The account's tokens, without their secrets.

        Example:
            `[token["id"] for token in client.accounts.list_tokens(account)]`
        """
        return models.read(self._http.call("GET", transport.path("accounts", account_id, "tokens")), list[dict[str, Any]])

    def revoke_token(self, account_id: str, token_id: str) -> None:
        """Refuse a token from now on.

        Example:
            `client.accounts.revoke_token(account, token_id)`
        """
        self._http.call("DELETE", transport.path("accounts", account_id, "tokens", token_id))


class Datasets(groups.Uploadable[models.Dataset], groups.Downloadable[models.Dataset]):
    """Datasets."""

    def create_arrow_dataset(self, dataset_directory: Path | str, *, account: str, name: str) -> models.Dataset:
        """Declare a dataset of the Arrow or Parquet files in a directory; `upload_arrow_dataset` then sends them.

        Raises:
            ValueError: the rows have no `_index_`, or the directory has no data.

        Example:
            `dataset = client.datasets.create_arrow_dataset("prompts", account="me", name="prompts")`
        """
        import pyarrow.dataset

        folder = Path(dataset_directory)
        found = pyarrow.dataset.dataset(folder, format="parquet", partitioning="hive", ignore_prefixes=[".", "_"])
        if not found.files:
            raise ValueError(f"{folder} has no Parquet files")
        if "_index_" not in found.schema.names:
            raise ValueError("each row needs an `_index_` of type int64 that is unique in the dataset; add that column")
        paths = [Path(file).relative_to(folder).as_posix() for file in found.files]
        artifacts = [{"kind": "parquet", "path": path, "digest": {"md5": transfers.md5_of(folder / path)}} for path in paths]
        return self.create({"account": account, "name": name, "artifacts": artifacts, "schema": schemas.encode(found.schema)})

    def upload_arrow_dataset(self, dataset: models.Dataset, dataset_directory: Path | str) -> None:
        """Send a declared dataset's files, in parallel, and finalize it: it becomes `Ready`.

        Example:
            `client.datasets.upload_arrow_dataset(dataset, "prompts")`
        """
        self._upload_all(dataset.id, Path(dataset_directory), [artifact.path for artifact in dataset.artifacts])


class Models(groups.Uploadable[models.Model]):
    """Models."""

    def create_from_volume(self, root_directory: Path | str, *, account: str, name: str, resources: Mapping[str, Any]) -> models.Model:
        """Declare a model of all files below a directory; `upload_volume` then sends them. Symbolic links are skipped.

        Example:
            `model = client.models.create_from_volume("weights", account="me", name="mine", resources={"storage": "1Gi"})`
        """
        root = Path(root_directory)
        paths = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
        if not paths:
            raise ValueError(f"{root} has no files")
        files = [
            {"path": path.relative_to(root).as_posix(), "size": path.stat().st_size, "digest": {"md5": transfers.md5_of(path)}}
            for path in paths
        ]
        return self.create(
            {
                "account": account,
                "name": name,
                "artifact": {"kind": "Volume", "volume": {"files": files}},
                "source": {"kind": "Upload"},
                "resources": dict(resources),
            }
        )

    def upload_volume(self, model: models.Model, root_directory: Path | str) -> None:
        """Send a declared model's files, in parallel, and finalize it: it becomes `Ready`.

        Example:
            `client.models.upload_volume(model, "weights")`
        """
        if model.artifact.volume is None:
            raise ValueError(f"model {model.id} is not made of files (its artifact is {model.artifact.kind})")
        self._upload_all(model.id, Path(root_directory), [file.path for file in model.artifact.volume.files])


class InferenceServices(groups.Creatable[models.InferenceService]):
    """Inference services."""


class InferenceSessions(groups.Group[models.InferenceSession]):
    """Inference sessions."""

    def create(self, request: groups.Request) -> models.InferenceSessionAndToken:
        """Start a service; returns the session and the token that inference needs.

        It ends at `expires`, or where the request does not say, after the server's default; the answer has the time.

        Example:
            `session = client.inferencesessions.create({"account": "me", "inferenceService": service.id})`
        """
        return models.read(self._http.call("POST", self._path(), body=groups.plain(request)), models.InferenceSessionAndToken)

    def ready(self, session_id: str) -> bool:
        """Whether it answers inference now.

        Example:
            `while not client.inferencesessions.ready(session.id): time.sleep(1)`
        """
        answer = self._http.call("GET", self._path(session_id, "ready"))
        return bool(answer.get("ready", True)) if isinstance(answer, dict) else True

    def wait(self, id: str, *, timeout_s: float = 600.0, progress: bool = True) -> models.InferenceSession:  # noqa: A002
        """Wait until it answers inference (it never ends well by itself), showing what it waits for; returns it.

        Raises:
            WorkflowFailed: it has ended; the error says why.
            WaitTimeout: it is not ready within `timeout_s` seconds; it goes on starting.

        Example:
            `client.inferencesessions.wait(session.id)`
        """
        return self._wait(id, lambda _: self.ready(id), timeout_s, progress)

    def token(self, session_id: str, *, expires: datetime | None = None) -> str:
        """Another token for inference on it; `expires` None: when the session does.

        Example:
            `token = client.inferencesessions.token(session.id)`
        """
        body = {} if expires is None else {"expires": clock.iso(expires)}
        answer = self._http.call("POST", self._path(session_id, "token"), body=body)
        return str(answer["token"] if isinstance(answer, dict) else answer)

    def terminate(self, session_id: str) -> models.Status:
        """End it.

        Example:
            `client.inferencesessions.terminate(session.id)`
        """
        return models.read(self._http.call("PUT", self._path(session_id, "terminate")), models.Status)

    def client(
        self, session_id: str, token: str, *, interface: models.InferenceInterface | None = None, endpoint: str | None = None
    ) -> inference.InferenceSessionClient:
        """Something that calls the session. `interface`: also applies its adapters; `endpoint`: its path, without adapters.

        Example:
            `client.inferencesessions.client(s.id, token, interface=s.inferenceService.interface).infer({"text": "Hello"})`
        """
        return inference.InferenceSessionClient(self._http, session_id, token, interface=interface, endpoint=endpoint)


class Evaluations(groups.Creatable[models.Evaluation], groups.Downloadable[models.Evaluation]):
    """Evaluations."""

    def live(self, account: str) -> Iterator[models.Evaluation]:
        """The account's evaluations that have not ended.

        Example:
            `for evaluation in client.evaluations.live("me"): print(evaluation.status, evaluation.reason)`
        """
        for status in ("Created", "Schedulable", "Admitted"):
            yield from self.pages(account=account, status=status)
