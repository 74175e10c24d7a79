"""How a step ends: its exit code, its last line, and what SIGTERM does.

The last line that a step prints says what failed and what to do. The operator uses it as the status message.

    0     done
    1, 2, 4 or a sum      verification: wrong output, missing output, duplicate output
    10    evaluation client: no answer of the service fits, or earlier outputs cannot be read or are there twice
          analysis: the author's code failed
    11    analysis: its output does not fit what its method declares
    12    analysis: the author's code needed more memory than it may use
    13    analysis: the author's code took longer than it may
    20    evaluation client: incomplete: items were given up, or the time limit was reached, or a pause would end after it
    64    the command line is wrong
    65    a dataset, a source of a model or an input of an analysis is wrong, damaged or gone, or an item does not fit the input pipeline
    69    the service never became ready, or failed more often than allowed
    70    a defect in Dyff; the traceback is above the last line
    75    something else failed that may work next time (the object store or the source of a model does not answer)
    76    the service refused a request and the policy is to abort, or it does not serve the endpoint
    78    the manifest, the environment or a pipeline is wrong
    143   stopped by SIGTERM; the next attempt resumes at the missing items

A retry of the step can help after 20, 69, 70, 75 and 143.
"""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import NoReturn

import anyio

from dyff.kernel import errors

WRONG_OUTPUT, MISSING, DUPLICATES = 1, 2, 4
OUTPUT_ERROR = 10
RUN_FAILED, OUTPUT_INVALID, OUT_OF_MEMORY, DEADLINE_EXCEEDED = 10, 11, 12, 13
INCOMPLETE = 20
USAGE = 64
WRONG_DATA = 65
UNAVAILABLE = 69
DEFECT = 70
TRY_AGAIN = 75
REFUSED = 76
MISCONFIGURED = 78
STOPPED = 143


class Ending(Exception):
    """The step ends early, for an expected reason."""

    def __init__(self, code: int, message: str) -> None:
        """`code`: one of those above. `message`: what failed and what to do."""
        super().__init__(message)
        self.code = code


class Arguments(argparse.ArgumentParser):
    """A step's command line. It replaces argparse's exit code for mistakes, 2, which would mean that outputs are missing."""

    def error(self, message: str) -> NoReturn:
        raise Ending(USAGE, f"{message}; {self.format_usage().strip()}")


def say(line: str) -> None:
    """Print one event as one line, and flush it."""
    text = line.replace("\n", " ").encode(errors="backslashreplace").decode()  # half a surrogate pair could not be written
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def run(step: Callable[[], Awaitable[None]]) -> int:
    """Run the step and return its exit code. If it did not succeed, print its last line."""
    try:
        anyio.run(_watched, step, backend_options={"use_uvloop": True})
    except BaseException as error:
        code, message = _code_and_message(error)
        if code == DEFECT:
            traceback.print_exception(error, file=sys.stdout)
        if code:
            say(message)
        return code
    return 0


async def _watched(step: Callable[[], Awaitable[None]]) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_stop_at_signal)
        await step()
        tasks.cancel_scope.cancel()


async def _stop_at_signal() -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            raise Ending(STOPPED, f"Stopped by {number.name}; the next attempt resumes at the missing items.")


def _code_and_message(error: BaseException) -> tuple[int, str]:
    """The exit code and last line for the error that ended a step. Among several errors, the first expected one counts."""
    leaves = list(_leaves(error))
    for leaf in leaves:
        if isinstance(leaf, Ending):
            return leaf.code, str(leaf)
    if isinstance(leaves[0], SystemExit) and not leaves[0].code:
        return 0, "it was asked for help"
    for leaf in leaves:
        if isinstance(leaf, errors.Misconfigured | errors.FixRequest):
            return MISCONFIGURED, leaf.message
        if isinstance(leaf, errors.Damaged):
            return WRONG_DATA, f"{leaf.message}."
        if isinstance(leaf, errors.RetryLater | errors.OutcomeUnknown):
            return TRY_AGAIN, f"{leaf.message}. Try again."
    return DEFECT, f"The step failed unexpectedly: {type(leaves[0]).__name__}: {leaves[0]}. The log has the traceback; please report it."


def first(error: BaseException) -> BaseException:
    """Return the first error that is not a group, inside `error` or `error` itself."""
    return _leaves(error)[0]


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]
