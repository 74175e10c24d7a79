"""Listening sockets."""

from __future__ import annotations

import socket

from dyff.kernel import errors

BACKLOG = 2048


def bound(host: str, port: int, *, who: str, advice: str) -> socket.socket:
    """A listening socket, bound to `host` and `port` (0 for a free port). `who`, `advice`: used in the error message.

    Raises:
        Misconfigured: it cannot be bound; the message says why and what to do.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((host, port))
        made.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        made.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise errors.Misconfigured(f"{who} cannot listen on {host}:{port}: {reason}; {advice}") from error
    made.setblocking(False)
    return made
