"""The routes around comparisons: by what entities can be compared, on which items systems differ, and leaderboards (docs/statistics.md)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dyff.api import queries
from dyff.api.calls import Call, Reply
from dyff.api.comparisons import asking, results
from dyff.api.comparisons.finding import Finding
from dyff.api.comparisons.ranking import Ranking
from dyff.api.context import Context
from dyff.api.route import Other, Parameter, Route
from dyff.api.routes.entities import follow
from dyff.entities import answers, codecs, comparables, comparisons, differing, leaderboards
from dyff.kernel import ids

DEFAULT_LIMIT = 50
_LAST_PLACE = 10**9
_TEXT = {"type": "string", "maxLength": 1000}
_CHOICES = {"ids": Parameter(f"from 2 to {comparisons.MAX_SYSTEMS} IDs of evaluations, safety cases or measurements, with commas", _TEXT)}
_SCORE = Parameter("the name of the score; without it, the primary one", {"type": "string", "maxLength": 127})
_ITEMS = {
    "ids": Parameter(f"from 2 to {comparisons.MAX_SYSTEMS} IDs of measurements, or of safety cases that read one, with commas", _TEXT),
    "score": _SCORE,
    "between": Parameter("two of the IDs with a comma: only these two decide whether an item fits", _TEXT),
    "higher": Parameter("one of the two in `between`: only items where its value is the higher one"),
    "show": Parameter(
        "`differing`: items with different values; `unpaired`: items with a verdict of some only; `all`",
        {"type": "string", "enum": list(differing.SHOWN), "default": "differing"},
    ),
    "limit": Parameter(
        "at most this many", {"type": "integer", "minimum": 1, "maximum": differing.MAX_LIMIT, "default": DEFAULT_LIMIT}
    ),
    "after": Parameter("`next` of the page before"),
}  # fmt: skip
_BOARD = {
    "method": Parameter("the ID of the method"),
    "dataset": Parameter("the ID of the dataset"),
    "score": _SCORE,
    "reference": Parameter("the ID of the measurement with which the others are compared; without it, the one with the best score"),
}


def routes(context: Context) -> list[Route]:
    """Return the routes."""
    return Comparable(context).routes()


class Comparable:
    """What is needed before and after a comparison."""

    def __init__(self, context: Context) -> None:
        """`context`: of the server."""
        self._context = context
        self._finding = Finding(context.services, context.documents, context.compared)
        self._ranking = Ranking(self._finding, context.compared, context.comparing)

    def routes(self) -> list[Route]:
        """Return the routes."""
        common: dict[str, Any] = {"method": "GET", "group": "comparisons", "takes_position": True}
        missing = {404: Other("there is no entity with one of the IDs", answers.Problem)}
        return [
            Route(
                path="/v0/comparisons/choices", answer=self.choices, operation="choices", query=_CHOICES, answers=comparables.Comparables,
                summary="By which measurements entities can be compared, and why others cannot", others=missing,
                returns="the choices, and what cannot be compared", **common,
            ),
            Route(
                path="/v0/comparisons/items", answer=self.items, operation="items", query=_ITEMS, answers=differing.DifferingItems,
                summary="The items on which systems differ", returns="a page of items, and how often each pair differs",
                conflict="they cannot be compared; the message says why", others=missing, **common,
            ),
            Route(
                path="/v0/leaderboards", answer=self.leaderboard, operation="leaderboard", query=_BOARD, answers=leaderboards.Leaderboard,
                summary="The systems that a method has measured on a dataset, with ranks that ties share", returns="the leaderboard",
                conflict="the reference cannot be compared; the message says why", **common,
            ),
        ]  # fmt: skip

    async def choices(self, call: Call) -> Reply:
        """Return by what the entities can be compared."""
        given = queries.once(call.query(), list(_CHOICES))
        asked = asking.several(given.get("ids"), "ids")
        await follow(self._context, call)
        return Reply(200, codecs.encode(await self._finding.comparables(call.principal, asked)))

    async def items(self, call: Call) -> Reply:
        """Return a page of the items that fit."""
        given = queries.once(call.query(), list(_ITEMS))
        asked = asking.several(given.get("ids"), "ids")
        page = _page(given, asked)
        await follow(self._context, call)
        sources, name = await self._context.compared.joinable(call.principal, asked, given.get("score") or None)
        answer = await self._context.comparing.answer(sources, name, (), page)
        results.refuse(results.problems(sources, (), answer))
        return Reply(200, codecs.encode(results.items_of(sources, name, answer)))

    async def leaderboard(self, call: Call) -> Reply:
        """Return the leaderboard."""
        given = queries.once(call.query(), list(_BOARD))
        for each in ("method", "dataset"):
            if not ids.is_id(given.get(each, "")):
                raise asking.invalid(each, f"must be the ID of a {each}: 32 hexadecimal digits")
        await follow(self._context, call)
        score, reference = given.get("score") or None, given.get("reference") or None
        found = await self._ranking.of(call.principal, given["method"], given["dataset"], score, reference)
        return Reply(200, codecs.encode(found))


def _page(given: dict[str, str], asked: Sequence[str]) -> differing.Page:
    """Raises InvalidFields: a parameter has an invalid value."""
    show = given.get("show", "differing")
    known = next((each for each in differing.SHOWN if each == show), None)
    if known is None:
        raise asking.invalid("show", f"must be one of {', '.join(differing.SHOWN)}")
    between = None if "between" not in given else asking.places(given["between"], asked)
    higher = given.get("higher")
    if higher is not None and (between is None or higher not in (asked[each] for each in between)):
        raise asking.invalid("higher", "must be one of the two IDs in between, which must be given, too")
    if higher is not None and known != "differing":
        raise asking.invalid("higher", "can only be given where show is differing")
    limit = queries.limit(given.get("limit")) or DEFAULT_LIMIT
    if limit > differing.MAX_LIMIT:
        raise asking.invalid("limit", f"must be a whole number from 1 to {differing.MAX_LIMIT}")
    after = given.get("after", "0")
    if not (after.isascii() and after.isdigit()) or int(after[:10]) > _LAST_PLACE:
        raise asking.invalid("after", "must be the `next` of the page before")
    return differing.Page(known, between, None if higher is None else asked.index(higher), int(after[:10]), limit)
