"""The file with the tokens of `dyff login`, by server. Only its owner can read it, and every change replaces it as a whole."""

from __future__ import annotations

import json
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

import click

NAME = "credentials.json"
MODE = 0o600
MAX_BYTES = 2**20
VERSION = 1


class Wrong(Exception):
    """The file is not used; the message names it and the fix."""


@dataclass
class Credentials:
    """What the file has. `current`: the server that commands use if none is named; None if there is none. `tokens`: by endpoint."""

    current: str | None = None
    tokens: dict[str, str] = field(default_factory=dict, repr=False)


def place() -> Path:
    """The file: in the user's configuration directory (`XDG_CONFIG_HOME` or `~/.config`; `AppData` on Windows)."""
    return Path(click.get_app_dir("dyff", force_posix=False)) / NAME


def read(file: Path) -> Credentials:
    """What the file has; empty if it does not exist.

    Raises:
        Wrong: others can read it, it belongs to another user, or it is none.
    """
    try:
        with file.open("rb") as opened:
            _require_private(file, os.fstat(opened.fileno()))
            data = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return Credentials()
    except NotADirectoryError as error:
        raise Wrong(f"{file}: {error.strerror}; remove what is in the place of its folder") from error
    except OSError as error:
        raise Wrong(f"{file} cannot be read: {error.strerror}; make it readable for you, or remove it and run 'dyff login'") from error
    return _parsed(file, data)


def _require_private(file: Path, found: os.stat_result) -> None:
    """Windows protects the folder of a user by access control lists, which these bits do not show."""
    if os.name == "nt":
        return
    own = getattr(os, "geteuid", lambda: found.st_uid)()
    if found.st_uid not in (own, 0):
        raise Wrong(f"{file} belongs to another user (ID {found.st_uid}), who can read its tokens; remove it, and run 'dyff login'")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        mode = f"{stat.S_IMODE(found.st_mode):04o}"
        raise Wrong(
            f"{file} has tokens, and others can read or change it (mode {mode}): run 'chmod 600 {quote(str(file))}', and make new tokens "
            "if others use this computer"
        )


def _parsed(file: Path, data: bytes) -> Credentials:
    fix = "remove it, and run 'dyff login'"
    if len(data) > MAX_BYTES:
        raise Wrong(f"{file} has more than {MAX_BYTES} bytes, so it is not what 'dyff login' wrote; {fix}")
    try:
        found = json.loads(data)
        version, current, servers = found["version"], found.get("current"), found["servers"]
        tokens = {str(endpoint): str(entry["token"]) for endpoint, entry in servers.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Wrong(f"{file} is not what 'dyff login' wrote; {fix}") from error
    if version != VERSION:
        raise Wrong(f"{file} was written by another release (version {str(version)[:20]}); {fix}, or use that release")
    return Credentials(current if current in tokens else None, tokens)


def write(file: Path, credentials: Credentials) -> None:
    """Replace the file. It exists as a whole or not at all, and never with other permissions than 0600.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    document: dict[str, Any] = {
        "version": VERSION,
        "current": credentials.current,
        "servers": {endpoint: {"token": token} for endpoint, token in sorted(credentials.tokens.items())},
    }
    target = file.resolve()  # it can be a link to a folder of settings
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(prefix=f".{NAME}.", dir=target.parent)  # with 0600 from the start
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            json.dump(document, opened, indent=2)
            opened.write("\n")
            opened.flush()
            os.fsync(opened.fileno())
        os.replace(name, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(name)
        raise
