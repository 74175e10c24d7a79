"""Documents say what they count in their account's usage, and an index adds it up (docs/adr/0021-limits-per-account.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dyff.kernel import schema

if TYPE_CHECKING:
    from dyff.kernel.schema_mongo import MongoStep


async def _index(step: MongoStep) -> None:
    from dyff.query import mongo

    await mongo.prepare(step.database)


async def _sizes(step: MongoStep) -> None:
    # The previous release writes documents without sizes, and takes those with sizes for damaged when it verifies them.
    from dyff.query.mongo import stored

    for name in sorted(filter(stored.is_collection, await step.database.names())):
        await step.rewrite(name, stored.with_sizes, guard=["at"])


PRE: schema.Steps = {"query:mongodb": _index}
POST: schema.Steps = {"query:mongodb": _sizes}
