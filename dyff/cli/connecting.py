"""The client of a command."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dyff.cli import reporting

if TYPE_CHECKING:
    from dyff.sdk import Client


@contextmanager
def connected() -> Iterator[Client]:
    """The client of this process; its errors end the command."""
    from dyff.sdk import Client

    with reporting.translated():
        if not os.environ.get("DYFF_API_TOKEN"):
            reporting.stop("there is no token: set DYFF_API_TOKEN to what 'dyff token create' printed on the server", reporting.NOT_ALLOWED)
        with Client() as client:
            yield client
