"""Limits of what an account keeps, checked before anything is added (docs/adr/0021-limits-per-account.md).

What an account uses is read from the view at most every few seconds. In between, what this process accepts is added (`dyff.api.ledger`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import structlog

from dyff.api import ledger
from dyff.api.services import Services
from dyff.entities import codecs, registry, statuses, storage
from dyff.kernel import errors
from dyff.kernel.positions import Position
from dyff.query.port import Usage

log = structlog.get_logger()

FRESH_S = 5.0
"""How old the usage that was read may be. Other processes can add for that long without being noticed."""

EXACT_S = 1.0
"""Before a refusal the usage is read again, but not more often than this."""

SETTLE_S = 2.0
"""How long that waits until the view includes what this process has published."""

REVIEW_S = 60.0
"""Interval at which uploads in progress are looked up."""

UNKNOWN_FOR = timedelta(minutes=10)
"""How long a command counts of which it is not known whether it was published."""

MAX_ACCOUNTS = 10_000
"""Accounts whose usage is kept in memory, unless more have something in progress."""


class Account:
    """One account's book; `lock` is held while its usage is read."""

    def __init__(self, name: str) -> None:
        """`name`: the account's ID, or only a name."""
        self.name, self.book, self.lock = name, ledger.Book(), anyio.Lock()


