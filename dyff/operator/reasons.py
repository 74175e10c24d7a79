"""Reasons of conditions that only the operator gives; the published ones are in `dyff.entities.statuses`."""

from __future__ import annotations

STARTING = "Starting"
PODS_READY = "PodsReady"
PODS_NOT_READY = "PodsNotReady"
WAITING_FOR_SESSION = "WaitingForSession"
INFERENCE = "Inference"
FETCHING = "Fetching"

COMPLETE = "Complete"
DEADLINE_EXCEEDED = "DeadlineExceeded"
RUNNER_FAILED = "RunnerFailed"
SESSION_NOT_FOUND = "SessionNotFound"
NOT_SUPPORTED = "NotSupported"
NAME_TAKEN = "NameTaken"
