"""Errors as answers: the one table from error classes to HTTP statuses, and the published form of the body."""

from __future__ import annotations

import math

import structlog

from dyff.api.calls import Reply, json
from dyff.kernel import errors, ids

log = structlog.get_logger()

_BLOCKED = "not possible now: the server lacks a permission or a part of its cluster; its log and /ready say which"

STATUS: dict[type[BaseException], int] = {
    errors.RetryLater: 503,
    errors.OutcomeUnknown: 500,
    errors.BadGateway: 502,
    errors.FixRequest: 400,
    errors.InvalidFields: 422,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.QuotaExceeded: 403,
    errors.NotFound: 404,
    errors.Gone: 410,
    errors.TooLarge: 413,
    errors.Conflict: 409,
    errors.Damaged: 500,
}
"""HTTP statuses by class. An error gets the status of its nearest base class here; any other is a 500 without details."""


def status_of(error: BaseException) -> int:
    """Return the HTTP status for `error`."""
    return next((STATUS[base] for base in type(error).__mro__ if base in STATUS), 500)


def reply(error: Exception, names: ids.Ids) -> Reply:
    """Return the answer for `error`: `{"detail": sentence}`, or for wrong fields `{"detail": [{loc, msg, type}]}`.

    An unexpected error is logged under a number, and the caller gets that number instead of the reason. What is damaged is named.
    """
    status = status_of(error)
    if isinstance(error, errors.InvalidFields):
        return json({"detail": [{"loc": each.loc, "msg": each.msg, "type": each.type} for each in error.problems]}, status=status)
    if not isinstance(error, errors.DyffError) or (isinstance(error, errors.Fatal) and not isinstance(error, errors.Damaged)):
        number = names.new()[:12]
        log.error("request-failed", number=number, **errors.details(error), exc_info=error)
        return json({"detail": f"something went wrong here; the server's log has it under {number}"}, status=500)
    if isinstance(error, errors.Blocked):  # the message names accounts and permissions of the cluster
        log.warning("request-not-served", **errors.details(error))
        return json({"detail": _BLOCKED}, status=status, headers=_headers(error, status))
    if status >= 500:
        log.warning("request-not-served", **errors.details(error))
    return json({"detail": error.message}, status=status, headers=_headers(error, status))


def _headers(error: errors.DyffError, status: int) -> list[tuple[str, str]]:
    if isinstance(error, errors.RetryLater):
        return [("retry-after", str(max(1, math.ceil(error.retry_after_s))))]
    is_about_the_token = status in (401, 403) and not isinstance(error, errors.QuotaExceeded)
    return [("www-authenticate", "Bearer")] if is_about_the_token else []
