"""What an answer of the service means for its item. Pure, apart from counting nothing: the run counts (`inference`)."""

from __future__ import annotations

import msgspec

from dyff.adapters import answers
from dyff.workflows import exchanges, failures

_BAD_REQUEST = frozenset({400, 406, 411, 414, 415, 416, 417, 422, 431})
"""The service accepts calls in general, but refuses the form of this one, which is that of all."""
_OF_ITEM = frozenset({413, 418, 451})
"""The service refuses this item for what it is: it is too large, or must not be answered."""
_OF_MOMENT = frozenset({409, 410, 424})
"""The service refuses this item because of something else, which may have changed at the next try."""
TOO_MANY_REQUESTS = 429
_FORBIDDEN = 403
_NOT_IMPLEMENTED = 501
_TRANSIENT = frozenset({408, 421, 423, 425, TOO_MANY_REQUESTS})


class Good(msgspec.Struct, frozen=True):
    """The answer can be used."""

    reading: answers.Reading


class Bad(msgspec.Struct, frozen=True):
    """The answer, or the lack of one, cannot be used.

    `error`: one of `failures`, if the item has no responses for this reason. `reason`: for people. `status`: that of the answer; None
    if there was none. `received`: the beginning of the answer; None if there was none. `asks`: the header Retry-After. `of_item`: whether
    the service served the endpoint, and refused the item. `is_final`: whether another try would have the same answer.
    """

    error: str
    reason: str
    status: int | None = None
    received: str | None = None
    asks: str | None = None
    of_item: bool = False
    is_final: bool = False

    def failure(self) -> failures.Failure:
        """Return the failure to record for the item."""
        return failures.Failure(self.error, self.reason, self.status, self.received)

    def cut_short(self) -> failures.Failure:
        """Return the failure to record if the run ended before the next try."""
        return failures.Failure(self.error, f"the run ended before the next try; the last: {self.reason}", self.status, self.received)


def no_answer(reason: str) -> Bad:
    """The verdict if nothing was received."""
    return Bad(failures.TRANSIENT_ERRORS, reason)


def broken(error: exchanges.Broken) -> Bad:
    """The verdict on an exchange without a complete answer. One that had begun is an answer that cannot be read."""
    return Bad(failures.UNFIT_ANSWER if error.heard else failures.TRANSIENT_ERRORS, str(error))


def of(answer: exchanges.Answer, outputs: answers.Outputs, check: answers.Check) -> Good | Bad:
    """The verdict on a complete answer. `outputs`: the pipeline from an answer to its responses. `check`: of the responses."""
    status = answer.status
    if 200 <= status < 300:
        try:
            return Good(answers.read(answer.body, answer.encoding, answer.header(b"content-type"), outputs, check))
        except answers.Unfit as error:
            received = answers.excerpt(answer.body)
            return Bad(failures.UNFIT_ANSWER, f"status {status}, but the answer {error}", status, received)
    text = answers.excerpt(answer.body)
    said = f"status {status}: {text}"
    asks = answer.header(b"retry-after")
    if status >= 500 or status in _TRANSIENT:
        return Bad(failures.TRANSIENT_ERRORS, said, status, text, asks)
    if status in _BAD_REQUEST:
        return Bad(failures.BAD_REQUEST, text, status, of_item=True, is_final=True)
    if status in _OF_ITEM or status in _OF_MOMENT:
        return Bad(failures.REFUSED, said, status, text, of_item=True, is_final=status in _OF_ITEM)
    if status < 400:
        place = answer.header(b"location")
        said = f"status {status}, a redirect to {place!r}, which is not followed" if place else said
    # Some services limit rates with 403.
    return Bad(failures.REFUSED, said, status, text, asks if status == _FORBIDDEN else None)


def is_there(status: int) -> bool:
    """Whether an answer to a probe of readiness comes from a service that can be called: it is ready, or has no such route."""
    return (200 <= status < 500 and status not in _TRANSIENT) or status == _NOT_IMPLEMENTED
