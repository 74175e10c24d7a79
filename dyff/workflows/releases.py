"""Which release of the platform runs a step, for the record of the run."""

from __future__ import annotations

import json
from importlib import metadata

from dyff.entities import codecs

PACKAGE = "dyff-platform"


def platform() -> codecs.Json:
    """Return the name and the version of the installed package. `commit`: of Git; None if it was not installed from a repository."""
    try:
        found = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:  # the files alone, without an installation
        return {"name": PACKAGE, "version": None, "commit": None}
    return {"name": PACKAGE, "version": found.version, "commit": commit(found.read_text("direct_url.json"))}


def source() -> codecs.Json:
    """What the manifest of an evaluation's outputs says of the release whose step has verified and stored them."""
    return {"kind": "Outputs", "platform": platform()}


def commit(direct_url: str | None) -> str | None:
    """The commit in a package's record of where it was installed from (PEP 610); None if it has none."""
    try:
        found = json.loads(direct_url or "null")
        commit_id = found["vcs_info"]["commit_id"]
    except (ValueError, TypeError, KeyError):
        return None
    return commit_id if isinstance(commit_id, str) else None
