"""The routes for the health of the system and for quotas in use (docs/console-data.md)."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import structlog

from dyff.api import auth
from dyff.api.calls import Call, Reply, json
from dyff.api.context import Context
from dyff.api.route import Route
from dyff.api.routes import tokens
from dyff.entities import codecs, costs, registry, statuses, system
from dyff.kernel import errors, quantities
from dyff.query import filters, port

MAX_RUNS = 1000
"""Runs of each kind that are counted for one account."""

log = structlog.get_logger()


def routes(context: Context) -> list[Route]:
    """Return the routes."""
    group = System(context)
    return [
        Route(
            method="GET", path="/v0/system", answer=group.system, group="system", operation="health", answers=system.System,
            summary="Roles, backends and lag, now and for the last hour; needs an operator's token", returns="what was seen",
        ),
        Route(
            method="GET", path="/v0/accounts/{id:str}/quotas", answer=group.quotas, group=tokens.RESOURCE, operation="quotas",
            answers=system.QuotasInUse, summary="What it uses of what it may use at the same time", returns="used and limit of each quota",
        ),
    ]  # fmt: skip


class System:
    """What operators, and accounts, want to know about the system."""

    def __init__(self, context: Context) -> None:
        """`context`: of the server."""
        self._services, self._watching = context.services, context.watching

    async def system(self, call: Call) -> Reply:
        """Return what was seen at the last look, at most ten seconds ago, and in the hour before."""
        auth.require_operator(call.principal, "GET /v0/system")
        return json(msgspec.to_builtins(await self._watching.seen()))

    async def quotas(self, call: Call) -> Reply:
        """Return what the admitted workflows of the account use. One that ended counts a little longer, until its pods are gone."""
        account = await tokens.find(self._services, call, "get", own=True)
        used, is_all = await self._used(account.id)
        limits = self._services.quotas
        accelerators = sorted({*limits.accelerators, *(each for each in used if each not in (costs.SLOT, "cpu", "memory"))})
        found = system.QuotasInUse(
            admitted=_in_use(used.get(costs.SLOT), str(limits.admitted)),
            cpu=_in_use(used.get("cpu"), limits.cpu),
            memory=_in_use(used.get("memory"), limits.memory),
            accelerators={each: _in_use(used.get(each), _text(limits.accelerators.get(each))) for each in accelerators},
            complete=is_all,
        )
        return json(msgspec.to_builtins(found))

    async def _used(self, account: str) -> tuple[dict[str, Decimal], bool]:
        used: dict[str, Decimal] = {}
        is_all = True
        for row in registry.ROWS:
            if row.run is None:
                continue
            where = (filters.Equals(("account",), account), filters.OneOf(("status",), (statuses.SCHEDULABLE, statuses.ADMITTED)))
            asked = filters.Find(collection=row.plural, where=filters.AllOf(where), limit=MAX_RUNS)
            found = await port.found(self._services.query.find(asked))
            is_all = is_all and len(found) < MAX_RUNS
            for document in found:
                for name, amount in self._cost(codecs.decode_object(document)).items():
                    used[name] = used.get(name, Decimal(0)) + amount
        return used, is_all

    @staticmethod
    def _cost(entity: codecs.Json) -> dict[str, Decimal]:
        try:
            return {name: quantities.parse(text) for name, text in registry.BY_KIND[entity["kind"]].cost(entity).items()}
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            log.error("cost-unknown", kind=entity.get("kind"), **errors.details(error))
            return {}


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def _in_use(used: Decimal | None, limit: str | None) -> system.InUse:
    return system.InUse(used=_plain(used or Decimal(0)), limit=None if limit is None else _plain(quantities.parse(limit)))


def _plain(amount: Decimal) -> str:
    """A number without an exponent, and without zeros that say nothing."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
