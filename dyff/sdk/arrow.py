"""pyarrow, which is nine tenths of an installation's size, is an extra of `dyff-sdk`: only datasets and schemas need it."""

from __future__ import annotations

import importlib.util

from dyff.sdk import errors

COMMAND = 'pip install "dyff-sdk[arrow]"'
"""Installs it, in any shell, also those of Windows."""


def require(what: str) -> None:
    """Refuse what needs pyarrow where it is not installed. `what`: the subject of the sentence.

    Raises:
        NotInstalled: the message has the command that installs it.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise errors.NotInstalled(f"{what} needs pyarrow, which is not installed; install it: {COMMAND}")
