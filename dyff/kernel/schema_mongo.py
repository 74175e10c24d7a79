"""The schema of a MongoDB database: one document per step, which also holds the progress of a long one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dyff.kernel import errors, mongo, schema

COLLECTION = "migrations"
_TRIES = 20

Document = dict[str, Any]


class MongoStore:
    """See `dyff.kernel.schema.Store`."""

    def __init__(self, name: str, database: mongo.Database) -> None:
        """`name`: the key in `dyff.kernel.schema.Steps`."""
        self.name, self._database = name, database
        self._record = database.collection(COLLECTION)

    async def applied(self) -> Sequence[schema.Applied]:
        found = await self._record.find({"at": {"$exists": True}}, order=[("at", 1), ("_id", 1)])
        return [schema.Applied(each["_id"], each["at"], each["release"]) for each in found]

    async def apply(self, step: schema.Step, at: str, release: str) -> None:
        """The step is called with a `MongoStep`."""
        await step.run(MongoStep(step.name, self._database, self._record))
        await self._record.changed({"_id": step.name}, {"$set": {"at": at, "release": release}, "$unset": {"after": ""}}, upsert=True)

    async def amend(self, *, dry_run: bool = False) -> list[str]:
        return []


class MongoStep:
    """The interface for a step."""

    def __init__(self, name: str, database: mongo.Database, record: mongo.Collection) -> None:
        """`name`: of the step."""
        self.database = database
        self._name, self._record = name, record

    async def rewrite(
        self, collection: str, change: Callable[[Document], Document | None], *, guard: Sequence[str], batch: int = 500
    ) -> int:
        """Change all documents of a collection while others use it; returns how many were changed.

        Works in batches ordered by ID. Progress is recorded after each batch, and a step that was interrupted resumes from there.
        A document is replaced only if it is unchanged since it was read; otherwise it is read again, so that no concurrent change
        is ever undone.

        Args:
            collection: its name.
            change: returns the new document, with the same `_id`, or None if the document needs no change. For its own result it
                must return None.
            guard: fields of which at least one differs after every change by anyone, such as a version.
            batch: documents per batch.

        Raises:
            Fatal: `change` never returns None for a document.
        """
        documents, key = self.database.collection(collection), f"after.{collection}"
        known = await self._record.get({"_id": self._name})
        after = (known or {}).get("after", {}).get(collection)
        changed = 0
        while found := await documents.find({} if after is None else {"_id": {"$gt": after}}, order=[("_id", 1)], limit=batch):
            changed += await _rewritten(documents, found, change, guard)
            after = found[-1]["_id"]
            await self._record.changed({"_id": self._name}, {"$set": {key: after}}, upsert=True)
        return changed


async def _rewritten(
    documents: mongo.Collection, found: Sequence[Document], change: Callable[[Document], Document | None], guard: Sequence[str]
) -> int:
    changed = 0
    for _ in range(_TRIES):
        wanted = [(each, change(each)) for each in found]
        replacements = [({"_id": old["_id"], **_as_read(old, guard)}, new) for old, new in wanted if new is not None]
        if not replacements:
            return changed
        changed += await documents.rewrite(replacements)
        found = await documents.find({"_id": {"$in": [where["_id"] for where, _ in replacements]}})
    raise errors.Fatal(f"a migration does not come to an end with the document {found[0]['_id']!r}: its change of it is no change once")


def _as_read(document: Document, guard: Sequence[str]) -> Document:
    return {name: document.get(name, {"$exists": False}) for name in guard}
