"""The route that compares systems on the same items (docs/statistics.md)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from dyff.accounts.authority import Principal
from dyff.api import queries
from dyff.api.calls import Call, Reply
from dyff.api.comparisons import asking, results
from dyff.api.comparisons.tasks import Pairs
from dyff.api.context import Context
from dyff.api.route import Other, Parameter, Route
from dyff.api.routes.entities import follow
from dyff.entities import answers, codecs, comparisons

_ID = "the ID of a measurement, or of a safety case that reads one"
_PARAMETERS = {
    "a": Parameter(_ID),
    "b": Parameter(f"{_ID}; the difference is b minus a"),
    "ids": Parameter(
        f"in place of a and b: from 2 to {comparisons.MAX_SYSTEMS} such IDs, with commas between them",
        {"type": "string", "maxLength": 1000},
    ),
    "score": Parameter("the name of the score; without it, the primary one", {"type": "string", "maxLength": 127}),
}


def routes(context: Context) -> list[Route]:
    """Return the route."""
    return [Compare(context).route()]


class Compare:
    """Compares measurements, or the measurements that safety cases read."""

    def __init__(self, context: Context) -> None:
        """`context`: of the server."""
        self._context = context

    def route(self) -> Route:
        """Return the route."""
        return Route(
            method="GET", path="/v0/comparisons", answer=self.answer, group="comparisons", operation="compare",
            summary="Whether one of several systems is better on the same items, pair by pair", query=_PARAMETERS,
            answers=comparisons.Comparisons, returns="the systems, and each pair with a verdict", takes_position=True,
            conflict="they cannot be compared; the message says why",
            others={404: Other("there is no measurement and no safety case with one of the IDs", answers.Problem)},
        )  # fmt: skip

    async def answer(self, call: Call) -> Reply:
        """Return the comparison."""
        ids, name = _asked(call)
        await follow(self._context, call)
        found = await self._compared(call.principal, ids, name)
        return Reply(200, codecs.encode(found))

    async def _compared(self, principal: Principal, ids: Sequence[str], name: str | None) -> comparisons.Comparisons:
        sources, name = await self._context.compared.joinable(principal, ids, name)
        pairs: Pairs = tuple(itertools.combinations(range(len(sources)), 2))
        answer = await self._context.comparing.answer(sources, name, pairs)
        results.refuse(results.problems(sources, pairs, answer))
        names = await self._context.compared.names(sources, principal)
        return results.comparisons_of(sources, names, name, pairs, answer)


def _asked(call: Call) -> tuple[list[str], str | None]:
    """The IDs, and the name of the score.

    Raises:
        InvalidFields: a parameter is unknown or missing, is given twice, or has an invalid value.
    """
    given = queries.once(call.query(), list(_PARAMETERS))
    several = given.get("ids")
    if (several is None) == (given.get("a") is None and given.get("b") is None):
        raise asking.invalid("ids", "give a and b, or ids in their place: IDs with commas between them")
    if several is None:
        for each in ("a", "b"):
            if not given.get(each):
                raise asking.invalid(each, f"must be {_ID}")
        found = asking.checked([given["a"], given["b"]], "ids")
    else:
        found = asking.checked([each.strip() for each in several.split(",")], "ids")
    return found, given.get("score") or None
