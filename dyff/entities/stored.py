"""Parts of entities as they are stored and returned.

Tolerant: unknown fields are ignored, since a later release may add some.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from dyff.entities import described, showing, statuses

EntityStatus = Annotated[str, described.says(enum=list(statuses.ALL))]
Time = Annotated[str, described.says(format="date-time")]
"""As text: ISO 8601 in UTC."""


class Part(showing.Shown, msgspec.Struct, kw_only=True, frozen=True):
    """A part of a stored entity."""


class Digest(Part, frozen=True):
    """Digests of a file's bytes. `md5`: base64."""

    md5: str | None = None


class Artifact(Part, frozen=True):
    """A file. `path`: relative, POSIX."""

    path: str
    kind: str | None = None
    digest: Digest = Digest()


class File(Part, frozen=True):
    """A file of a model. `size`: in bytes."""

    path: str
    size: int
    digest: Digest = Digest()


class Volume(Part, frozen=True):
    """A tree of files."""

    files: list[File]
