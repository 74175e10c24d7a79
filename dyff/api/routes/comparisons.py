"""The route that compares systems on the same items (docs/statistics.md)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from dyff.accounts.authority import Principal
from dyff.api import queries
from dyff.api.calls import Call, Reply
from dyff.api.comparisons import results, terms
from dyff.api.comparisons.tasks import Pairs
from dyff.api.context import Context
from dyff.api.route import Other, Parameter, Route
from dyff.api.routes.entities import follow
from dyff.entities import answers, codecs, comparisons
from dyff.kernel import errors

_PROBLEMS = 3
"""That are reported."""

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
        asked = [await self._context.compared.asked(principal, each, name) for each in ids]
        if len({each.key for each in asked}) < len(asked):
            raise errors.Conflict("two of the IDs lead to the same measurement; compare different ones")
        name = name or terms.primary(asked[0])
        if name is None:
            raise errors.Conflict(f"the measurement {asked[0].key} cannot be compared: it has no score")
        sources = await self._context.compared.whole(asked)
        _refuse(terms.problems(sources, name))
        pairs: Pairs = tuple(itertools.combinations(range(len(sources)), 2))
        answer = await self._context.comparing.answer(sources, name, pairs)
        _refuse(results.problems(sources, pairs, answer))
        names = await self._context.compared.names(sources, principal)
        return results.comparisons_of(sources, names, name, pairs, answer)


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        more = f". {len(problems) - _PROBLEMS} more such problems" if len(problems) > _PROBLEMS else ""
        raise errors.Conflict(". ".join(problems[:_PROBLEMS]) + more)


def _asked(call: Call) -> tuple[list[str], str | None]:
    """The IDs, and the name of the score.

    Raises:
        InvalidFields: a parameter is unknown or missing, is given twice, or has an invalid value.
    """
    given = queries.once(call.query(), list(_PARAMETERS))
    several = given.get("ids")
    if (several is None) == (given.get("a") is None and given.get("b") is None):
        raise _invalid("ids", "give a and b, or ids in their place: IDs with commas between them")
    if several is None:
        for each in ("a", "b"):
            if not given.get(each):
                raise _invalid(each, f"must be {_ID}")
        found = [given["a"], given["b"]]
    else:
        found = [each.strip() for each in several.split(",")]
    if not 2 <= len(found) <= comparisons.MAX_SYSTEMS:
        raise _invalid("ids", f"must be from 2 to {comparisons.MAX_SYSTEMS} IDs; these are {len(found)}")
    if len(set(found)) < len(found):
        raise _invalid("ids", "must be different IDs: one is there twice")
    return found, given.get("score") or None


def _invalid(name: str, text: str) -> errors.InvalidFields:
    return errors.InvalidFields(errors.Problem(("query", name), text))
