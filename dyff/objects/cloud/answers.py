"""Translates the vendor's errors into ours; they do not leave this package. What each answer means is in `codes`.

A call that only reads, or that can be retried, has simply failed. One that changes something may have taken effect even though
the response was lost, unless no connection was made, or the store responded that it refuses or is too busy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions as vendor

from dyff.kernel import errors
from dyff.kernel.concerns import Concern, Row
from dyff.objects.cloud import codes
from dyff.objects.cloud.connecting import first_line

_UNCONNECTED = re.compile("kind: Connect")
_WORDS = re.compile(r"<Message>([^<]{1,200})")
_TIME = re.compile(r" in [0-9.]+(ns|µs|ms|s)\b")
_TAKEN = (vendor.AlreadyExistsError, vendor.PreconditionError)
_LIBRARY = (vendor.NotSupportedError, vendor.UnknownConfigurationKeyError)
_NO_FEATURE = Row(Concern.OPERATOR, "the settings of the store ask for something that does not exist")
_TOO_LARGE = ("EntityTooLarge", "MaxMessageLengthExceeded", "RequestBodyTooLarge")


@contextmanager
def reading(what: str) -> Iterator[None]:
    """For a call that changes nothing, or that can be repeated. `what`: the operation, for messages.

    Raises:
        NotFound: the object does not exist.
        FixRequest: the request can never succeed.
        Blocked: the store refuses it, until someone changes something.
        Unavailable: any other error.
    """
    try:
        yield
    except (vendor.BaseError, OSError) as error:
        raise _read(what, error) from error


@contextmanager
def writing(what: str) -> Iterator[None]:
    """For a call that changes something.

    Raises:
        AlreadyExists: the store says that the key is taken.
        FixRequest, TooLarge: the request can never succeed.
        Blocked: the store refuses it, or has no such bucket, until someone changes something; nothing was done.
        Unavailable: nothing was done.
        OutcomeUnknown: it may have been done.
    """
    try:
        yield
    except FileNotFoundError as error:  # to write, no object is needed
        raise errors.Blocked(f"{what}: {codes.BY_CODE['NoSuchBucket'].advice}") from error
    except (vendor.BaseError, OSError) as error:
        answer = codes.read(str(error))
        if isinstance(error, _TAKEN) and answer.row.concern is not Concern.LATER:
            raise errors.AlreadyExists(f"{what}: there is already such an object") from error
        if not answer.refused and not _UNCONNECTED.search(str(error)) and not isinstance(error, _LIBRARY):
            raise errors.OutcomeUnknown(f"{what}: {_sentence(error, answer)}") from error
        raise _read(what, error) from error


@contextmanager
def opening() -> Iterator[None]:
    """For the first calls: what an operator must change is answered at once, since the settings have never worked.

    Raises:
        Misconfigured: instead of `Blocked` and `FixRequest`.
    """
    try:
        yield
    except (errors.Blocked, errors.FixRequest) as error:
        raise errors.Misconfigured(error.message) from error


def has_a_reason_to_ask_for(error: errors.DyffError) -> bool:
    """Whether the store answered with a status and no more, as it must to HEAD, and more would say something else."""
    answer = codes.read(str(error.__cause__))
    return answer.status is not None and answer.status < 500 and answer.code is None


def _read(what: str, error: Exception) -> errors.DyffError:
    answer = codes.read(str(error))
    row = _NO_FEATURE if isinstance(error, _LIBRARY) else answer.row
    text = f"{what}: {_sentence(error, answer)}"
    if isinstance(error, FileNotFoundError) and row.concern is not Concern.OPERATOR:
        return errors.NotFound(f"{what}: there is no such object")
    if row.concern is Concern.REQUEST:
        return errors.TooLarge(text) if answer.code in _TOO_LARGE or answer.status == 413 else errors.FixRequest(text)
    if row.concern in (Concern.OPERATOR, Concern.OBJECT):
        return errors.Blocked(text)
    return errors.Unavailable(text)


def _sentence(error: Exception, answer: codes.Answer) -> str:
    """What the answer means, its code, and the store's own words. Without an answer: the vendor's, without times, which differ each time.

    Owners of entities read it, so an answer is shown without our endpoint.
    """
    row = _NO_FEATURE if isinstance(error, _LIBRARY) else answer.row
    if not answer.shown:
        return f"{row.advice}; {_TIME.sub('', first_line(error))}"
    words = _WORDS.search(str(error))
    return f"{row.advice} [{answer.shown}]" + (f" {words[1]}" if words else "")
