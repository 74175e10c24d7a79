"""How the commands print what they found, and how they end: the exit codes, and errors in one line."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import click

from dyff.cli import tables, terminals

FAILED = 1
"""Something else: files that exist, an answer that is not Dyff's, several entities with different results."""
WRONG = 2
"""The command or the request is wrong: an argument, a setting, a field. Click uses the same."""
NO_SERVER = 3
"""There is no answer, or the server is busy: try again later."""
NOT_SIGNED_IN = 4
"""The token is missing, or not valid (any more)."""
MISSING = 5
"""It does not exist, or no longer."""
CONFLICT = 6
"""The status of the entity does not allow it."""
TIME_OVER = 7
"""It has not ended in time, and continues."""
DIFFERS = 8
"""A reproduction does not agree with its original."""
WORKFLOW_FAILED = 9
"""What was waited for ended without success."""
NOT_ALLOWED = 10
"""The token lacks a grant."""
NOT_CONFIRMED = 11
"""The question was answered with no, and nothing was changed."""
INTERRUPTED = 130
"""Ctrl-C, as of any program."""

_ADVICE = {
    NOT_SIGNED_IN: "sign in again with 'dyff login', or set DYFF_API_TOKEN to another token",
    NOT_ALLOWED: "'dyff whoami' shows what the token allows",
}
"""What to do at a command line, in place of the SDK's advice for programs."""


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
        (errors.NotAuthenticated, NOT_SIGNED_IN),
        (errors.NotAllowed, NOT_ALLOWED),
        (errors.Missing, MISSING),
        (errors.Refused, CONFLICT),
        (errors.BadRequest, WRONG),
        (errors.WaitTimeout, TIME_OVER),
        (errors.WorkflowFailed, WORKFLOW_FAILED),
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
    except click.Abort:  # Ctrl-C or the end of the input, at a question
        raise Ended("interrupted; nothing was changed", INTERRUPTED) from None
    except BrokenPipeError:
        raise
    except tuple(kind for kind, _ in codes) as error:
        code = next(code for kind, code in codes if isinstance(error, kind))
        raise Ended(_sentence(error, _ADVICE.get(code)), code) from error


def _sentence(error: Exception, advice: str | None) -> str:
    """`advice`: replaces that of the SDK; None to leave it."""
    from dyff.sdk import errors

    if isinstance(error, errors.ApiError) and advice is not None:
        return f"{str(error).removesuffix(f' ({error.advice})')} ({advice})"
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


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], optional: Sequence[str] = ()) -> None:
    """Print rows below the names of their columns, fitted to the terminal. Columns without a value are left out.

    `optional`: columns that a narrow terminal does not show, those that matter least first. A column `status` is coloured.
    """
    cells = [[_text(value).replace("\t", "\\t") for value in row] for row in rows]
    for each in tables.lines(columns, cells, terminals.columns(), optional, _painted):
        line(each)


def _painted(column: str, text: str, whole: str) -> str:
    return terminals.coloured(text, whole) if column == "status" else whole


def fields(pairs: Sequence[tuple[str, Any]]) -> None:
    """Print names with their values, one for each line. Those without a value are left out.

    On a terminal, what is no text has one line at most.
    """
    most = terminals.columns()
    said = [(name, value, text) for name, value in pairs if (text := _text(value))]
    longest = max((len(name) for name, _, _ in said), default=0) + len(tables.GAP)
    shown = [
        (name, text if most is None or isinstance(value, str) else tables.cut(text, max(most - longest, tables.MIN_WIDTH)))
        for name, value, text in said
    ]
    for each in tables.fields(shown):
        line(each)
    if any(text != before for (_, text), (_, _, before) in zip(shown, said, strict=True)):
        note("(--json has the whole values)")


def seconds(time: str) -> str:
    """A time of the server, without the parts of its second."""
    return _FRACTION.sub("", time)


_FRACTION = re.compile(r"\.\d+(?=Z$)")


def _text(value: Any) -> str:
    if value is None or value in ("", {}, []):
        return ""
    if isinstance(value, str):
        return harmless(value).replace("\n", "\\n")
    return _json(value)


def note(text: str) -> None:
    """Say something about the output, next to it: on standard error."""
    click.echo(harmless(text), err=True)


def stop(message: str, code: int) -> NoReturn:
    """End the command.

    Raises:
        Ended: always.
    """
    raise Ended(message, code)
