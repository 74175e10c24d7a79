"""What became of a run: from the child's report, how it ended, and what it printed last."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from . import failures, places
from .child import REPORT_BYTES, Running

Outcome = dict[str, Any]
"""`status`, `reason`, `message` and `line`."""

KILLED = 12
"""The exit code of a run whose container has lost a process to the kernel: the step after it will not start. The operator knows it."""

SUCCEEDED: Outcome = {"status": "Succeeded", "reason": "", "message": "", "line": None}
_MEANINGS = {
    signal.SIGSEGV: "it used memory that is not its own, which is a fault in a library, or in how the code uses it",
    signal.SIGBUS: "it read a file that has become shorter, or the disk is full",
    signal.SIGFPE: "an impossible calculation in a library",
    signal.SIGILL: "an instruction that this processor does not have: a library was built for another one",
    signal.SIGABRT: "a library gave up",
    signal.SIGSYS: "a system call that is not allowed here",
    signal.SIGXFSZ: "a file became larger than it may be",
}


def judged(ended: Running, printed: str, place: places.Place) -> Outcome:
    """Decide what became of a run.

    Args:
        ended: the child.
        printed: the end of the log.
        place: where the modules are.
    """
    folders = place.module_folders()
    at = failures.dumped(printed, folders)
    if ended.timed_out:
        said = f"it did not end within {place.limits.timeout_s:g} seconds"
        return failed(failures.DEADLINE, failures.sentence(said, at), at)
    report = _report(bytes(ended.reported))
    if report is not None:
        return report
    status = ended.status or 0
    if not os.WIFSIGNALED(status):
        code = os.waitstatus_to_exitcode(status)
        return failed(
            failures.RUN_FAILED, f"the process ended with exit code {code} before the code had finished, for instance by os._exit()", None
        )
    number = signal.Signals(os.WTERMSIG(status))
    exhausted = number == signal.SIGKILL or (number == signal.SIGABRT and ("bad_alloc" in printed or "MemoryError" in printed))
    if exhausted:
        said = f"the process was killed, because it used more memory than {_most(place)}"
        return failed(failures.OUT_OF_MEMORY, failures.sentence(said, at), at)
    meaning = _MEANINGS.get(number)
    said = f"the process was ended by {number.name}" + (f": {meaning}" if meaning else "")
    return failed(failures.RUN_FAILED, failures.sentence(said, at), at)


def killed(place: places.Place) -> Outcome:
    """Return the outcome of a run of which the kernel has ended some process, whatever the code made of that."""
    return failed(
        failures.OUT_OF_MEMORY, f"a process of the code was killed, because all together used more memory than {_most(place)}", None
    )


def failed(reason: str, message: str, at: failures.Line | None) -> Outcome:
    """Return the outcome of a run that failed. All its text can be encoded, whatever the code has put into it."""
    shown = None if at is None else {name: _encodable(value) if isinstance(value, str) else value for name, value in at.items()}
    return {"status": "Failed", "reason": _encodable(reason), "message": _encodable(message), "line": shown}


def _most(place: places.Place) -> str:
    limit = place.limits.memory_bytes
    return "what the machine has" if limit is None else f"{limit} bytes"


def _encodable(text: str) -> str:
    """Show halves of surrogate pairs by their numbers: JSON can have them, and UTF-8 cannot."""
    return text.encode("utf-8", "backslashreplace").decode()


def _report(reported: bytes) -> Outcome | None:
    """Read the child's report; None if there is none that can be read."""
    if not reported or len(reported) > REPORT_BYTES:
        return None
    try:
        document = json.loads(reported)
    except ValueError:
        return None
    if not isinstance(document, dict) or document.get("status") not in ("Succeeded", "Failed"):
        return None
    if document["status"] == "Succeeded":
        return dict(SUCCEEDED)
    line = document.get("line")
    return failed(str(document.get("reason")), str(document.get("message")), line if isinstance(line, dict) else None)
