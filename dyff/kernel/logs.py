"""Logging: structlog, one line per unit of work, console format on a terminal and JSON otherwise, to standard error.

Every line has `time`, `level`, a stable `event` and a `logger`; `role`, `topic`, `partition`, `offset` are bound where they apply. A line
about an entity or a request has `trace_id`, `entity_id` and `account` (`dyff.kernel.telemetry.log_fields`). What other libraries log takes
the same way, with their message as the event. Tokens and secrets never reach a logger; `_redact` and `_redact_line` are the last line of
defence.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import warnings
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any, Literal, Protocol, TextIO

import structlog

from dyff.kernel.telemetry import log_fields

Format = Literal["auto", "json", "text"]

_SECRET_KEYS = frozenset({"token", "authorization", "secret", "password", "signing_secret"})
_JWT = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+")


class Out(Protocol):
    """Takes finished lines."""

    def write(self, text: str) -> object:
        """Write it, or lose it."""

    def flush(self) -> object:
        """Write what was buffered."""


def configure(level: str = "info", stream: TextIO | None = None, form: Format = "auto") -> None:
    """Set up logging, for the time until the next set-up; each line is written at once. `stream`: None for standard error.

    Raises:
        ValueError: `level` is not a log level.
    """
    chosen = stream or sys.stderr
    configure_with(_Tolerant(chosen), level, as_json=wants_json(form, chosen), final=False)


def wants_json(form: Format, stream: TextIO | None) -> bool:
    """Whether lines for `stream` are JSON: a person at a terminal gets text."""
    return form == "json" or (form == "auto" and not (stream is not None and stream.isatty()))


def configure_with(out: Out, level: str, *, as_json: bool, final: bool = True) -> None:
    """The same for an output that loses lines rather than raise an error.

    `final`: loggers keep this set-up from their first line on, which is faster. Until then they would keep an earlier one for good, so
    an earlier one must not be final.

    Raises:
        ValueError: `level` is not a log level.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level {level!r} is none of debug, info, warning, error")
    # Tracebacks without local variables, which contain headers and bodies of requests.
    console: Any = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback, timestamp_key="time")
    tracebacks = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
    finish: list[Any] = [tracebacks, structlog.processors.JSONRenderer()] if as_json else [console]
    finish.append(_redact_line)
    common: list[Any] = [
        structlog.contextvars.merge_contextvars,
        log_fields.merge,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        _redact,
    ]
    structlog.configure(
        processors=[*common, *([_name] if as_json else []), *finish],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(out),  # type: ignore[arg-type]  # it needs no more than `Out` has
        cache_logger_on_first_use=final,
    )
    # The web server and other libraries log through the standard library; only their warnings are of interest.
    handler = _Handler(out)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=[*common, structlog.stdlib.add_logger_name], processors=[remove, *finish])
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[handler], force=True)
    warnings.showwarning = _warn


def to_standard_error() -> None:
    """Keep what is logged out of the output of a command, which programs read. A server calls `configure` instead."""
    structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))  # the stream of the moment: tests replace it


class _Tolerant:
    """A stream for lines that may get lost: a full disk behind standard error must not end what is logged about."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class _Handler(logging.StreamHandler[Any]):
    """Writes what libraries log."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Report a record whose arguments do not fit its message, as a line like any other."""
        structlog.get_logger().warning("log-record-broken", logger=record.name, text=str(record.msg)[:300])


def _warn(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None, line: str | None = None
) -> None:
    """Log a warning of Python, as `warnings.showwarning`."""
    text = str(message)[:1000]
    structlog.get_logger().warning(
        "python-warning", logger="py.warnings", category=category.__name__, text=text, file=filename, line=lineno
    )


def install_hooks() -> None:
    """Log exceptions that nothing has caught, each as one line, instead of printing them."""

    def uncaught(kind: type[BaseException], error: BaseException, trace: Any) -> None:
        structlog.get_logger().critical("uncaught-exception", exc_info=(kind, error, trace))

    def in_thread(args: Any) -> None:
        where = args.thread.name if args.thread else None
        structlog.get_logger().error("uncaught-exception", thread=where, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    def unraisable(args: Any) -> None:
        about = f"{args.err_msg or 'Exception ignored in'}: {args.object!r}"[:300]
        structlog.get_logger().error("ignored-exception", about=about, exc_info=(args.exc_type, args.exc_value, args.exc_traceback))

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, unraisable


def _name(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    fields.setdefault("logger", "dyff")
    return fields


def _redact(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for key in fields:
        if key.lower() in _SECRET_KEYS:
            fields[key] = "[redacted]"
    return fields


def _redact_line(_logger: Any, _method: str, line: Any) -> Any:
    """Remove tokens from the finished line, wherever they came from, such as the message of an exception."""
    return _JWT.sub("[redacted]", line) if "eyJ" in line else line
