"""A damaged file of any embedded store is one sentence with what to do, and never a traceback or another state."""

from __future__ import annotations

import contextlib

import apsw
import pytest

from dyff.accounts import port as accounts_port
from dyff.cluster import port as cluster
from dyff.kernel import clock, errors, ids, settings
from dyff.serve import directory, roles, wiring
from tests.narrowing import sure


def zeros(path):
    """A page in the middle has no content any more."""
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\0" * 4096 + data[8192:])


def ones(path):
    """All but the first page have other bytes."""
    data = path.read_bytes()
    path.write_bytes(data[:4096] + b"\xff" * (len(data) - 4096))


def text(path):
    path.write_bytes(b"this is not a database, however long you look at it" * 200)


def value(path):
    """The tree is whole, but values have other bytes."""
    with contextlib.closing(apsw.Connection(str(path))) as connection:
        for table in ("objects", "accounts"):
            if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchone():
                connection.execute(f"UPDATE {table} SET body = substr(body, 2)")


@pytest.mark.parametrize("damage", [zeros, ones, text, value], ids=lambda each: each.__name__)
@pytest.mark.parametrize("name", ["bus", "accounts", "cluster"])
async def test_a_damaged_file_is_one_sentence_with_what_to_do(tmp_path, name, damage):
    """It names the file or the database, and how to get it back."""
    if (name, damage) == ("bus", value):
        pytest.skip("the log's values have checksums: tests/bus/test_damage.py")
    place = directory.DataDirectory(tmp_path / "data")
    place.create()
    loaded = settings.Settings(data_dir=str(place.root), api=settings.Api(port=0))
    rows = roles.parse("all")
    async with wiring.open_adapters(loaded, place, clock.SystemClock(), rows) as adapters:
        for number in range(40):
            config = {"metadata": {"name": f"c-{number}"}, "data": {"v": "x" * 2000}}
            await sure(adapters.cluster).create(cluster.CONFIG_MAP, {"apiVersion": "v1", "kind": "ConfigMap", **config})
            now = clock.SystemClock().now()
            await sure(adapters.accounts).create(accounts_port.Account(id=ids.RandomIds().new(), name=f"a{number}", created=now))
    damage(getattr(place, name))
    with pytest.raises((errors.Damaged, errors.LogDiverged), match=r"(damaged|cut|lost its end).*restore a backup"):
        async with wiring.open_adapters(loaded, place, clock.SystemClock(), rows) as adapters:
            await sure(adapters.accounts).find()
