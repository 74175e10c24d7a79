"""Requests about accounts: their permissions and their tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

import msgspec

from dyff.entities import codecs, described, identity, registry
from dyff.entities.identity import Few, Part, Short

_PUBLISHED = (
    "accounts", "analyses", "artifacts", "audits", "auditprocedures", "challenges", "concerns", "curves", "datasets", "datasources",
    "descriptors", "documentation", "evaluations", "families", "hazards", "histories", "inferenceservices", "inferencesessions",
    "measurements", "methods", "models", "modules", "pipelines", "pipelineruns", "quotas", "reports", "revisions", "safetycases",
    "scores", "submissions", "teams", "usecases", "tasks", "chores/validate-schema", "*",
)  # fmt: skip
"""The resources that published grants may name, including those that this server does not have (yet)."""

if TYPE_CHECKING:
    Resource = str
else:
    Resource = Literal[tuple(dict.fromkeys((*_PUBLISHED, *registry.BY_PLURAL)))]
    """The resources that a grant may name: all published ones, and every kind."""

Function = Literal["consume", "create", "get", "query", "edit", "download", "upload", "data", "strata", "terminate", "delete", "*"]


class AccessGrant(Part, frozen=True):
    """Grants `functions` on `resources` that belong to `accounts` or are among `entities`."""

    resources: Annotated[tuple[Resource, ...], msgspec.Meta(min_length=1, max_length=100)]
    functions: Annotated[tuple[Function, ...], msgspec.Meta(min_length=1, max_length=100)]
    accounts: Annotated[tuple[Short, ...], msgspec.Meta(max_length=1000)] = ()
    entities: Annotated[tuple[Short, ...], msgspec.Meta(max_length=1000)] = ()


_EXAMPLE: codecs.Json = {"resources": ["datasets", "evaluations"], "functions": ["get", "query"], "accounts": ["example"]}


class Identity(Part, frozen=True):
    """The owner's user names at external identity providers."""

    google: Short | None = None
    github: Short | None = None
    gitlab: Short | None = None
    authentik: Short | None = None


class AccountCreateRequest(identity.Request, frozen=True):
    """Requests an account with a unique name. It has no permissions until some are set."""

    example: ClassVar[codecs.Json] = {"name": "example"}

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255), described.says(pattern=r"\S", description="not blank")]
    identity: Identity = Identity()


class AccountPermissionsSetRequest(identity.Request, frozen=True):
    """Replaces all permissions of an account."""

    example: ClassVar[codecs.Json] = {"permissions": [_EXAMPLE]}

    permissions: Few[AccessGrant]


class AccountTokenCreateRequest(identity.Request, frozen=True):
    """Requests a token with some of the account's permissions."""

    example: ClassVar[codecs.Json] = {"grants": [_EXAMPLE], "expires": identity.EXAMPLE_TIME}

    grants: Few[AccessGrant]
    expires: identity.Expiry
