"""The server's side of the template process (`shim.template`): starts it, asks it for shims, and does without it when it is gone.

Everything here blocks and can be called from several threads.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import threading
import time
from pathlib import Path

import structlog

from dyff.cluster.pods import environment
from dyff.cluster.pods.shim import forked, titles
from dyff.kernel import backoff

log = structlog.get_logger()

STEPS_MODULE = forked.MODULE
ANSWER_S = 30.0
"""How long to wait for a shim from the template. It is long because the first request also waits for the template's own start."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0
"""How long a template that ended is not started again: at first, and after several in a row."""
_END_S = 5.0


class Template:
    """At most one living template process. `pid`: its process ID; None if there is none."""

    def __init__(self, python: str, errors: Path, module: str = STEPS_MODULE, *, first_pause_s: float = FIRST_PAUSE_S) -> None:
        """`python`: the interpreter. `errors`: the file for its standard error. `module`: see `shim.template`; empty for none.

        `first_pause_s`: how long a template that ended is not started again, the first time; then longer and longer.
        """
        self._python, self._errors, self._module = python, errors, module
        self._guard = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self._first_pause_s = first_pause_s
        self._pauses = backoff.delays(first_pause_s, ceiling_s=LONGEST_PAUSE_S)
        self._not_before = 0.0
        self._closed = False

    @property
    def pid(self) -> int | None:
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def ensure(self) -> bool:
        """Start a template if none lives, unless too many have ended. Returns whether one lives. It is not waited for."""
        with self._guard:
            return self._ensure()

    def request(self, directory: Path, run: int, errors: int) -> int | None:
        """Let the template start a pod's shim, and wait for its answer: one of the exit codes of `shim.main`.

        `errors`: the descriptor for the shim's standard error. Returns None if there is no answer. The run may have been started
        nevertheless; starting it again in another way is safe, because the pod's lock and record allow each run only once.
        """
        message = json.dumps({"directory": str(directory), "run": run}).encode()
        awaited, reply = os.pipe()
        try:
            with self._guard:
                sent = self._ensure() and self._send(message, [reply, errors])
            os.close(reply)
            reply = -1
            return self._answer(awaited) if sent else None
        finally:
            os.close(awaited)
            if reply >= 0:
                os.close(reply)

    def close(self) -> None:
        """End the template, for good. Shims that it started are not affected."""
        with self._guard:
            self._closed = True
            self._end()

    def _ensure(self) -> bool:
        if self._process is not None and self._process.poll() is None:
            return True
        now = time.monotonic()
        if self._process is not None:
            log.warning("the template of pods has ended; pods are started without it meanwhile", exit_code=self._process.returncode)
            self._end()
            self._not_before = now + next(self._pauses)
        if self._closed or now < self._not_before:
            return False
        return self._start()

    def _start(self) -> bool:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [
            self._python,
            "-P",
            "-m",
            "dyff.cluster.pods.shim.template",
            str(theirs.fileno()),
            self._module,
            "-" * titles.COMMAND_BYTES,
        ]
        # Arrow's second allocator starts a thread as soon as it is loaded, which must not be; Arrow uses another one.
        env = {"PATH": environment.PATH, "LANG": forked.LANGUAGE, "JE_ARROW_MALLOC_CONF": "background_thread:false"}
        try:
            with theirs, open(self._errors, "wb") as errors:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=errors,
                    env={**env, titles.PADDING: "-" * titles.ENVIRONMENT_BYTES},
                    cwd="/",
                    start_new_session=True,
                    pass_fds=[theirs.fileno()],
                )
        except OSError as error:
            ours.close()
            log.warning("the template of pods cannot be started; pods are started without it", error=str(error))
            self._not_before = time.monotonic() + next(self._pauses)
            return False
        ours.settimeout(ANSWER_S)
        self._requests = ours
        return True

    def _send(self, message: bytes, descriptors: list[int]) -> bool:
        assert self._requests is not None
        try:
            socket.send_fds(self._requests, [message], descriptors)
        except OSError:  # it has just ended, or it takes no requests
            self._kill()
            return False
        return True

    def _answer(self, awaited: int) -> int | None:
        poll = select.poll()
        poll.register(awaited, select.POLLIN)
        if not poll.poll(ANSWER_S * 1000):
            log.warning("the template of pods does not answer; it is ended")
            with self._guard:
                self._kill()
            return None
        answer = os.read(awaited, 1)
        if not answer:
            return None
        self._pauses = backoff.delays(self._first_pause_s, ceiling_s=LONGEST_PAUSE_S)
        return answer[0]

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def _end(self) -> None:
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        if self._process is not None:
            self._process.kill()
            self._process.wait(_END_S)
            self._process = None
