"""How one container's program is confined: made by the server, part of the intent, carried out by the shim. Plain data."""

from __future__ import annotations

from typing import Literal

import msgspec

Tier = Literal["bubblewrap", "landlock"]
Network = Literal["none", "outside"]

HOME = "/home/pod"
TMP = "/tmp"
SHM = "/dev/shm"
CODE = "/opt/dyff/code"
PYTHON = "/opt/dyff/python"
PACKAGES = "/opt/dyff/packages"


class Bind(msgspec.Struct, frozen=True):
    """A file or folder of the machine, and its path in the sandbox. `read_only`: the program cannot write to it."""

    source: str
    target: str
    read_only: bool = True


class Limits(msgspec.Struct, frozen=True):
    """What one container may use: all its processes together, except `open_files`. None: no limit.

    `processes`: also counts threads. `open_files`: of each process. `disk_bytes`, `disk_files`: of all folders that it can write to.
    """

    processes: int
    open_files: int
    disk_bytes: int
    disk_files: int
    memory_bytes: int | None = None


class Confinement(msgspec.Struct, frozen=True):
    """The sandbox of one container.

    `uid`: the user, and group, that its program runs as; None if the server is not root, so it cannot choose. `system`: what the
    program needs of the machine, read-only. `links`: symbolic links (target, path) that a system has at its top. `volumes`: what the
    spec mounts. `filter`: of system calls, hexadecimal (`shim/seccomp.py`). `python`, `bwrap`: programs; `bwrap` is None in the tier
    landlock. `port`: where the program listens; None if it does not. `network`: `outside` adds a proxy to public addresses.
    `connect`: what that proxy serves in addition, each as `host:port`.
    """

    tier: Tier
    uid: int | None
    system: list[Bind]
    links: list[tuple[str, str]]
    volumes: list[Bind]
    limits: Limits
    filter: str
    python: str
    bwrap: str | None = None
    network: Network = "none"
    connect: list[str] = []
    port: int | None = None
