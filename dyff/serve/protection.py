"""Keeps the data directory private: its top folders are for their owner only, and so are the files directly in it.

What is deeper, such as stored objects, needs no mode of its own: others cannot reach it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from shlex import quote

import structlog

from dyff.kernel import errors

log = structlog.get_logger()

UMASK = 0o077
"""Whatever this program creates is for its user only."""
_FOLDER, _FILE = 0o700, 0o600


def protect(root: Path) -> None:
    """Take away everyone else's access to an existing data directory, and log what was changed.

    Raises:
        Misconfigured: it is not ours to change; the message has the command that does it.
    """
    _restrict(root, _FOLDER, root)
    for entry in sorted(os.scandir(root), key=lambda each: each.name):
        if entry.is_symlink():
            continue  # it leads to a place that its owner chose, and may be for others, too
        if entry.is_dir() and not entry.name.startswith("lost+found"):
            _restrict(Path(entry.path), _FOLDER, root)
        elif entry.is_file():
            _restrict(Path(entry.path), _FILE, root)


def _restrict(path: Path, wanted: int, root: Path) -> None:
    try:
        found = stat.S_IMODE(path.stat().st_mode)
        if found & ~wanted & 0o077 == 0:
            return
        path.chmod(found & wanted)
    except FileNotFoundError:
        return  # SQLite of another process has removed its file
    except OSError as error:
        quoted = quote(str(root))
        raise errors.Misconfigured(
            f"others can read {path} (mode {found:o}), and this user cannot change that ({error.strerror}); run "
            f"`sudo chown -R {os.getuid()} {quoted} && chmod -R go= {quoted}`, or choose a directory below it with --data-dir"
        ) from error
    log.warning("access-restricted", path=str(path), had=f"{found:o}", has=f"{found & wanted:o}")
