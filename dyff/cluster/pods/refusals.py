"""Reasons why a pod cannot be started now, in Kubernetes' terms."""

from __future__ import annotations

INVALID = "InvalidSpec"
"""It can never be started: the pod fails."""
NO_IMAGE = "ErrImageNeverPull"
"""The image has no setting that says how it is run."""
CONFIG = "CreateContainerConfigError"
"""An object that it refers to is missing."""
CREATE = "CreateContainerError"
"""The machine cannot start it, for instance because the disk is full."""
UNSCHEDULABLE = "Unschedulable"
"""It waits for a slot."""
STOPPING = "NodeShutdown"
"""The server is ending; its next start continues."""


class Refused(Exception):
    """A pod cannot be started now. It never leaves this package, but becomes the pod's status."""

    def __init__(self, reason: str, message: str, container: str | None = None) -> None:
        """`reason`: one of the constants above. `message`: what is wrong and how to fix it. `container`: whose fault it is; None if it
        is not known, then the pod's main one shows it.
        """
        super().__init__(message)
        self.reason, self.message, self.container = reason, message, container
