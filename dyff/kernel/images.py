"""Names of container images: ours, and how a setting for an image is found. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")

STEPS = "built-in steps"
"""Our own steps on one machine. It is no image reference (it has a space and no host), so what an account writes, which is joined as
`host/name@digest`, cannot become this name; and a container runtime refuses it instead of looking for it in a registry."""


def bare(reference: str) -> str:
    """An image reference without its tag and digest: `host:5000/a/b:v1@sha256:...` becomes `host:5000/a/b`."""
    name = reference.partition("@")[0]
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(":")[0]


def anywhere(reference: str) -> str:
    """The name without host, tag and digest; empty if it has no host."""
    return bare(reference).partition("/")[2]


def setting(settings: Mapping[str, T], reference: str) -> T | None:
    """The setting for an image: the one of its full name, or else the one of its name for any host; None if there is none."""
    return settings.get(bare(reference)) or settings.get(anywhere(reference))
