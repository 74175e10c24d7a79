"""What only the embedded accounts database promises."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime

import apsw
import pytest

from dyff.accounts import embedded, port
from dyff.kernel import errors

PROGRAM = """
import sys, anyio
from datetime import UTC, datetime
from dyff.accounts import embedded, port
async def main():
    async with embedded.EmbeddedAccounts.open(sys.argv[1]) as accounts:
        await accounts.create(port.Account(id=sys.argv[2] * 32, name=sys.argv[2], created=datetime.now(UTC)))
        print((await accounts.signing_secret()).decode())
anyio.run(main)
"""


async def test_the_file_is_for_its_owner_only(tmp_path):
    """It holds the signing secret: mode 0600, also of the files next to it, and also if it was wider."""
    path = tmp_path / "accounts.sqlite"
    path.touch(mode=0o644)
    async with embedded.EmbeddedAccounts.open(path) as accounts:
        await accounts.signing_secret()
        assert {file.name: oct(file.stat().st_mode & 0o777) for file in tmp_path.iterdir()} == dict.fromkeys(
            ("accounts.sqlite", "accounts.sqlite-wal", "accounts.sqlite-shm"), "0o600"
        )


async def test_processes_that_open_a_new_file_at_once(tmp_path):
    """All of them get in, agree on the signing secret, and a server that has the file open sees what they did."""
    path = str(tmp_path / "accounts.sqlite")
    processes = [subprocess.Popen([sys.executable, "-c", PROGRAM, path, letter], stdout=subprocess.PIPE) for letter in "abc"]
    async with embedded.EmbeddedAccounts.open(path) as accounts:
        printed = {(await asyncio.to_thread(process.communicate, timeout=60))[0] for process in processes}
        assert [process.returncode for process in processes] == [0, 0, 0]
        assert printed == {await accounts.signing_secret() + b"\n"}
        assert sorted(account.name for account in await accounts.find()) == ["a", "b", "c"]


async def test_a_newer_file_is_refused(tmp_path):
    """The accounts are the truth: nothing is remade, an upgrade is asked for."""
    path = tmp_path / "accounts.sqlite"
    async with embedded.EmbeddedAccounts.open(path):
        pass
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 99)
    connection.close()
    with pytest.raises(errors.NewerSchema, match="upgrade"):
        async with embedded.EmbeddedAccounts.open(path):
            pass


async def test_a_damaged_file_is_an_error_and_stays(tmp_path):
    """Unlike the view, it is never deleted."""
    path = tmp_path / "accounts.sqlite"
    path.write_bytes(b"not a database " * 1000)
    with pytest.raises(errors.Fatal, match="damaged"):
        async with embedded.EmbeddedAccounts.open(path):
            pass
    assert path.read_bytes() == b"not a database " * 1000


async def test_a_place_that_cannot_be_written_is_named(tmp_path):
    """The error says which file."""
    with pytest.raises(errors.Unavailable, match=r"none/accounts\.sqlite"):
        async with embedded.EmbeddedAccounts.open(tmp_path / "none" / "accounts.sqlite"):
            pass


async def test_a_revision_is_remembered_for_one_turn_of_the_event_loop_only(tmp_path):
    """What another process did is seen in the next turn; what this one did, at once."""
    path = str(tmp_path / "accounts.sqlite")
    async with embedded.EmbeddedAccounts.open(path) as here, embedded.EmbeddedAccounts.open(path) as there:
        await here.create(port.Account(id="a" * 32, name="a", created=datetime.now(UTC)))
        first = await here.revision("a" * 32)
        await there.set_status("a" * 32, port.SUSPENDED, "SuspendCommand")
        await asyncio.sleep(0)
        second = await here.revision("a" * 32)
        await here.set_status("a" * 32, port.ACTIVE, "ReactivateCommand")
        assert (first, second, await here.revision("a" * 32)) == (0, 1, 2)
