"""Indexes for what changed last, of all, of a status and of an account: lists and the overview need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dyff.kernel import schema

if TYPE_CHECKING:
    from dyff.kernel.schema_mongo import MongoStep


async def _indexes(step: MongoStep) -> None:
    from dyff.query import mongo

    await mongo.prepare(step.database)


PRE: schema.Steps = {"query:mongodb": _indexes}
POST: schema.Steps = {}
