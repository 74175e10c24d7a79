"""How the commands print what they found, and how they end: the exit codes, and errors in one line."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

FAILED = 1
"""Something else: a workflow that ended without success, files that exist, an answer that is not Dyff's."""
WRONG = 2
"""The command or the request is wrong: an argument, a setting, a field. Click uses the same."""
NO_SERVER = 3
"""There is no answer, or the server is busy: try again later."""
NOT_ALLOWED = 4
"""The token is missing, not valid (any more), or lacks a grant."""
MISSING = 5
"""It does not exist, or no longer."""
CONFLICT = 6
"""The status of the entity does not allow it."""
TIME_OVER = 7
"""It has not ended in time, and continues."""
INTERRUPTED = 130
"""Ctrl-C, as of any program."""

MOST_CHARS = 60
"""Longer values are cut in a table."""


class Ended(click.ClickException):
    """An error that is one line on standard error."""

    def __init__(self, message: str, exit_code: int) -> None:
        """`exit_code`: one of the constants of this module."""
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: Any = None) -> None:
        click.echo(f"dyff: {harmless(self.message)}", err=True)


@contextmanager
def translated() -> Iterator[None]:
    """Turn the SDK's errors into ends of the command.

    Raises:
        Ended: with the error's text and its exit code.
    """
    import msgspec

    from dyff.sdk import errors

    codes: tuple[tuple[type[Exception], int], ...] = (
        (errors.ServerUnreachable, NO_SERVER),
        (errors.ServerBusy, NO_SERVER),
        (errors.NotAuthenticated, NOT_ALLOWED),
        (errors.NotAllowed, NOT_ALLOWED),
        (errors.Missing, MISSING),
        (errors.Refused, CONFLICT),
        (errors.BadRequest, WRONG),
        (errors.WaitTimeout, TIME_OVER),
        (errors.SdkError, FAILED),
        (OSError, FAILED),
        (msgspec.MsgspecError, FAILED),
        (ValueError, WRONG),
        (TypeError, WRONG),
    )
    try:
        yield
    except KeyboardInterrupt as error:
        raise Ended(str(error) or "interrupted", INTERRUPTED) from None
    except BrokenPipeError:
        raise
    except tuple(kind for kind, _ in codes) as error:
        raise Ended(_sentence(error), next(code for kind, code in codes if isinstance(error, kind))) from error


def _sentence(error: Exception) -> str:
    if isinstance(error, UnicodeEncodeError):  # what the shell passes as an argument can have any bytes
        return f"{error.object[:200]!a} is not UTF-8, which it has to be here"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def harmless(text: str) -> str:
    """`text` without what could move a terminal's cursor or reorder what a person sees. Tabs and line breaks stay as they are."""
    return "".join(each if each.isprintable() or each in "\t\n" else repr(each)[1:-1] for each in text)


def prepare() -> None:
    """Let this process print every character: escaped, where its output has a character set that lacks it.

    Windows has an old one where the output is a file or a pipe, and Linux where the locale says so.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def line(text: str) -> None:
    """Print a line.

    Raises:
        Ended: the output cannot be written, because the disk is full, for instance.
        BrokenPipeError: its reader has gone, which ends a command silently.
    """
    try:
        click.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise Ended(f"the output cannot be written: {error.strerror}", FAILED) from None


def document(value: Any) -> None:
    """Print a value as JSON: indented for people at a terminal, on one line for programs.

    Raises:
        Ended, BrokenPipeError: as `line`.
    """
    line(_json(value, indent=2 if sys.stdout is not None and sys.stdout.isatty() else None))  # None: it was closed


def _json(value: Any, indent: int | None = None) -> str:
    """JSON that the output can have. What is not harmless is escaped as JSON does it, so that a program reads the same text."""
    import msgspec

    plain = msgspec.to_builtins(value)
    text = json.dumps(plain, ensure_ascii=False, indent=indent)
    text = "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(plain, indent=indent)
    return text


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows below the names of their columns. Columns without a value are left out."""
    cells = [[_cell(value) for value in row] for row in rows]
    used = [at for at in range(len(columns)) if any(row[at] for row in cells)]
    heads = [columns[at].upper() for at in used]
    widths = [max(len(head), *(len(row[at]) for row in cells)) for head, at in zip(heads, used, strict=True)]
    for row in (heads, *([row[at] for at in used] for row in cells)):
        line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def fields(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print names with their values, one for each line. Those without a value are left out."""
    said = [(name, text) for name, value in pairs if (text := _text(value))]
    width = max((len(name) for name, _ in said), default=0)
    for name, text in said:
        line(f"{name.ljust(width)}  {text}")


def _text(value: Any) -> str:
    if value is None or value in ("", {}, []):
        return ""
    if isinstance(value, str):
        return harmless(value).replace("\n", "\\n")
    return _json(value)


def _cell(value: Any) -> str:
    text = _text(value)
    return f"{text[: MOST_CHARS - 3]}..." if len(text) > MOST_CHARS else text


def stop(message: str, code: int) -> NoReturn:
    """End the command.

    Raises:
        Ended: always.
    """
    raise Ended(message, code)
