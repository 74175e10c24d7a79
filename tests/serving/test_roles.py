"""How roles are put together."""

from __future__ import annotations

from datetime import UTC, datetime

from dyff.accounts import embedded, port
from dyff.serve import roles


async def test_the_orchestrator_learns_of_a_suspension_from_the_accounts(tmp_path):
    """As it is now, each time it asks; an owner that is only a name is never suspended."""
    async with embedded.EmbeddedAccounts.open(tmp_path / "accounts") as database:
        account = port.Account(id="a" * 32, name="lab", created=datetime.now(UTC))
        await database.create(account)
        suspended = roles._suspended(database)
        told = []
        for status in (port.ACTIVE, port.SUSPENDED, port.ACTIVE):
            await database.set_status(account.id, status, None)
            told.append(await suspended(account.id))
        assert told == [False, True, False]
        assert not await suspended("lab")
