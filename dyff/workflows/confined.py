"""A child process that reads untrusted bytes under limits of its own: such bytes can crash a reader, or make it use any memory or time.

It is forked, so that it costs milliseconds. So it must be started before this process has an event loop or threads.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

MAX_MEMORY_BYTES = 2**30
"""In addition to what this process has already."""
MAX_CPU_S = 300
MAX_ANSWER_BYTES = 2**16

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Died(Exception):
    """The child ended without an answer: the bytes made it crash, or use more than it may."""


class Child:
    """The child process. A context manager, at whose end it does not exist any more."""

    def __init__(self, work: Callable[[bytes], bytes]) -> None:
        """`work`: what it does with the one request that it gets; the result has at most `MAX_ANSWER_BYTES`."""
        requests, to_child = os.pipe()
        from_child, answers = os.pipe()
        sys.stdout.flush()  # or the child could print again what is waiting
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # about threads: in a step there are none yet
            pid = os.fork()
        if pid == 0:
            os.close(to_child)
            os.close(from_child)
            _serve(work, requests, answers)
        self._pid = pid
        os.close(requests)
        os.close(answers)
        self._requests, self._answers = open(to_child, "wb", buffering=0), open(from_child, "rb")  # noqa: SIM115  # see `__exit__`

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        os.kill(self._pid, signal.SIGKILL)  # until it is waited for, its number is not used again
        os.waitpid(self._pid, 0)
        self._requests.close()
        self._answers.close()

    def ask(self, request: bytes) -> bytes:
        """Send the request and wait for the answer. Only once. Blocking.

        Raises:
            Died: there is none.
        """
        with contextlib.suppress(BrokenPipeError):
            rest = memoryview(request)
            while rest:
                rest = rest[self._requests.write(rest) :]
        self._requests.close()
        answer = self._answers.read(MAX_ANSWER_BYTES + 1)
        if not answer or len(answer) > MAX_ANSWER_BYTES:
            raise Died
        return answer


def _serve(work: Callable[[bytes], bytes], requests: int, answers: int) -> None:
    """Never returns: what follows in the caller belongs to the parent."""
    code = 1
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        with open(requests, "rb") as pipe:
            request = pipe.read()
        if request:
            _limit()
            answer = work(request)
            with open(answers, "wb") as pipe:
                pipe.write(answer)
        code = 0
    finally:
        os._exit(code)


def _limit() -> None:
    limits = [(resource.RLIMIT_CPU, MAX_CPU_S), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)]
    with contextlib.suppress(OSError):  # only Linux says how large this process is, and only there the limit holds
        pages = int(Path("/proc/self/statm").read_bytes().split()[0])
        limits.append((resource.RLIMIT_AS, pages * _PAGE + MAX_MEMORY_BYTES))
    for what, amount in limits:
        _, hard = resource.getrlimit(what)
        most = amount if hard == resource.RLIM_INFINITY else min(amount, hard)
        resource.setrlimit(what, (most, most))
