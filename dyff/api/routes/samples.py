"""The routes for the samples of an evaluation (docs/console-data.md)."""

from __future__ import annotations

import re
from typing import Any, Literal

import msgspec

from dyff.api import queries
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import BYTES, Parameter, Route
from dyff.api.routes.entities import follow
from dyff.api.samples import asked, gathering
from dyff.entities import registry, samples
from dyff.kernel import errors, ids

DEFAULT_LIMIT, MAX_LIMIT = 25, 100
MAX_TEXT_CHARS = 200
MAX_COLUMN_CHARS = 1000

_BOOLEAN = {"type": "boolean"}
_NUMBER = re.compile(r"-?[0-9]{1,19}")
_AFTER = re.compile(r"(-?[0-9]{1,19})\.([0-9]{1,9})")
_MEASUREMENTS = Parameter(f"IDs with commas, at most {gathering.MEASUREMENTS}: whose scores are shown; the newest without it")
_INCOMPLETE = Parameter("true: also what a failed run has completed", {**_BOOLEAN, "default": False})
_REPLICATION = Parameter("only this replication: its ID, or its number from 0")
_PAGE = {
    "limit": Parameter("samples of a page", {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT}),
    "after": Parameter("`next` of the page before", {"type": "string", "pattern": f"^{_AFTER.pattern}$"}),
    "index": Parameter("only this index", {"type": "integer"}),
    "replication": _REPLICATION,
    "errors": Parameter("true: only samples with an error; false: only those without", _BOOLEAN),
    "text": Parameter("only samples with this text in the item, the responses or the error", {"type": "string", "minLength": 1}),
    "measurements": _MEASUREMENTS,
    "score": Parameter("only samples with a score in this column"),
    "min": Parameter("the least score", {"type": "number"}),
    "max": Parameter("the largest score", {"type": "number"}),
    "value": Parameter("the score: a text, a number, true or false"),
    "incomplete": _INCOMPLETE,
}
_ONE = {"replication": _REPLICATION, "measurements": _MEASUREMENTS, "incomplete": _INCOMPLETE}
_VALUE = {
    "part": Parameter("where it is", {"type": "string", "enum": list(asked.PARTS)}),
    "column": Parameter("its column"),
    "replication": Parameter("the ID of the replication"),
    "number": Parameter("of the response, the exchange or the row", {"type": "integer", "minimum": 0, "default": 0}),
    "measurement": Parameter("the ID of the measurement, of a score"),
}
_SAFE = (
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; sandbox"),
    ("cache-control", "private, max-age=3600"),
)
"""Nothing in a value can run, whatever a browser makes of it."""


def routes(context: Context) -> list[Route]:
    """Return the routes."""
    group, one = Samples(context), "/v0/evaluations/{id:str}/samples"
    common: dict[str, Any] = {
        "method": "GET", "group": "evaluations", "takes_position": True,
        "conflict": "it has no outputs to show (yet, or any more), or they cannot be read",
    }  # fmt: skip
    return [
        Route(
            path=one, answer=group.page, operation="samples", summary="A page of its samples: items, responses, errors and scores",
            query=_PAGE, answers=samples.Samples, returns="samples, next", **common,
        ),
        Route(
            path=f"{one}/{{index:str}}", answer=group.one, operation="sample", summary="The samples of one index, with long values",
            query=_ONE, answers=samples.Samples, returns="samples of all its replications", **common,
        ),
        Route(
            path=f"{one}/{{index:str}}/value", answer=group.value, operation="sample_value", query=_VALUE, media_type=BYTES,
            or_media_types=("application/json", "text/plain", "image/png", "image/jpeg", "image/gif", "image/webp"),
            summary="One whole value, at the address that its cell has", returns="the value",
            headers={
                "X-Content-Type-Options": "nosniff", "Cache-Control": "it never changes, and is for this reader only",
                "Content-Disposition": "attachment, unless it is a text, JSON, or an image of pixels",
            }, **common,
        ),
    ]  # fmt: skip


