"""Statuses and reasons, as published, and which of them end a workflow."""

from __future__ import annotations

CREATED = "Created"
SCHEDULABLE = "Schedulable"
ADMITTED = "Admitted"
WAITING_FOR_UPLOAD = "WaitingForUpload"
READY = "Ready"
COMPLETE = "Complete"
APPROVED = "Approved"
FAILED = "Failed"
ERROR = "Error"
DENIED = "Denied"
TERMINATED = "Terminated"
DELETED = "Deleted"

ALL = (
    CREATED, SCHEDULABLE, ADMITTED, WAITING_FOR_UPLOAD, READY, COMPLETE, APPROVED, FAILED, ERROR, DENIED, TERMINATED, DELETED,
)  # fmt: skip

PUBLISHED = (*ALL, "WaitingForApproval", "Active", "EntryDenied", "Suspended")
"""All that published clients know, also of teams and accounts. No other one can ever be found."""

SUCCESS = frozenset({COMPLETE, READY, APPROVED})
FAILURE = frozenset({ERROR, FAILED, DENIED})
TERMINAL = SUCCESS | FAILURE | {TERMINATED, DELETED}
"""`Terminated` and `Deleted` end a workflow but are neither success nor failure; as a dependency they count as failed."""

GROUPS = {
    "running": (ADMITTED,),
    "waiting": (CREATED, SCHEDULABLE, WAITING_FOR_UPLOAD, "WaitingForApproval"),
    "failed": (FAILED, ERROR, DENIED),
    "done": (COMPLETE, READY, APPROVED),
}
"""What people want to see apart, by name."""

QUOTA_LIMIT = "QuotaLimit"
UNSATISFIED_DEPENDENCY = "UnsatisfiedDependency"
FAILED_DEPENDENCY = "FailedDependency"
TERMINATE_COMMAND = "TerminateCommand"
DELETE_COMMAND = "DeleteCommand"
EXPIRED = "Expired"
INTERRUPTED = "Interrupted"
SCHEMA_ERROR = "SchemaError"
SESSION_EXPIRED = "SessionExpired"
INCOMPLETE = "Incomplete"
UNVERIFIED = "Unverified"
INFERENCE_FAILED = "InferenceFailed"
VERIFICATION_FAILED = "VerificationFailed"
FETCH_FAILED = "FetchFailed"
FINALIZING = "Finalizing"
"""With `WaitingForUpload`: finalize was accepted, and no file can be uploaded any more. Sealing decides how it ends (ADR 18)."""
UPLOAD_FAILED = "UploadFailed"
ADMISSION_FAILED = "AdmissionFailed"
ACCOUNT_SUSPENDED = "AccountSuspended"
IMAGE_NOT_RUNNABLE = "ImageNotRunnable"
REFUSED = "Refused"
"""A rule of the cluster refuses a part of the run. It is tried again for a while."""
NOT_SHOWN = "NotShown"
"""The view cannot store the entity as it is, and shows only a part of it. No command sets this: the entity in the log is whole."""


def is_terminal(status: str) -> bool:
    """Whether only deletion or restoration can follow `status`."""
    return status in TERMINAL
