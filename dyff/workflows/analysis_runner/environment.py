"""What a run's environment was, for its record: versions, a digest of what is installed, the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from importlib import metadata
from typing import Any


def described() -> dict[str, Any]:
    """Return Python's version, those of all packages, and a digest of what is installed.

    The digest is over the packages' own lists of their files, which have the digest of each file. So it differs if any package does.
    """
    found: dict[str, tuple[str, str]] = {}
    for each in metadata.distributions():
        about = each.metadata  # read once: each time it parses the package's whole description
        name = about["Name"] if about else None
        if name and name.lower() not in found:
            found[name.lower()] = (about["Version"], hashlib.sha256((each.read_text("RECORD") or "").encode()).hexdigest())
    lines = [f"python {platform.python_version()} {platform.python_implementation()} {platform.machine()}"]
    lines += [f"{name} {version} {files}" for name, (version, files) in sorted(found.items())]
    return {
        "python": platform.python_version(),
        "packages": {name: version for name, (version, _) in sorted(found.items())},
        "digest": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
    }


def machine() -> dict[str, Any]:
    """Return what the machine is; `memory_bytes` is that of the machine, not of the run's limits."""
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "processors": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "libc": " ".join(platform.libc_ver()),
        "byteorder": sys.byteorder,
    }


def seed(analysis: str) -> int:
    """Return the seed of an analysis. It follows from the ID, so that a repeated run draws the same numbers."""
    return int.from_bytes(hashlib.sha256(analysis.encode()).digest()[:4], "big")
