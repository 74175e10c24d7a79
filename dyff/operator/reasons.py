"""Reasons of conditions: CamelCase words, some of which are published."""

from __future__ import annotations

from dyff.entities import statuses

EXPIRED = statuses.EXPIRED
SESSION_EXPIRED = statuses.SESSION_EXPIRED
UNVERIFIED = statuses.UNVERIFIED
INCOMPLETE = statuses.INCOMPLETE
INFERENCE_FAILED = statuses.INFERENCE_FAILED
VERIFICATION_FAILED = statuses.VERIFICATION_FAILED
FETCH_FAILED = statuses.FETCH_FAILED
SCHEMA_ERROR = statuses.SCHEMA_ERROR
IMAGE_NOT_RUNNABLE = statuses.IMAGE_NOT_RUNNABLE
REFUSED = statuses.REFUSED

STARTING = "Starting"
PODS_READY = "PodsReady"
PODS_NOT_READY = "PodsNotReady"
WAITING_FOR_SESSION = "WaitingForSession"
INFERENCE = "Inference"
FETCHING = "Fetching"
RUNNING = "Running"

COMPLETE = "Complete"
DEADLINE_EXCEEDED = "DeadlineExceeded"
RUNNER_FAILED = "RunnerFailed"
SESSION_NOT_FOUND = "SessionNotFound"
NOT_SUPPORTED = "NotSupported"
NAME_TAKEN = "NameTaken"
NOTHING_TO_RUN = "NothingToRun"
RUN_FAILED = "RunFailed"
OUTPUT_INVALID = "OutputInvalid"
OUT_OF_MEMORY = "OutOfMemory"
LIMIT_EXCEEDED = "LimitExceeded"
STORE_FAILED = "StoreFailed"

WAITING = "Waiting"
QUEUED = "Queued"
ADMITTED = "Admitted"
ACCEPTED = "Accepted"
