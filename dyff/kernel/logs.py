"""Logging: structlog, one line per unit of work, console on a terminal and JSON otherwise, to standard error.

Every line has a stable `event`; `role`, `entity_id`, `topic`, `partition`, `offset` are bound where they apply. Tokens
and secrets never reach a logger; `_redact` is the last defence.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, TextIO

import structlog

_SECRET_KEYS = frozenset({"token", "authorization", "secret", "password", "signing_secret"})
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+")


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Set logging up, once, before the first line is written. `stream` None: standard error.

    Raises:
        ValueError: there is no such level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level {level!r} is none of debug, info, warning, error")
    out = stream or sys.stderr
    renderer: Any = structlog.dev.ConsoleRenderer() if out.isatty() else structlog.processors.JSONRenderer()
    finish = [renderer] if out.isatty() else [structlog.processors.dict_tracebacks, renderer]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            *finish,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    # The web server and other libraries use the standard library; only their warnings are news.
    logging.basicConfig(level=max(number, logging.WARNING), stream=out, format="%(asctime)s %(levelname)s %(name)s %(message)s")


def _redact(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key, value in fields.items():
        if key.lower() in _SECRET_KEYS:
            fields[key] = "[redacted]"
        elif isinstance(value, str) and "eyJ" in value:
            fields[key] = _JWT.sub("[redacted]", value)
    return fields
