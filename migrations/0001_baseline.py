"""Topics, indexes and tables as in release 0.1.0. Existing ones are kept, so an installation of 0.1.0 is adopted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dyff.accounts import embedded as accounts
from dyff.bus import topics
from dyff.bus.schema import BusStep
from dyff.kernel import schema

if TYPE_CHECKING:
    from dyff.kernel.schema_mongo import MongoStep


async def _topics(step: BusStep) -> None:
    await step.bus.amend_topics(topics.specs(step.partitions))


async def _indexes_of_the_view(step: MongoStep) -> None:
    from dyff.query import mongo

    await mongo.prepare(step.database)


async def _indexes_of_the_accounts(step: MongoStep) -> None:
    from dyff.accounts import mongo

    await mongo.prepare(step.database)


PRE: schema.Steps = {
    "bus": _topics,
    "query:mongodb": _indexes_of_the_view,
    "accounts:mongodb": _indexes_of_the_accounts,
    "accounts:sqlite": accounts.prepare,
}
POST: schema.Steps = {}
