"""HTTP statuses of the Kubernetes probes, from the report of a process's roles (`{"status", "alive", "roles"}`). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def health(report: Mapping[str, Any]) -> int:
    """The status of the liveness probe: 200 as long as the process can recover, 503 when only a restart helps."""
    return 200 if report.get("alive", True) else 503


def ready(report: Mapping[str, Any]) -> int:
    """The status of the readiness probe: 503 until every role serves, and while one makes no progress.

    A process that is degraded serves on, so it is ready.
    """
    return 200 if report["status"] in ("ok", "degraded") else 503
