"""Groups that need no server: what a folder's upload has in it, and what a token says."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


class Volumes:
    """Local directories that become models."""

    def list(
        self,
        root_directory: Path | str,
        *,
        include_symlinks: bool = False,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
    ) -> list[Path]:
        """The files below a directory that an upload would have, relative to it, sorted.

        `include_symlinks`: files behind symbolic links are uploaded in their place; otherwise links are skipped. `include`
        (None: all) and then `exclude`: patterns as in `.gitignore`.

        Example:
            `client.volumes.list("weights", exclude=["*.md"])`
        """
        return list_files(Path(root_directory), include_symlinks, include, exclude)


class Tokens:
    """What tokens say of themselves."""

    def inspect(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The header and the claims of a token, not verified; no secret is in them.

        Raises:
            ValueError: it is not a token.

        Example:
            `header, claims = client.tokens.inspect(token)`
        """
        parts = token.split(".")
        if len(parts) != 3:
            raise ValueError("this is not a token: it must have three parts with dots between them")
        header, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
        return header, claims


def list_files(root: Path, include_symlinks: bool, include: Sequence[str] | None, exclude: Sequence[str] | None) -> list[Path]:
    """See `Volumes.list`."""
    found = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file() and (include_symlinks or not path.is_symlink()))
    if include or exclude:
        from pathspec import GitIgnoreSpec

        kept = GitIgnoreSpec.from_lines(include or ["*"])
        dropped = GitIgnoreSpec.from_lines(exclude or [])
        found = [path for path in found if kept.match_file(path) and not dropped.match_file(path)]
    return found
