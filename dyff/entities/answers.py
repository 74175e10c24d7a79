"""Responses of the API other than entities, as typed values. Tolerant: unknown fields are ignored."""

from __future__ import annotations

from typing import Any

import msgspec

from dyff.entities import stored


class SignedURL(msgspec.Struct, kw_only=True, frozen=True):
    """A URL that needs no token; `headers` must be sent with it."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = {}


class Downlink(msgspec.Struct, kw_only=True, frozen=True):
    """An artifact and the URL to download it from."""

    artifact: stored.Artifact
    signedURL: SignedURL


class Status(msgspec.Struct, kw_only=True, frozen=True):
    """The current status of an entity."""

    status: str
    reason: str | None = None
    message: str | None = None


class Progress(msgspec.Struct, kw_only=True, frozen=True):
    """Progress of a run: `done` of `total` items, `rate` items per second; None if unknown."""

    stage: str = ""
    done: int | None = None
    total: int | None = None
    rate: float | None = None


class LogEntry(msgspec.Struct, kw_only=True, frozen=True):
    """A line written by a pod of a workflow. `labels`: identify the pod."""

    timestamp: str
    message: str
    labels: dict[str, str] = {}

    def __hash__(self) -> int:
        return hash((self.timestamp, self.message))


class WorkflowLogs(msgspec.Struct, kw_only=True, frozen=True):
    """The last log lines of a workflow. `totalLines`: how many lines there are in total."""

    workflow: dict[str, Any]
    logs: list[LogEntry]
    totalLines: int = 0


class AccessGrant(msgspec.Struct, kw_only=True, frozen=True):
    """Grants all `functions` on all `resources` of the `accounts` and `entities`; `*` means all."""

    resources: list[str]
    functions: list[str]
    accounts: list[str] = []
    entities: list[str] = []


class APIKey(msgspec.Struct, kw_only=True, frozen=True):
    """A token, without its secret. `created` and `expires`: ISO 8601."""

    id: str
    subject: str
    grants: list[AccessGrant]
    created: str
    expires: str


class Documentation(msgspec.Struct, kw_only=True, frozen=True):
    """Texts for people."""

    title: str | None = None
    summary: str | None = None
    fullPage: str | None = None


class Labels(msgspec.Struct, kw_only=True, frozen=True):
    """All labels of an entity."""

    labels: dict[str, str]


class Readiness(msgspec.Struct, kw_only=True, frozen=True):
    """Whether a session is ready for inference; if not, `reason` and `message` say why."""

    ready: bool
    status: str | None = None
    reason: str | None = None
    message: str | None = None


class AccountAuth(msgspec.Struct, kw_only=True, frozen=True):
    """The permissions that tokens of an account can have. `permissionsVersion`: None if the permissions were never set."""

    permissions: list[AccessGrant] = []
    permissionsVersion: str | None = None


class Account(msgspec.Struct, kw_only=True, frozen=True):
    """An account with its tokens, without their secrets. `creationTime`: ISO 8601. `identity`: user names by provider."""

    id: str
    name: str
    status: str
    creationTime: str
    reason: str | None = None
    identity: dict[str, str] = {}
    apiKeys: list[APIKey] = []
    auth: AccountAuth = AccountAuth()


class AccountSummary(msgspec.Struct, kw_only=True, frozen=True):
    """An account in a list. `apiKeyCount`: number of valid tokens."""

    id: str
    name: str
    status: str
    creationTime: str
    apiKeyCount: int = 0
