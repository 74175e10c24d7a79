"""What a rule about combinations of settings sees, and what it reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from dyff.kernel import settings
from dyff.serve import opening, roles

if TYPE_CHECKING:
    from dyff.objects import cloud


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something wrong with the settings. `settings`: which ones, the one to change first. `refused`: a server does not start with it.

    `problem`: what is wrong and what would happen. `fix`: what to do.
    """

    settings: tuple[str, ...]
    problem: str
    fix: str
    refused: bool = True

    def text(self) -> str:
        """One sentence for people."""
        return f"{', '.join(self.settings)}: {self.problem}; {self.fix}"


class Case(msgspec.Struct, frozen=True):
    """The settings, the roles of the process, and whether it runs on this machine, so that files and variables can be looked at."""

    settings: settings.Settings
    rows: tuple[roles.Row, ...]
    here: bool

    def has(self, role: str) -> bool:
        """Whether the process has this role."""
        return role in roles.names(self.rows)

    @property
    def runs_steps(self) -> bool:
        """Whether pods that this process starts run our steps, which use the object store."""
        return any(row.starts_steps for row in self.rows)

    @property
    def uses_cluster(self) -> bool:
        """Whether a role of this process uses the cluster."""
        return "cluster" in roles.ports(self.rows)

    @property
    def on_kubernetes(self) -> bool:
        """Whether pods run on a Kubernetes cluster."""
        return opening.on_kubernetes(self.settings)

    @property
    def store(self) -> cloud.Connection | None:
        """The address of the object store; None if it is a directory, or if the URL is wrong, which the start reports."""
        return opening.store_address(self.settings, with_environment=self.here)
