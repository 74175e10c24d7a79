"""Groups that need no server: the files in the upload of a folder, and the content of a token."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dyff.entities import showing
from dyff.sdk import arguments

_SECRET = "secret"
"""The claim by which a token can be revoked."""


class Volumes:
    """Local directories, to be uploaded as models."""

    def list(
        self,
        root_directory: Path | str,
        *,
        include_symlinks: bool = False,
        include: Sequence[str] | None = None,
        exclude: Sequence[str] | None = None,
    ) -> list[Path]:
        """List the files below a directory that an upload would contain, as sorted relative paths.

        `include_symlinks`: upload the targets of symbolic links in their place; otherwise links are skipped. `include` (None for
        all files) and then `exclude`: patterns as in `.gitignore`.

        Raises:
            TypeError, FileNotFoundError, NotADirectoryError: it is not the path of a directory.

        Example:
            `client.volumes.list("weights", exclude=["*.md"])`
        """
        return list_files(arguments.folder(root_directory, "root_directory"), include_symlinks, include, exclude)


class Tokens:
    """The content of tokens."""

    def inspect(self, token: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """Decode the header and the claims of a token, without verification. The claim `secret` is there, but its value is hidden.

        Raises:
            ValueError: it is not a token. The message does not contain it.

        Example:
            `header, claims = client.tokens.inspect(token)`
        """
        parts = token.split(".")
        if len(parts) != 3:
            raise ValueError("this is not a token: it must have three parts with dots between them")
        try:
            header, claims = (json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2])
        except ValueError:
            header = claims = None
        if not isinstance(header, dict) or not isinstance(claims, dict):
            raise ValueError("this is not a token: its first two parts must be JSON objects in base64")
        return header, {name: showing.HIDDEN if name == _SECRET else value for name, value in claims.items()}


def list_files(root: Path, include_symlinks: bool, include: Sequence[str] | None, exclude: Sequence[str] | None) -> list[Path]:
    """See `Volumes.list`."""
    found = sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file() and (include_symlinks or not path.is_symlink()))
    if include or exclude:
        from pathspec import GitIgnoreSpec

        kept = GitIgnoreSpec.from_lines(include or ["*"])
        dropped = GitIgnoreSpec.from_lines(exclude or [])
        found = [path for path in found if kept.match_file(path) and not dropped.match_file(path)]
    require_text(found)
    return found


def require_text(paths: Iterable[Path]) -> None:
    """Refuse names of files that no JSON can hold.

    Raises:
        ValueError: a name is not UTF-8; the message has it.
    """
    for path in paths:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise ValueError(f"the name of the file {str(path)!a} is not UTF-8, so it cannot be uploaded: rename it") from None
