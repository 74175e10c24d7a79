"""What Kubernetes is told of a process, by the report of its roles (`{"status", "alive", "roles"}`). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def health(report: Mapping[str, Any]) -> int:
    """200 as long as the process can mend itself; 503: only a new one helps."""
    return 200 if report.get("alive", True) else 503


def ready(report: Mapping[str, Any]) -> int:
    """503 until every role serves, and while one does not get on."""
    return 200 if report["status"] == "ok" else 503
