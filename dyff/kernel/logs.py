"""Logging: structlog, one line per unit of work, console format on a terminal and JSON otherwise, to standard error.

Every line has a stable `event`; `role`, `entity_id`, `topic`, `partition`, `offset` are bound where they apply. Tokens
and secrets never reach a logger; `_redact` and `_redact_line` are the last line of defence.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, TextIO

import structlog

_SECRET_KEYS = frozenset({"token", "authorization", "secret", "password", "signing_secret"})
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+")


def configure(level: str = "info", stream: TextIO | None = None) -> None:
    """Set up logging, once, before the first line is written. `stream`: None for standard error.

    Raises:
        ValueError: `level` is not a log level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level {level!r} is none of debug, info, warning, error")
    out: Any = _Tolerant(stream or sys.stderr)
    # Tracebacks without local variables, which contain headers and bodies of requests.
    console: Any = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    tracebacks = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
    finish: list[Any] = [console] if out.isatty() else [tracebacks, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _redact,
            *finish,
            _redact_line,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    # The web server and other libraries log through the standard library; only their warnings are of interest.
    logging.basicConfig(
        level=max(number, logging.WARNING), stream=stream or sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )


def to_standard_error() -> None:
    """Keep what is logged out of the output of a command, which programs read. A server calls `configure` instead."""
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))  # the stream of the moment: tests replace it


class _Tolerant:
    """A stream for lines that may get lost: a full disk behind standard error must not end what is logged about."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.isatty = stream.isatty

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def _redact(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in fields:
        if key.lower() in _SECRET_KEYS:
            fields[key] = "[redacted]"
    return fields


def _redact_line(_logger: Any, _method: str, line: Any) -> Any:
    """Remove tokens from the finished line, wherever they came from, such as the message of an exception."""
    return _JWT.sub("[redacted]", line) if "eyJ" in line else line
