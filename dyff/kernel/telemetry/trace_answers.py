"""Reads what a collector answers. It may be anything, of any size and at any speed, and the thread that sends must get away from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

MAX_BYTES = 65536
"""So much of an answer is read. A collector answers with some tens of bytes."""

_PIECE = 4096


def bounded(send: Callable[..., Any], limit_s: float) -> Callable[..., Any]:
    """`requests.Session.send`, but at most `MAX_BYTES` of the body of an answer are read, for `limit_s` seconds at most.

    A connection whose answer was not read to its end is closed, and none is used again with something unread.
    """

    def sent(*arguments: Any, **options: Any) -> Any:
        response = send(*arguments, **{**options, "stream": True})
        response._content, response._content_consumed = _read(response, limit_s), True
        return response

    return sent


def _read(response: Any, limit_s: float) -> bytes:
    """The body as it was sent. What was not received in time, or is too much, counts as empty: the status is what matters."""
    end, found = time.monotonic() + limit_s, b""
    try:
        while len(found) < MAX_BYTES and time.monotonic() < end:
            piece = response.raw.read1(_PIECE, decode_content=False)
            if not piece:
                return found
            found += piece
    except Exception:
        return b""
    finally:
        response.close()
    return b""
