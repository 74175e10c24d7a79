"""The relay: copies changes of accounts, which are made outside the log, into the log, so that audits include them.

The accounts database writes each change to its outbox in the same transaction. The relay publishes it to a topic of its
own, and removes it from the outbox only when it is durable there. A crash in between repeats it with the same ID
(`dyff-id`), and the first occurrences are in the order of the changes, even with several relays.
"""

from __future__ import annotations

import anyio
import anyio.abc
import structlog

from dyff.accounts import port as accounts_port
from dyff.bus import port, topics
from dyff.consumers.common import reconciling
from dyff.kernel import errors, liveness
from dyff.kernel.telemetry import metrics, names, timing

log = structlog.get_logger()

BATCH = 200
WAIT_S = 60.0


async def run(
    bus: port.Bus,
    accounts: accounts_port.Accounts,
    *,
    signs: liveness.Signs | None = None,
    measured: metrics.Metrics | None = None,
    task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
) -> None:
    """Relay until cancelled; ready when the outbox has been read once. `measured`: of this process.

    Raises:
        Unavailable, NotFound: at the start, if accounts or bus do not answer, or the topic is missing.
        Damaged: at the start, if the log knows of accounts and the database has none.
    """

    async def outbox() -> list[liveness.Sign]:
        oldest = [each.sequence for each in await accounts.outbox(1)]
        return [liveness.Sign("outbox", "it has changes" if oldest else None, tuple(oldest))]

    (signs or liveness.Signs()).add(outbox)
    await bus.topic(topics.ACCOUNTS)
    await accounts.outbox(1)
    if not await accounts.find(limit=1) and await _has_accounts(bus):
        raise errors.Damaged(
            "the accounts database has no account, but the log reports changes of some: restore a backup of the accounts"
            " (accounts.sqlite), or begin again with `dyff account create`"
        )
    task_status.started()

    publications, relayed = timing.Publications(known := measured or metrics.Metrics(), "accounts-relay"), known.counter(names.RELAYED)

    async def reconcile() -> float:
        relayed.add(by=await relay(bus, accounts, publications))
        return 0.0

    await reconciling.reconcile_forever(
        reconcile,
        accounts.wait_outbox,
        resync_s=WAIT_S,
        retried=(errors.RetryLater, errors.OutcomeUnknown),
        event="relay-failed",
    )


async def _has_accounts(bus: port.Bus) -> bool:
    """Whether the log has a change of an account. Changes of all accounts together have an empty key."""
    held = (await bus.ranges(topics.ACCOUNTS))[0]
    async with bus.read(topics.ACCOUNTS, 0, held.first) as reader:
        while reader.position < held.end:
            if any(each.key for each in await reader.poll(BATCH, 1.0)):
                return True
    return False


async def relay(bus: port.Bus, accounts: accounts_port.Accounts, publications: timing.Publications | None = None) -> int:
    """Publish the oldest changes to the log; returns their number. `publications`: times it; None if nothing does.

    Raises:
        Unavailable, OutcomeUnknown: some may have been published; all stay in the outbox and keep their IDs.
    """
    changes = await accounts.outbox(BATCH)
    if changes:
        publication = bus.publish(topics.ACCOUNTS, [message(each) for each in changes])
        await (publications.timed(publication) if publications is not None else publication)
        await accounts.acknowledge(changes[-1].sequence)
        log.info("accounts-relayed", changes=len(changes), sequence=changes[-1].sequence)
    return len(changes)


def message(change: accounts_port.Change) -> port.Message:
    """The record of a change in the log."""
    headers = (("dyff-id", change.id.encode()), ("dyff-sequence", str(change.sequence).encode()))
    return port.Message(change.account.encode(), change.body, headers)
