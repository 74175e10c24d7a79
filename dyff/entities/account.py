"""Requests about accounts: what they may do, and their tokens."""

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
"""The resources that the published grants may name, also those that this server does not have (yet)."""

if TYPE_CHECKING:
    Resource = str
else:
    Resource = Literal[tuple(dict.fromkeys((*_PUBLISHED, *registry.BY_PLURAL)))]
    """What a grant may name: everything published, and every kind."""

Function = Literal["consume", "create", "get", "query", "edit", "download", "upload", "data", "strata", "terminate", "delete", "*"]


class AccessGrant(Part, frozen=True):
    """Grants `functions` on `resources` that belong to `accounts` or are one of `entities`."""

    resources: Annotated[tuple[Resource, ...], msgspec.Meta(min_length=1, max_length=100)]
    functions: Annotated[tuple[Function, ...], msgspec.Meta(min_length=1, max_length=100)]
    accounts: Annotated[tuple[Short, ...], msgspec.Meta(max_length=1000)] = ()
    entities: Annotated[tuple[Short, ...], msgspec.Meta(max_length=1000)] = ()


_EXAMPLE: codecs.Json = {"resources": ["datasets", "evaluations"], "functions": ["get", "query"], "accounts": ["example"]}


class Identity(Part, frozen=True):
    """What external providers call the owner of an account."""

    google: Short | None = None
    github: Short | None = None
    gitlab: Short | None = None
    authentik: Short | None = None


class AccountCreateRequest(identity.Request, frozen=True):
    """Asks for an account, whose name is not taken. It may do nothing until it gets permissions."""

    example: ClassVar[codecs.Json] = {"name": "example"}

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=255), described.says(pattern=r"\S", description="not blank")]
    identity: Identity = Identity()


class AccountPermissionsSetRequest(identity.Request, frozen=True):
    """Replaces an account's permissions as a whole."""

    example: ClassVar[codecs.Json] = {"permissions": [_EXAMPLE]}

    permissions: Few[AccessGrant]


class AccountTokenCreateRequest(identity.Request, frozen=True):
    """Asks for a token with some of the account's permissions."""

    example: ClassVar[codecs.Json] = {"grants": [_EXAMPLE], "expires": identity.EXAMPLE_TIME}

    grants: Few[AccessGrant]
    expires: identity.Expiry
