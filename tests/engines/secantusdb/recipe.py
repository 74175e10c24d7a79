"""SecantusDB: a server that speaks MongoDB's protocol, on WiredTiger.

It is under the GPL: it runs as a process of its own, from an environment of its own, and is never imported or shipped.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from pymongo import MongoClient

from tests.engines.recipes import EngineError, PackagedRecipe, Place

_DEADLINE_MS = 5000


class SecantusDB(PackagedRecipe):
    name = "secantusdb"
    package = "secantusdb"
    label = "SecantusDB"
    variable = "DYFF_TEST_MONGODB"
    adapters = ("query:mongo", "accounts:mongo")
    folder = Path(__file__).parent

    def command(self, place: Place) -> list[str]:
        where = ["--host", "127.0.0.1", "--port", str(place.ports["server"]), "--storage-path", str(place.home / "data")]
        return [
            str(place.built / "bin/python"),
            str(place.built / "bin/secantusd-py"),
            *where,
            "--cache-size",
            "256M",
            "--log-level",
            "WARNING",
        ]

    def address(self, place: Place) -> str:
        return f"mongodb://127.0.0.1:{place.ports['server']}/"

    def check(self, address: str) -> None:
        check(address)


def check(address: str) -> None:
    """Ping, insert and find, in a database that is dropped again."""
    with MongoClient[dict[str, Any]](address, serverSelectionTimeoutMS=_DEADLINE_MS, timeoutMS=_DEADLINE_MS) as client:
        client.admin.command("ping")
        name = f"dyff_engines_{uuid.uuid4().hex}"
        client[name].things.insert_one({"_id": 1, "text": "are you there?"})
        found = client[name].things.find_one({"_id": 1})
        client.drop_database(name)
    if found != {"_id": 1, "text": "are you there?"}:
        raise EngineError(f"it gave back {found}")
