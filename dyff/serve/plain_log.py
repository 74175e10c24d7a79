"""Imports structlog without Rich, which would take a quarter of the time that a short command needs.

If Rich is installed, structlog imports it at once, for tracebacks in colour. Dyff prints none: those in its logs are plain
(`dyff.kernel.logs`).
"""

from __future__ import annotations

import sys

if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment]  # Python's own way to say that an import fails
    try:
        import structlog  # noqa: F401
    finally:
        del sys.modules["rich"]
