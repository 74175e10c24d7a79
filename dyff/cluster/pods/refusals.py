"""Why a pod cannot be started now, in Kubernetes's words."""

from __future__ import annotations

INVALID = "InvalidSpec"
"""It can never be started: the pod fails."""
NO_IMAGE = "ErrImageNeverPull"
"""No setting says how the image is run."""
CONFIG = "CreateContainerConfigError"
"""Something that it refers to is missing."""
CREATE = "CreateContainerError"
"""The machine refused, for instance because the disk is full."""
UNSCHEDULABLE = "Unschedulable"
"""It waits for a slot."""
STOPPING = "NodeShutdown"
"""The server is ending; the next start goes on."""


class Refused(Exception):
    """A pod cannot be started now. Never leaves this package: it becomes the pod's status."""

    def __init__(self, reason: str, message: str) -> None:
        """`reason`: one of the words above. `message`: what is wrong and how to mend it."""
        super().__init__(message)
        self.reason, self.message = reason, message
