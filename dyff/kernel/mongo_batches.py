"""Many replacements in one call, of which the database can reject some. What it says about one document concerns that document alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import bson.errors
import msgspec
import pymongo
from pymongo import errors as vendor

from dyff.kernel import mongo_codes, mongo_errors
from dyff.kernel.concerns import UNKNOWN, Concern, Row

_UNSENT = (bson.errors.BSONError, OverflowError)
"""The driver cannot encode a document; `DocumentTooLarge` is one of these."""
_REASON_CHARS = 300


class Replaced(msgspec.Struct, frozen=True):
    """How replacements ended, by their indexes; all others were done.

    `newer`: the filter matched nothing although the document exists. `rejected`: the database cannot store this document; and why.
    """

    newer: frozenset[int] = frozenset()
    rejected: dict[int, str] = {}


async def replace(collection: Any, requests: Sequence[pymongo.ReplaceOne[Any]]) -> Replaced:
    """Send `requests` to the driver's `collection`. An answer that does not say which document it is about leads to one call for each.

    Raises:
        The driver's errors that do not concern single documents.
    """
    try:
        await collection.bulk_write(list(requests), ordered=False)
    except vendor.BulkWriteError as error:
        return _read(error)
    except (*_UNSENT, vendor.OperationFailure) as error:
        row = mongo_errors.row_of(error)
        if not _is_of_a_document(row):
            raise
        if len(requests) == 1:
            return Replaced(rejected={0: f"{row.advice} ({_shown(error)})"})
    else:
        return Replaced()
    singly = [await replace(collection, [request]) for request in requests]
    newer = frozenset(number for number, each in enumerate(singly) if each.newer)
    return Replaced(newer, {number: each.rejected[0] for number, each in enumerate(singly) if each.rejected})


def _read(error: vendor.BulkWriteError) -> Replaced:
    """How the single replacements ended.

    Raises:
        BulkWriteError: some failed for a reason that does not concern them alone.
    """
    failed = [(each.get("index"), each.get("code"), each) for each in error.details.get("writeErrors") or ()]
    rows = {index: mongo_codes.CODES.get(code, UNKNOWN) for index, code, _ in failed}
    newer = frozenset(index for index, code, _ in failed if code == mongo_codes.DUPLICATE)
    others = [(index, each) for index, code, each in failed if code != mongo_codes.DUPLICATE]
    if error.details.get("writeConcernErrors") or not failed or not all(_is_of_one(rows[index]) for index, _ in others):
        raise error
    why = {index: f"{rows[index].advice} [{each.get('code')}] ({str(each.get('errmsg'))[:_REASON_CHARS]})" for index, each in others}
    return Replaced(newer, why)


def _is_of_a_document(row: Row) -> bool:
    return row.concern in (Concern.OBJECT, Concern.REQUEST)


def _is_of_one(row: Row) -> bool:
    """Whether the answer to one write of many concerns its document: also a code that is not known, since all other writes were done."""
    return row is UNKNOWN or _is_of_a_document(row)


def _shown(error: Exception) -> str:
    code = f"[{error.code}] " if isinstance(error, vendor.OperationFailure) and error.code is not None else ""
    return f"{code}{type(error).__name__}: {str(error)[:_REASON_CHARS]}"
