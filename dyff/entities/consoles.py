"""What a page that shows entities of any kind has to know: the kinds, and who is asking. Answers of the API, typed."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from dyff.entities import answers, codecs, described, identity, showing, stored


class Filter(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A query parameter of a kind, and the keys that lead to its value in an entity."""

    name: str
    path: list[str]


class KindDescription(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A kind of entity, as its row in the registry says.

    `name`: as in the field `kind` of an entity. `plural`: as in paths, and as a resource of grants. `title`: for people. `operations`: what
    the API can do with it, by the names of the API's description without the plural, such as `get` and `terminate`. `request`: the name of
    the schema of a request that creates one, in the API's description; None if none does. `texts`: the texts of its documentation.
    `edits`: paths, below an entity, of the parts that can be edited. `success`, `failure`: the statuses in which it ends.
    `logs`: whether its log is of the pods of a run (`pods`), or a file that someone stored (`stored`); None if it has none.
    `runs`: whether it can run in the cluster. `page`: whether it has a page for the public.
    """

    name: str
    plural: str
    title: str
    operations: list[str]
    filters: list[Filter]
    texts: list[str]
    success: str
    failure: str
    runs: bool
    page: bool
    request: str | None = None
    logs: Annotated[str | None, described.says(enum=["pods", "stored", None])] = None
    edits: list[str] = []


class Caller(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Whose token a request has, and what it allows now: at most what the token says, and at most what its account may.

    `subject`: such as `Account/ID`. `account`: None if the token is not of an account but, for instance, of a session. `token`: its ID.
    """

    subject: str
    token: str
    expires: stored.Time
    grants: list[answers.AccessGrant]
    account: str | None = None
    name: str | None = None


class Count(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """How many entities of a kind are in a group. `more`: whether there are more than `count`, which is then the bound."""

    plural: str
    count: int
    more: bool = False


class Group(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """Entities with one of several statuses. `counts`: of the kinds that have some. `rows`: those that changed last, of all kinds, the
    last one first, with the fields of a list.
    """

    name: str
    statuses: list[str]
    counts: list[Count]
    rows: list[dict[str, Any]]


class Overview(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """What there is of all kinds that can run or be uploaded and that the token may query. `most`: the bound of counts."""

    most: int
    groups: list[Group]


class SignInRequest(identity.Request, frozen=True):
    """Exchanges the code of a link that `dyff serve` has printed for a token."""

    example: ClassVar[codecs.Json] = {"code": "u3Qm0o1g6nB0nD7m5T1q0yZ9Xw8k2RrVb4eHcJpLsAE"}

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
