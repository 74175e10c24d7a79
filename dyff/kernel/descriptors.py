"""File descriptors: raises the limit of this process, and says what it is."""

from __future__ import annotations

import contextlib
import resource


def raise_limit() -> int:
    """Raise the limit of open files to the most that the system allows this process; returns the limit that applies then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):  # some systems do not allow what they state
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return limit()


def limit() -> int:
    """The limit of open files of this process."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2**31 - 1 if soft == resource.RLIM_INFINITY else soft
