"""Translates the errors of MongoDB's drivers into ours. What the server's codes mean is in `mongo_codes`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bson.errors
from pymongo import errors as vendor

from dyff.kernel import errors, mongo_codes
from dyff.kernel.concerns import UNKNOWN, Concern, Row

_NO_NAME = Row(Concern.LATER, "the name of the servers cannot be looked up in DNS (mongodb+srv): check it if this lasts")
_SETTINGS = Row(Concern.OPERATOR, "the connection to MongoDB cannot be made: check the settings")
_ENCODING = Row(Concern.REQUEST, "a value cannot be stored in MongoDB")
_NO_ANSWER = Row(Concern.LATER, "MongoDB does not answer as it should")
_FILE = Row(Concern.OPERATOR, "a file that the connection needs cannot be used")

DRIVER: dict[type[Exception], Row] = {
    vendor.ConfigurationError: _SETTINGS,
    vendor.InvalidName: _SETTINGS,
    vendor.EncryptionError: _SETTINGS,
    vendor.DocumentTooLarge: mongo_codes.CODES[10334],
    bson.errors.BSONError: _ENCODING,
    OverflowError: _ENCODING,
    vendor.OperationFailure: UNKNOWN,
    vendor.PyMongoError: _NO_ANSWER,
    OSError: _FILE,
}
"""Rows by the driver's exception, for those without a code of the server. The nearest base class counts."""

_OURS = (vendor.PyMongoError, bson.errors.BSONError, OverflowError, OSError)


@contextmanager
def translated(name: str, *, changing: bool = False) -> Iterator[None]:
    """Translate the driver's errors into ours. `name`: of the database. `changing`: a write, whose outcome can be unknown.

    Raises:
        TooLarge: what is to be stored is too large; nothing was done.
        FixRequest: it is not `changing`, and can never succeed.
        Blocked: not before an operator has changed something; nothing was done.
        Unavailable: nothing was done.
        OutcomeUnknown: something may have been changed.
    """
    try:
        yield
    except _OURS as error:
        raise _ours(name, error, changing=changing) from error


@contextmanager
def opening() -> Iterator[None]:
    """For the first calls: what an operator must change is answered at once, since the settings have never worked.

    Raises:
        Misconfigured: instead of `Blocked`.
    """
    try:
        yield
    except errors.Blocked as error:
        raise errors.Misconfigured(error.message) from error


def row_of(error: Exception) -> Row:
    """What an error concerns. Of several writes: the gravest, in the order of the table of `Concern`."""
    if isinstance(error, vendor.ConfigurationError) and _is_of_dns(error):
        return _NO_NAME
    known = [mongo_codes.CODES.get(code, UNKNOWN) for code in sorted(_codes(error))]
    if known:
        order = list(Concern)
        return min(known, key=lambda each: order.index(each.concern))
    return next(DRIVER[base] for base in type(error).__mro__ if base in DRIVER)


def _ours(name: str, error: Exception, *, changing: bool) -> errors.DyffError:
    row, codes = row_of(error), _codes(error)
    shown = f" [{', '.join(map(str, sorted(codes)))}]" if codes else ""
    text = f"{name}: {row.advice}{shown} ({type(error).__name__}: {str(error)[:300]})"
    if row == mongo_codes.CODES[10334]:
        return errors.TooLarge(text)
    if changing and not _did_nothing(error, row):
        return errors.OutcomeUnknown(text)
    if row.concern is Concern.REQUEST and not changing:  # a document that cannot be stored is no fault of a role
        return errors.FixRequest(text)
    return errors.Unavailable(text) if row.concern is Concern.LATER else errors.Blocked(text)


def _codes(error: Exception) -> set[int]:
    """The server's error codes."""
    if isinstance(error, vendor.BulkWriteError):
        given = (each for name in ("writeErrors", "writeConcernErrors") for each in error.details.get(name) or ())
        return {code for each in given if isinstance(code := each.get("code"), int)}
    return {error.code} if isinstance(error, vendor.OperationFailure) and error.code is not None else set()


def _is_of_dns(error: Exception) -> bool:
    """Whether the driver could not resolve the name of a `mongodb+srv` URI; it reports that like a wrong setting."""
    cause = error.__cause__ or error.__context__
    return cause is not None and type(cause).__module__.partition(".")[0] == "dns"


def _did_nothing(error: Exception, row: Row) -> bool:
    """Whether no server received the call, or all of it was refused. If a retry finds no server, the drivers raise the first error."""
    if not isinstance(error, vendor.PyMongoError):
        return True
    if isinstance(error, vendor.WriteConcernError | vendor.BulkWriteError):  # the write, or others of the batch, may have been done
        return False
    unasked = isinstance(error, vendor.ServerSelectionTimeoutError | vendor.WaitQueueTimeoutError | vendor.ConfigurationError)
    return unasked or row.concern is not Concern.LATER or error.has_error_label("NoWritesPerformed")
