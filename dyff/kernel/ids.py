"""IDs: 32 lowercase hex digits, as the published Dyff writes them."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from typing import Protocol

PATTERN = "^[0-9a-f]{32}$"
_ID = re.compile(PATTERN)


class Ids(Protocol):
    """Source of new IDs: randomness as a port."""

    def new(self) -> str:
        """A fresh uuid4 in 32 hex digits."""
        ...


class RandomIds:
    """IDs from the system's randomness, which is read in pages: one system call for 256 IDs."""

    def __init__(self) -> None:
        """Start with an empty page."""
        self._page = b""
        self._used = 0

    def new(self) -> str:
        if self._used == len(self._page):
            self._page, self._used = os.urandom(16 * 256), 0
        number = self._page[self._used : self._used + 16].hex()
        self._used += 16
        return f"{number[:12]}4{number[13:16]}{'89ab'[int(number[16], 16) & 3]}{number[17:]}"


def is_id(text: object) -> bool:
    """Whether `text` has the form of an entity ID."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def child(parent: str, name: str) -> str:
    """The ID of a part of `parent`: uuid5, as published (replications, scores, curves)."""
    return uuid.uuid5(uuid.UUID(parent), name).hex


def derived(*parts: str) -> str:
    """An ID computed from `parts` alone, with the version bits of uuid4, which published schemas check."""
    digest = hashlib.sha256("\x1f".join(parts).encode()).digest()[:16]
    return uuid.UUID(bytes=digest, version=4).hex
