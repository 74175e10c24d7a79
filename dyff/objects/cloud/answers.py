"""Translates the vendor's errors into ours; they do not leave this package.

A call that only reads, or that can be retried, has simply failed. One that changes something may have taken effect even though
the response was lost, unless no connection was made, or the store responded that it refuses or is too busy.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from obstore import exceptions as vendor

from dyff.kernel import errors
from dyff.objects.cloud.connecting import first_line

_REFUSED = (vendor.PermissionDeniedError, vendor.UnauthenticatedError, vendor.NotSupportedError, vendor.UnknownConfigurationKeyError)
_NOTHING_DONE = re.compile("kind: Connect|non-2xx status code: (4[0-9][0-9]|503)")


@contextmanager
def reading(what: str) -> Iterator[None]:
    """For a call that changes nothing. `what`: the operation, for messages.

    Raises:
        NotFound: the object does not exist.
        Misconfigured: the store denies access.
        Unavailable: any other error.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise errors.NotFound(f"{what}: there is no such object") from error
    except _REFUSED as error:
        raise _misconfigured(what, error) from error
    except (vendor.BaseError, OSError) as error:
        raise errors.Unavailable(f"{what}: {first_line(error)}") from error


@contextmanager
def writing(what: str) -> Iterator[None]:
    """For a call that changes something.

    Raises:
        AlreadyExists: the store says that the key is taken.
        Misconfigured: the store denies access, or the bucket does not exist.
        Unavailable: nothing was done.
        OutcomeUnknown: it may have been done.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise errors.Misconfigured(f"{what}: the store has no such bucket ({first_line(error)})") from error
    except (vendor.AlreadyExistsError, vendor.PreconditionError) as error:
        raise errors.AlreadyExists(f"{what}: there is already such an object") from error
    except _REFUSED as error:
        raise _misconfigured(what, error) from error
    except vendor.BaseError as error:
        if _NOTHING_DONE.search(str(error)):
            raise errors.Unavailable(f"{what}: {first_line(error)}") from error
        raise errors.OutcomeUnknown(f"{what}: {first_line(error)}") from error


def _misconfigured(what: str, error: Exception) -> errors.Misconfigured:
    return errors.Misconfigured(f"{what}: the store refuses it; check its credentials and settings ({first_line(error)})")
