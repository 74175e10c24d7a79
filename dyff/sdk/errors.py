"""What goes wrong between a program and a Dyff server, by what the program should do.

SdkError
├── ServerUnreachable      nothing answers at that address, or the connection broke
├── ApiError               the server said no: `status`, `detail`, `url`
│   ├── BadRequest         400, 422   mend the named fields
│   ├── NotAuthenticated   401        another token
│   ├── NotAllowed         403        a token with that grant
│   ├── Missing            404        no such thing
│   ├── Refused            409        its status forbids it
│   └── ServerBusy         429, 503   again later
├── TransferFailed         bytes arrived that are not the promised ones
├── WorkflowFailed         what was waited for ended otherwise: `entity`
└── WaitTimeout            it has not ended yet: `entity`
"""

from __future__ import annotations

from typing import Any


class SdkError(Exception):
    """Something went wrong between this program and the server."""


class ServerUnreachable(SdkError):
    """Nothing answers at that address, or the connection broke and repeating did not help."""


class ApiError(SdkError):
    """The server refused. `detail`: its words, as sent: a sentence, or a list of `{"loc", "msg", "type"}`."""

    advice = ""
    """What to do, where the status alone says it."""

    def __init__(self, status: int, detail: Any, url: str) -> None:
        """`status`: the HTTP status."""
        super().__init__(f"{status} at {url}: {_sentence(detail)}{f' ({self.advice})' if self.advice else ''}")
        self.status, self.detail, self.url = status, detail, url


class BadRequest(ApiError):
    """Some fields are wrong; each is named with what to do."""


class NotAuthenticated(ApiError):
    """The token is missing, malformed, expired or revoked."""

    advice = "make a token with 'dyff token create', and pass it as api_token or set DYFF_API_TOKEN"


class NotAllowed(ApiError):
    """The token does not grant this."""

    advice = "use a token that grants it: client.tokens.inspect(token) shows whose it is"


class Missing(ApiError):
    """There is no such thing."""


class Refused(ApiError):
    """The thing's status forbids it."""


class ServerBusy(ApiError):
    """Not now: nothing was done."""

    advice = "try again later"


class TransferFailed(SdkError):
    """The bytes are not the promised ones."""


class WorkflowFailed(SdkError):
    """The workflow ended, but not as hoped. `entity`: how it ended."""

    def __init__(self, entity: Any) -> None:
        """The message carries status, reason and the server's explanation."""
        why = f" ({entity.reason})" if entity.reason else ""
        message = f": {entity.message}" if entity.message else ""
        super().__init__(f"{entity.kind} {entity.id} ended as {entity.status}{why}{message}")
        self.entity = entity


class WaitTimeout(SdkError):
    """The time is over and the workflow goes on. `entity`: as it is."""

    def __init__(self, entity: Any, timeout_s: float) -> None:
        """The message says what the workflow waits for, where the server knows."""
        waits = f", {entity.reason}: {entity.message}" if entity.reason else ""
        super().__init__(
            f"{entity.kind} {entity.id} is still {entity.status} after {timeout_s:g} s{waits}; it goes on, and can be waited for again"
        )
        self.entity = entity


_BY_STATUS: dict[int, type[ApiError]] = {
    400: BadRequest, 401: NotAuthenticated, 403: NotAllowed, 404: Missing, 409: Refused, 413: BadRequest, 422: BadRequest,
    429: ServerBusy, 503: ServerBusy,
}  # fmt: skip


def from_answer(status: int, detail: Any, url: str) -> ApiError:
    """The error of an answer."""
    return _BY_STATUS.get(status, ApiError)(status, detail, url)


def _sentence(detail: Any) -> str:
    if isinstance(detail, list):
        return "; ".join(
            f"{'.'.join(str(step) for step in each.get('loc', ()))}: {each.get('msg')}" for each in detail if isinstance(each, dict)
        )
    return str(detail)