class Claimed:
    """A claim on an account's quota. It counts until the view includes what was published, or it is known that nothing was."""

    def __init__(self, book: ledger.Book, claim: ledger.Claim, now: Callable[[], float]) -> None:
        """`claim`: one of `book`. `now`: the time in seconds."""
        self._book, self._claim, self._now = book, claim, now

    def __enter__(self) -> Claimed:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Nothing counts if nothing was published."""
        if isinstance(error, errors.DyffError) and not isinstance(error, errors.OutcomeUnknown):
            self._book.cancel(self._claim)
        else:  # also if it was cancelled
            self._book.not_known(self._claim, self._now() + UNKNOWN_FOR.total_seconds())

    def published(self, position: Position) -> None:
        """The command is in the log at `position`."""
        self._book.done(self._claim, position)


class Quotas:
    """The limits of all accounts, in one process."""

    def __init__(self, services: Services) -> None:
        """Reads nothing yet."""
        self._services, self._limits, self._query = services, services.quotas, services.query
        self._now = services.clock.monotonic
        self._accounts: dict[str, Account] = {}
        self._issuing: dict[str, int] = {}
        self._is_limited = any(each is not None for each in (self._limits.entities, self._limits.document_bytes, self._limits.object_bytes))

    async def claim(self, account: str, amount: Usage, name: str | None = None) -> Claimed:
        """Count `amount` for an account, before the command that adds it is published.

        `name`: by which a repetition of the request is recognised, which counts once; None: it is not recognised.

        Raises:
            QuotaExceeded: the account would keep more than it may.
            Unavailable: it would as far as is known, and that cannot be read again.
        """
        kept = await self._fresh(account) if self._is_limited else Account(account)
        if self._is_limited and not kept.book.knows(name):
            await self._require(kept, lambda: amount)
        return Claimed(kept.book, kept.book.claim(amount, name), self._now)

    async def require_room(self, account: str) -> None:
        """Check that files of unknown sizes can be uploaded.

        Raises:
            QuotaExceeded, Unavailable: see `claim`.
        """
        if self._limits.object_bytes is not None:
            await self._require(await self._fresh(account), lambda: Usage(object_bytes=1))

    async def upload(self, entity: codecs.Json, files: Mapping[str, int]) -> None:
        """Count files of an upload: sizes in bytes by path. A file that is uploaded again replaces the earlier one.

        Raises:
            QuotaExceeded, Unavailable: see `claim`.
        """
        row = registry.BY_KIND[entity["kind"]]
        if self._limits.object_bytes is None or (row.upload is not None and row.upload.size_bytes is not None):
            return  # declared sizes count from the creation on
        entity_id, counted = entity["id"], storage.object_bytes(entity)
        kept = await self._fresh(entity["account"])
        await self._require(kept, lambda: Usage(object_bytes=kept.book.growth(entity_id, files, counted)))
        kept.book.upload(row.plural, entity_id, files, counted)

    def uploaded(self, entity: codecs.Json, path: str, size: int) -> None:
        """Correct what counts for a file, when it is known how much of it was stored."""
        kept = self._accounts.get(entity["account"])
        if kept is not None and entity["id"] in kept.book.uploads:
            kept.book.upload(registry.BY_KIND[entity["kind"]].plural, entity["id"], {path: size}, storage.object_bytes(entity))

    @asynccontextmanager
    async def token(self, account: str) -> AsyncIterator[None]:
        """In the context a token can be made.

        Raises:
            QuotaExceeded: the account has as many as it may.
        """
        self._issuing[account] = before = self._issuing.get(account, 0) + 1
        try:
            used = len(await self._services.accounts.keys(account)) + before - 1
            if self._limits.tokens is not None and used >= self._limits.tokens:
                explanation = f"This is how many tokens the account {account} has. Revoke those that are not needed, also expired ones"
                advice = f"{explanation}, or ask an administrator to raise quotas.tokens."
                raise errors.QuotaExceeded(used, self._limits.tokens, advice).of_limit("quotas.tokens")
            yield
        finally:
            self._issuing[account] -= 1
            if not self._issuing[account]:
                del self._issuing[account]

    async def used(self, account: str) -> Usage:
        """What the account keeps, at most a second old.

        Raises:
            Unavailable: the view cannot be read.
        """
        kept = self._account(account)
        async with kept.lock:
            if self._now() - kept.book.read_at >= EXACT_S:
                await self._read(kept)
        return kept.book.used

    def _account(self, name: str) -> Account:
        kept = self._accounts.get(name)
        if kept is None:
            if len(self._accounts) >= MAX_ACCOUNTS:
                self._accounts = {each: known for each, known in self._accounts.items() if not known.book.is_idle or known.lock.locked()}
            kept = self._accounts[name] = Account(name)
        return kept

    async def _fresh(self, name: str) -> Account:
        """The account with a usage that is not too old. While one request reads it again, others use the old one."""
        kept = self._account(name)
        book = kept.book
        if self._now() - book.read_at < FRESH_S or (book.is_read and kept.lock.locked()):
            return kept
        try:
            async with kept.lock:
                if self._now() - book.read_at >= FRESH_S:
                    await self._read(kept)
        except errors.RetryLater as error:
            # What can be written without the view is still written; the limits hold again when it is back.
            log.warning("usage-not-read", account=name, **errors.details(error))
        return kept

    async def _require(self, kept: Account, more: Callable[[], Usage]) -> None:
        if ledger.exceeded(kept.name, kept.book.used, more(), self._limits) is None:
            return
        await self._settle(kept)
        refusal = ledger.exceeded(kept.name, kept.book.used, more(), self._limits)
        if refusal is not None:
            raise refusal

    async def _settle(self, kept: Account) -> None:
        """Read the usage again, with all that this process has published."""
        if self._now() - kept.book.exact_at < EXACT_S:
            return
        async with kept.lock:
            if self._now() - kept.book.exact_at < EXACT_S:
                return
            await self._query.wait(kept.book.ends(), SETTLE_S)
            await self._review(kept.book)
            await self._read(kept)
            kept.book.exact_at = kept.book.read_at

    async def _read(self, kept: Account) -> None:
        book, began = kept.book, self._now()
        if began - book.reviewed_at >= REVIEW_S:
            await self._review(book)
        book.begin_read()
        events = (await self._query.reached()).events  # before the usage, which then has all of that
        book.take(await self._query.usage(kept.name), events, began)

    async def _review(self, book: ledger.Book) -> None:
        """Look up the uploads in progress: how much of each the view has by now."""
        book.reviewed_at = self._now()
        for entity_id, upload in list(book.uploads.items()):
            document = await self._query.get(upload.plural, entity_id)
            entity = None if document is None else codecs.decode_object(document)
            is_over = entity is None or storage.is_recorded(entity) or entity["status"] == statuses.DELETED
            book.recount(entity_id, None if entity is None or is_over else storage.object_bytes(entity))
