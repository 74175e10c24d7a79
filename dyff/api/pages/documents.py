"""An author's document as it is served: unchanged but for tags that make a browser connect to a place before it looks at the policy.

Chromium opens a connection for a nested frame, and for a hint such as `preconnect`, although the policy then refuses the request. So the
reader's address would reach a host that the author chose. These tags do nothing in the sandbox anyway. A name of a tag cannot be written in
another way than by its letters; the first byte is ours, so that a byte order mark of the author cannot choose another encoding.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

_TAGS = re.compile(rb"<(?=i?frame|link|portal|fencedframe)", re.IGNORECASE)
_OTHER = b"<x-"
_LONGEST = len(b"<fencedframe")


async def served(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The document in pieces, whose tags of these names have others that mean nothing."""
    yield b"\n"
    kept = b""
    async for piece in pieces:
        whole = kept + piece
        # What could be the beginning of such a tag waits for the next piece.
        end = whole.rfind(b"<", max(0, len(whole) - _LONGEST + 1))
        cut = len(whole) if end < 0 else end
        kept = whole[cut:]
        yield _TAGS.sub(_OTHER, whole[:cut])
    yield _TAGS.sub(_OTHER, kept)
