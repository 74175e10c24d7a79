"""Why a run failed, in words, with the line of the author's own code."""

from __future__ import annotations

import linecache
import os
import re
from collections.abc import Iterator, Mapping
from types import TracebackType

RUN_FAILED, OUT_OF_MEMORY, DEADLINE = "RunFailed", "OutOfMemory", "DeadlineExceeded"
MAX_TEXT = 1_000
"""Characters of an exception's own text."""
MAX_SOURCE = 200
"""Characters of a line of source."""

CELL = re.compile(r"<cell (\d+)>")
"""The name that the code of a notebook's cell has as a file."""
_DUMPED = re.compile(r'^  File "([^"\n]+)", line (\d+) in (.+)$', re.MULTILINE)
_DUMP = re.compile(r"^(?:Current thread|Thread) 0x[0-9a-f]+.*\(most recent call first\):$", re.MULTILINE)

Line = dict[str, object]
"""`file` (relative to its module, or `cell 3`), `line`, `function` and `text`."""


class Failed(Exception):
    """The run cannot go on, for a reason that is the author's to fix. The text is the whole message.

    `place`: file, line and function that the message is about, if it was not raised there.
    """

    place: tuple[str, int, str] | None = None


def located(error: BaseException, folders: Mapping[str, str]) -> Line | None:
    """Find the innermost line of the author's own code that led to an exception.

    Args:
        error: the exception, with its traceback.
        folders: the real folders of the modules.

    Returns:
        The line; None if the exception did not pass through the author's code.
    """
    broken = _of_syntax(error, folders)
    if broken is not None:
        return broken
    if isinstance(error, Failed) and error.place is not None:
        file, number, function = error.place
        name = own(file, folders)
        return None if name is None else line(name, number, function, linecache.getline(file, number))
    found = None
    for file, number, function in _frames(error.__traceback__):
        name = own(file, folders)
        if name is not None:
            found = line(name, number, function, linecache.getline(file, number))
    if found is None and error.__cause__ is not None and error.__cause__ is not error:
        return located(error.__cause__, folders)
    return found


def dumped(text: str, folders: Mapping[str, str]) -> Line | None:
    """Find the author's line in what Python prints when the process itself is ended, for instance by a fault in a library."""
    starts = [match.end() for match in _DUMP.finditer(text)]
    current = [match.end() for match in _DUMP.finditer(text) if match.group().startswith("Current")]
    for start in [*current[-1:], *reversed(starts)]:
        for match in _DUMPED.finditer(text[start:].partition("\n\n")[0]):
            file, number, function = match.groups()
            name = own(file, folders)
            if name is not None:
                return line(name, int(number), function, linecache.getline(file, int(number)))
    return None


def own(file: str, folders: Mapping[str, str]) -> str | None:
    """Return the name of a file of the author, relative to its module; None if it is not the author's."""
    cell = CELL.fullmatch(file)
    if cell is not None:
        return f"cell {cell.group(1)}"
    for path in (os.path.realpath(file), file):
        for folder in folders:
            if path.startswith(folder + os.sep):
                return os.path.relpath(path, folder)
    return None


def line(file: str, number: int, function: str, text: str) -> Line:
    """Describe one line of the author's code."""
    return {"file": file, "line": number, "function": function, "text": _cut(text.strip(), MAX_SOURCE)}


def message(error: BaseException, at: Line | None) -> str:
    """Say what happened, and where."""
    if isinstance(error, Failed):
        said = str(error)
    else:
        text = _cut(" ".join(_text(error).split()), MAX_TEXT)  # one line, because it is the last one of the log
        said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return sentence(said, at)


def sentence(said: str, at: Line | None) -> str:
    """Put the place before what is said."""
    if at is None:
        return said
    function = at["function"]
    inside = "" if function in ("<module>", "") else f", in {function}"
    source = f" (line: {at['text']})" if at["text"] else ""
    return f"{at['file']}, line {at['line']}{inside}: {said}{source}"


def reason(error: BaseException) -> str:
    """Return the reason of the run's status. `MemoryError` is also what pyarrow and NumPy raise."""
    return OUT_OF_MEMORY if isinstance(error, MemoryError) else RUN_FAILED


def _of_syntax(error: BaseException, folders: Mapping[str, str]) -> Line | None:
    """The line that cannot be compiled, which no frame has."""
    if not isinstance(error, SyntaxError) or not error.filename or not error.lineno:
        return None
    name = own(error.filename, folders)
    return None if name is None else line(name, error.lineno, "", error.text or linecache.getline(error.filename, error.lineno))


def _frames(traceback: TracebackType | None) -> Iterator[tuple[str, int, str]]:
    while traceback is not None:
        code = traceback.tb_frame.f_code
        yield code.co_filename, traceback.tb_lineno, code.co_name
        traceback = traceback.tb_next


def _text(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg or ""
    try:
        return str(error)
    except Exception as another:  # it is the author's own class
        return f"its text cannot be made: {type(another).__name__}"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[:limit]} ..."