class Samples:
    """The samples of evaluations. They need `data` on the evaluation."""

    def __init__(self, context: Context) -> None:
        """`context`: of the server."""
        self._context, self._asking = context, context.samples
        self._gathering = gathering.Gathering(context)
        self._row = registry.BY_KIND["Evaluation"]

    async def page(self, call: Call) -> Reply:
        """Return a page of samples that fit."""
        given = queries.once(call.query(), list(_PAGE))
        where = asked.Where(
            index=_whole(given, "index"), replication=given.get("replication"), errors=_flag(given, "errors"), text=_text(given),
            score=_column(given, "score"), least=_number(given, "min"), most=_number(given, "max"), value=given.get("value"),
        )  # fmt: skip
        if where.score is None and any(each in given for each in ("min", "max", "value")):
            raise _wrong("score", "is missing: say which column min, max and value are about")
        return await self._answer(call, given, where, limit=_limit(given), after=_after(given))

    async def one(self, call: Call) -> Reply:
        """Return the samples of one index, with values up to 256 KiB and with exchanges."""
        given = queries.once(call.query(), list(_ONE))
        where = asked.Where(index=_index(call), replication=given.get("replication"))
        return await self._answer(call, given, where, limit=MAX_LIMIT, cut_bytes=asked.WHOLE_BYTES, exchanges=True)

    async def value(self, call: Call) -> Reply:
        """Return one value. What is not text, JSON or an image of pixels is a download."""
        given = queries.once(call.query(), list(_VALUE))
        part = given.get("part")
        if part not in asked.PARTS:
            raise _wrong("part", f"must be one of {', '.join(asked.PARTS)}")
        place = asked.Place(
            part=_part(part), column=_column(given, "column") or "", index=_index(call), replication=given.get("replication", ""),
            number=_whole(given, "number") or 0, measurement=given.get("measurement", ""),
        )  # fmt: skip
        await follow(self._context, call)
        evaluation = await self._context.documents.entity(call.principal, self._row, call.path["id"], "data")
        chosen = [place.measurement] if place.measurement else []
        found = await self._gathering.gathered(call.principal, evaluation, chosen, incomplete=True, exchanges=part == "exchange")
        answer = await self._asking.ask(_account(call), msgspec.structs.replace(found.request, place=place), found.stored)
        if not isinstance(answer, asked.Value):
            raise errors.DyffError("a page is no value")
        if answer.kind == "none":
            raise errors.NotFound(f"the value cannot be given: {answer.data.decode(errors='replace')[:300]}")
        return _reply(answer)

    async def _answer(
        self, call: Call, given: dict[str, str], where: asked.Where, *, limit: int, after: tuple[int, int] | None = None,
        cut_bytes: int = asked.CUT_BYTES, exchanges: bool = False,
    ) -> Reply:  # fmt: skip
        chosen, incomplete = _measurements(given), bool(_flag(given, "incomplete"))
        await follow(self._context, call)
        evaluation = await self._context.documents.entity(call.principal, self._row, call.path["id"], "data")
        found = await self._gathering.gathered(call.principal, evaluation, chosen, incomplete=incomplete, exchanges=exchanges)
        known = found.request.replications
        if where.replication is not None and where.replication.isdigit() and len(where.replication) < 10:
            number = int(where.replication)
            where = msgspec.structs.replace(where, replication=known[number] if number < len(known) else where.replication)
        request = msgspec.structs.replace(found.request, where=where, limit=limit, after=after, cut_bytes=cut_bytes)
        page = await self._asking.ask(_account(call), request, found.stored)
        if not isinstance(page, asked.Page):
            raise errors.DyffError("a value is no page")
        self._gathering.learn(found.stored, page.groups)
        missing = [*found.missing, *(samples.LeftOut(what=what, why=why) for what, why in page.missing)]
        return json(
            {
                "samples": page.samples,
                "next": None if page.next is None else f"{page.next[0]}.{page.next[1]}",
                "looked": page.looked,
                "missing": [msgspec.to_builtins(each) for each in missing],
                "replications": list(known[:1000]),
                "measurements": [
                    {"id": each, "name": name, "columns": page.columns.get(each, [])[: asked.MAX_COLUMNS]}
                    for each, name in found.names.items()
                ],
            }
        )


