"""Responses of the API other than entities, as typed values. Tolerant: unknown fields are ignored."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from dyff.entities import described, showing, stored


class SignedURL(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A URL that needs no token; `headers` must be sent with it."""

    hidden: ClassVar[frozenset[str]] = frozenset({"headers"})
    links: ClassVar[frozenset[str]] = frozenset({"url"})

    url: str
    method: str = "GET"
    headers: dict[str, str] = {}


class Downlink(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """An artifact and the URL to download it from."""

    artifact: stored.Artifact
    signedURL: SignedURL


class Status(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """The current status of an entity."""

    status: stored.EntityStatus
    reason: str | None = None
    message: str | None = None


class Progress(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Progress of a run: `done` of `total` items, `rate` items per second; None if unknown.

    `message`: what it waits for or retries, how often, and until when; None if all is well.
    """

    stage: str = ""
    done: int | None = None
    total: int | None = None
    rate: float | None = None
    message: str | None = None


class LogEntry(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A line written by a pod of a workflow. `labels`: identify the pod."""

    timestamp: stored.Time
    message: str
    labels: dict[str, str] = {}

    def __hash__(self) -> int:
        return hash((self.timestamp, self.message))


class Workflow(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """The entity that a workflow belongs to."""

    kind: str
    id: str


class WorkflowLogs(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """The last lines of a workflow. `totalLines`: how many there are."""

    workflow: Annotated[dict[str, Any], described.like(Workflow)]
    logs: list[LogEntry]
    totalLines: int = 0

    def __str__(self) -> str:
        """The last lines, each after its time and cut if it is long, as `print` shows them. `logs` has all of them in full."""
        left_out = len(self.logs) - showing.ROWS
        head = [f"... ({left_out} lines before; .logs has them)"] if left_out > 0 else []
        last = self.logs[-showing.ROWS :]
        return "\n".join([*head, *(showing.harmless(f"{each.timestamp} {each.message}") for each in last)])


class AccessGrant(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Grants all `functions` on all `resources` of the `accounts` and `entities`; `*` means all."""

    resources: list[str]
    functions: list[str]
    accounts: list[str] = []
    entities: list[str] = []


class APIKey(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A token, without its secret. `created` and `expires`: ISO 8601."""

    id: str
    subject: str
    grants: list[AccessGrant]
    created: stored.Time
    expires: stored.Time


class Documentation(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Texts for people. From `claim` on: what a safety case claims (`dyff.entities.labels.ClaimPatch`); None for other kinds."""

    title: str | None = None
    summary: str | None = None
    fullPage: str | None = None
    claim: str | None = None
    scope: str | None = None
    assumptions: str | None = None
    limits: str | None = None
    evaluators: str | None = None
    relationship: str | None = None


class EntityDocumentation(Documentation, kw_only=True, frozen=True):
    """Texts for people. `entity`: the ID of the entity that they are about."""

    entity: str
    schemaVersion: str = "0.1"


class Precondition(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """An entity that must have succeeded before another one runs."""

    id: str


class Metadata(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """What is known of an entity besides what it is."""

    documentation: Documentation = Documentation()
    preconditions: list[Precondition] = []


class Annotation(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A note that a program made on an entity."""

    key: str
    value: str


class Labels(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """All labels of an entity."""

    labels: dict[str, str]


class Readiness(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Whether a session is ready for inference; if not, `reason` and `message` say why."""

    ready: bool
    status: stored.EntityStatus | None = None
    reason: str | None = None
    message: str | None = None


AccountStatus = Annotated[str, described.says(enum=["Active", "Suspended", "Deleted"])]


class AccountAuth(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """The permissions that tokens of an account can have. `permissionsVersion`: None if the permissions were never set."""

    permissions: list[AccessGrant] = []
    permissionsVersion: str | None = None


class Account(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """An account with its tokens, without their secrets. `creationTime`: ISO 8601. `identity`: user names by provider."""

    id: str
    name: str
    status: AccountStatus
    creationTime: stored.Time
    reason: str | None = None
    identity: dict[str, str] = {}
    apiKeys: list[APIKey] = []
    auth: AccountAuth = AccountAuth()


class AccountSummary(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """An account in a list. `apiKeyCount`: number of valid tokens."""

    id: str
    name: str
    status: AccountStatus
    creationTime: stored.Time
    apiKeyCount: int = 0


class Used(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """How much of something is used. `limit`: None: there is none."""

    used: int
    limit: int | None = None


class AccountUsage(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """What an account keeps, of how much: entities (deleted ones until they are removed), bytes, and tokens that were not revoked."""

    entities: Used
    documentBytes: Used
    objectBytes: Used
    tokens: Used


class RoleHealth(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """What a role of a server process does. `since`: when that began, ISO 8601. `problem`: None: there is none."""

    phase: Annotated[str, described.says(enum=["starting", "ready", "standby", "stuck", "restarting", "stopped"])]
    since: stored.Time
    failures: int = 0
    problem: str | None = None


class Trouble(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Something that does not work although every role serves. `since`: first reported, ISO 8601. `times`: reports since then."""

    name: str
    reason: str
    since: stored.Time
    times: int


class Health(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """What a server process does. `alive`: whether it can recover by itself. `degraded`: what does not work although it serves. `lost`:
    how many lines of the log and of the audit log could not be written since it started.
    """

    status: Annotated[str, described.says(enum=["ok", "degraded", "starting", "failing"])]
    roles: dict[str, RoleHealth]
    alive: bool = True
    degraded: list[Trouble] = []
    lost: dict[str, int] = {}


class Problem(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Why a request was refused, and what to do about it."""

    detail: str


class FieldProblem(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """What is wrong with a field. `loc`: the path to it, beginning with body, query, path or header. `type`: a word for programs."""

    loc: list[str | int]
    msg: str
    type: str


class FieldProblems(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Why a request was refused: what is wrong with which field."""

    detail: list[FieldProblem]
