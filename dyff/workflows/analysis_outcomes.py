"""How the program of an analysis ended, as our runner reports it. Pure.

The program runs as the same user as its runner, so nothing here is trusted: all of it is bounded and shown with escapes.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from dyff.workflows import endings

MAX_MESSAGE_CHARS = 2_000
"""Of the last line of the step, which becomes the message of the entity."""

CODES = {"OutOfMemory": endings.OUT_OF_MEMORY, "DeadlineExceeded": endings.DEADLINE_EXCEEDED}
"""The exit code by reason; for all others, the program itself failed."""

_Text = Annotated[str, msgspec.Meta(max_length=2**20)]
_Short = Annotated[str, msgspec.Meta(max_length=1024)]
_Int = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class Line(msgspec.Struct, frozen=True):
    """Where the author's own code failed. `function`, `text`: None if not known."""

    file: _Text
    line: _Int
    function: _Text | None = None
    text: _Text | None = None


class Environment(msgspec.Struct, frozen=True):
    """What ran. `packages`: versions by name. `digest`: SHA-256 of the environment; None if not known."""

    python: _Short | None = None
    packages: Annotated[dict[_Short, _Short], msgspec.Meta(max_length=10_000)] = {}
    digest: _Short | None = None


class Outcome(msgspec.Struct, frozen=True):
    """The contents of `outcome.json`. Times are texts in the form of ISO 8601. None means that the runner did not say."""

    status: Literal["Succeeded", "Failed"]
    reason: _Text | None = None
    message: _Text | None = None
    attempt: _Short | None = None
    environment: Environment = Environment()
    started: _Short | None = None
    ended: _Short | None = None
    machine: dict[_Short, _Short | _Int | float | bool | None] = {}
    seed: _Int | None = None
    line: Line | None = None


def read(data: bytes | None) -> Outcome:
    """Decode `outcome.json`; None if there is none.

    Raises:
        ValueError: it is not one; the message is the end of a sentence.
    """
    if data is None:
        raise ValueError("it left no outcome.json")
    try:
        return msgspec.json.decode(data, type=Outcome)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"its outcome.json cannot be read ({error})") from error


def failure(outcome: Outcome) -> endings.Ending:
    """The end of the step for a program that failed. Its last line names the file and the line of the author's code, if they are known."""
    message = (outcome.message or "").strip() or "The code of the method failed. Its log has the details."
    line = outcome.line
    if line is not None and not (line.file.rpartition("/")[2] in message and str(line.line) in message):
        where = f" ({line.file}, line {line.line}{f', in {line.function}' if line.function else ''})"
        message = shown(message, MAX_MESSAGE_CHARS - min(len(where), 400)) + where[:400]
    return endings.Ending(CODES.get(outcome.reason or "", endings.RUN_FAILED), shown(message))


def shown(text: str, most: int = MAX_MESSAGE_CHARS) -> str:
    """The beginning of a text from outside, in one line, with escapes for what is not printed."""
    cut = "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text[: most + 1])
    return cut if len(cut) <= most else f"{cut[: most - 3]}..."
