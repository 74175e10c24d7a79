"""Errors of the client, classified by what the program should do.

SdkError
├── ServerUnreachable      no answer from that address, or the connection was lost
├── ApiError               the server refused: `status`, `detail`, `url`
│   ├── BadRequest         400, 413, 422   fix the named fields
│   ├── NotAuthenticated   401        use another token
│   ├── NotAllowed         403        use a token with that grant
│   ├── Missing            404, 410   it does not exist, or no longer
│   ├── Refused            409        its status does not allow this
│   └── ServerBusy         429, 503   try again later
├── NotInstalled           a package that this needs: the message has the command that installs it
├── TransferFailed         the transferred bytes are not the promised ones
├── WorkflowFailed         the workflow failed: `entity`
└── WaitTimeout            the workflow has not ended in time: `entity`
"""

from __future__ import annotations

from typing import Any


class SdkError(Exception):
    """The base of all errors of the client."""


class ServerUnreachable(SdkError):
    """There is no answer from that address, or the connection was lost and retries did not help."""


class ApiError(SdkError):
    """The server refused. `detail`: the server's explanation as sent: a sentence, or a list of `{"loc", "msg", "type"}`."""

    advice = ""
    """What to do, if that follows from the status alone."""

    def __init__(self, status: int, detail: Any, url: str) -> None:
        """`status`: the HTTP status."""
        super().__init__(f"{status} at {url}: {_sentence(detail)}{f' ({self.advice})' if self.advice else ''}")
        self.status, self.detail, self.url = status, detail, url


class BadRequest(ApiError):
    """Some fields are wrong; each is named with the fix."""


class NotAuthenticated(ApiError):
    """The token is missing, malformed, expired or revoked."""

    advice = "make a token with 'dyff token create', and pass it as api_token or set DYFF_API_TOKEN"


class NotAllowed(ApiError):
    """The token does not grant this."""

    advice = "client.tokens.inspect(token) shows whose token it is, and what it grants"


class Missing(ApiError):
    """The requested thing does not exist, or no longer."""


class Refused(ApiError):
    """The status of the entity does not allow the request."""


class ServerBusy(ApiError):
    """The server cannot do this now, and has done nothing."""

    advice = "try again later"


class NotInstalled(SdkError, ImportError):
    """A package that this needs is not installed. The message has the command that installs it."""


class TransferFailed(SdkError):
    """The transferred bytes are not the promised ones."""


class WorkflowFailed(SdkError):
    """The workflow ended without success. `entity`: its final state."""

    def __init__(self, entity: Any) -> None:
        """The message has the status, the reason and the server's explanation."""
        why = f" ({entity.reason})" if entity.reason else ""
        message = f": {entity.message}" if entity.message else ""
        super().__init__(f"{entity.kind} {entity.id} ended as {entity.status}{why}{message}")
        self.entity = entity


class WaitTimeout(SdkError):
    """The workflow has not ended within the time limit, and continues. `entity`: its last known state."""

    def __init__(self, entity: Any, timeout_s: float, doing: str | None = None) -> None:
        """The message says what the workflow is waiting for, if the server knows. `doing`: what its run reports; None for nothing."""
        waits = f", {entity.reason}: {entity.message}" if entity.reason else ""
        retries = f"; {doing}" if doing and doing != entity.message else ""
        still = f"{entity.kind} {entity.id} is still {entity.status} after {timeout_s:g} s"
        super().__init__(f"{still}{waits}{retries}; it continues, and can be waited for again")
        self.entity = entity


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest, 401: NotAuthenticated, 403: NotAllowed, 404: Missing, 409: Refused, 410: Missing, 413: BadRequest, 422: BadRequest,
    429: ServerBusy, 503: ServerBusy,
}  # fmt: skip


def from_answer(status: int, detail: Any, url: str, trace_id: str | None = None) -> ApiError:
    """Return the error for an answer. `trace_id`: of the server's trace, which a report of a fault of the server should name."""
    if status >= 500 and trace_id and isinstance(detail, str):
        detail = f"{detail} (trace {trace_id[:64]})"
    return _BY_STATUS.get(status, ApiError)(status, detail, url)


def _sentence(detail: Any) -> str:
    if isinstance(detail, list):
        return "; ".join(
            f"{'.'.join(str(step) for step in each.get('loc', ()))}: {each.get('msg')}" for each in detail if isinstance(each, dict)
        )
    return str(detail)
