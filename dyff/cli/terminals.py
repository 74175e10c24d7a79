"""What the terminal of this process can show, and whether there is a person to ask."""

from __future__ import annotations

import os
import shutil
import sys

import click

_COLOURS = {
    "Complete": "green", "Ready": "green", "Approved": "green", "Active": "green", "Valid": "green",
    "Failed": "red", "Error": "red", "Denied": "red",
    "Created": "yellow", "WaitingForUpload": "yellow",
    "Schedulable": "cyan", "Admitted": "cyan",
    "Terminated": "bright_black", "Deleted": "bright_black", "Expired": "bright_black", "Suspended": "red",
}  # fmt: skip


def is_output() -> bool:
    """Whether standard output is a terminal."""
    return sys.stdout is not None and sys.stdout.isatty()


def is_person() -> bool:
    """Whether a question would be seen, and can be answered."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def columns() -> int | None:
    """How wide standard output is; None if it is no terminal, so that nothing is cut."""
    return shutil.get_terminal_size().columns if is_output() else None


def has_colours() -> bool:
    """Whether texts are coloured: on a terminal, unless NO_COLOR is set (no-color.org) or the terminal has none."""
    return is_output() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured(status: str, text: str) -> str:
    """`text` in the colour of a status."""
    return click.style(text, fg=_COLOURS[status]) if status in _COLOURS and has_colours() else text


def bold(text: str) -> str:
    """A heading."""
    return click.style(text, bold=True) if has_colours() else text