def _reply(answer: asked.Value) -> Reply:
    if answer.kind == "text":
        return Reply(200, answer.data, _SAFE, "text/plain; charset=utf-8")
    if answer.kind == "json":
        return Reply(200, answer.data, _SAFE)
    if answer.media_type.startswith("image/"):
        return Reply(200, answer.data, _SAFE, answer.media_type)
    return Reply(200, answer.data, (*_SAFE, ("content-disposition", 'attachment; filename="value.bin"')), BYTES)


def _account(call: Call) -> str:
    return call.principal.account.id if call.principal.account is not None else call.principal.claims.subject


def _part(text: str) -> Literal["item", "response", "error", "exchange", "score"]:
    return text  # type: ignore[return-value]  # the caller has compared it


def _index(call: Call) -> int:
    text = call.path["index"]
    if not _NUMBER.fullmatch(text) or not -(2**63) <= int(text) < 2**63:
        raise errors.InvalidFields(errors.Problem(("path", "index"), "must be a whole number of 64 bits"))
    return int(text)


def _wrong(name: str, fix: str) -> errors.InvalidFields:
    return errors.InvalidFields(errors.Problem(("query", name), fix))


def _flag(given: dict[str, str], name: str) -> bool | None:
    if given.get(name) not in (None, "true", "false"):
        raise _wrong(name, "must be true or false")
    return None if name not in given else given[name] == "true"


def _whole(given: dict[str, str], name: str) -> int | None:
    text = given.get(name)
    if text is None:
        return None
    if not _NUMBER.fullmatch(text) or not -(2**63) <= int(text) < 2**63 or (name == "number" and text.startswith("-")):
        raise _wrong(name, "must be a whole number")
    return int(text)


def _number(given: dict[str, str], name: str) -> float | None:
    text = given.get(name)
    try:
        value = None if text is None else float(text)
    except ValueError:
        value = float("nan")
    if value is not None and not abs(value) < float("inf"):
        raise _wrong(name, "must be a finite number")
    return value


def _text(given: dict[str, str]) -> str | None:
    text = given.get("text")
    if text is not None and not 1 <= len(text) <= MAX_TEXT_CHARS:
        raise _wrong("text", f"must have 1 to {MAX_TEXT_CHARS} characters")
    return text


def _column(given: dict[str, str], name: str) -> str | None:
    text = given.get(name)
    if text is not None and not 1 <= len(text) <= MAX_COLUMN_CHARS:
        raise _wrong(name, f"must be the name of a column, of at most {MAX_COLUMN_CHARS} characters")
    return text


def _limit(given: dict[str, str]) -> int:
    limit = _whole(given, "limit")
    if limit is not None and not 1 <= limit <= MAX_LIMIT:
        raise _wrong("limit", f"must be a whole number from 1 to {MAX_LIMIT}")
    return DEFAULT_LIMIT if limit is None else limit


def _after(given: dict[str, str]) -> tuple[int, int] | None:
    text = given.get("after")
    if text is None:
        return None
    found = _AFTER.fullmatch(text)
    if found is None or not -(2**63) <= int(found[1]) < 2**63:
        raise _wrong("after", "must be the value of 'next' in the page before")
    return int(found[1]), int(found[2])


def _measurements(given: dict[str, str]) -> list[str] | None:
    if "measurements" not in given:
        return None
    found = list(dict.fromkeys(filter(None, map(str.strip, given["measurements"].split(",")))))
    if len(found) > gathering.MEASUREMENTS or not all(map(ids.is_id, found)):
        raise _wrong("measurements", f"must be IDs with commas between them, at most {gathering.MEASUREMENTS}")
    return found
