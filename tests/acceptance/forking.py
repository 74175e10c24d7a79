"""A process that has imported the command `dyff` once, and forks for each command that tests ask for (`forks.py` has their side).

Half of what a short command needs is the import of its modules, and tests start hundreds of them. A fork runs the same function as the
installed program, `dyff.cli.main.main`, with the arguments, the environment, the directory and the outputs that it was given, and ends as a
program does. This file is run as a script by the interpreter of the tested command; it imports nothing of the tests.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys

MODULES = (
    "dyff.cli.main", "dyff.serve.cli", "dyff.serve.administration", "dyff.serve.migrating", "dyff.serve.process", "dyff.api.role",
    "dyff.consumers.informer", "dyff.consumers.orchestrator.role", "dyff.consumers.sink", "dyff.consumers.verification",
    "dyff.operator.controller", "dyff.serve.backups",
)  # fmt: skip
"""What most commands import. What else one needs, it imports itself."""
REQUEST_BYTES = 2**20
_ARGUMENTS = 47
"""The place of the addresses of the command line in `/proc/self/stat`, less the two fields before the last parenthesis."""


def main(control: socket.socket) -> None:
    """Fork for each request until the tests have gone; returns in a fork that has run, and raises its `SystemExit`."""
    for name in MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    waiting = selectors.DefaultSelector()
    waiting.register(control, selectors.EVENT_READ)
    answers: dict[int, tuple[int, socket.socket]] = {}
    while True:
        for key, _ in waiting.select():
            if key.fileobj is not control:
                _report(waiting, *answers.pop(key.fd), key.fd)
                continue
            message, descriptors, _, _ = socket.recv_fds(control, REQUEST_BYTES, 3)
            if not message:
                return
            out, error, answer = descriptors
            child = os.fork()
            if child == 0:
                waiting.close()
                for descriptor, (_, other) in answers.items():
                    other.close()
                    os.close(descriptor)
                control.close()
                os.close(answer)
                _become(json.loads(message), out, error)
                return
            os.close(out)
            os.close(error)
            reply, process = socket.socket(fileno=answer), os.pidfd_open(child)
            reply.sendall(f"{child}\n".encode())
            answers[process] = (child, reply)
            waiting.register(process, selectors.EVENT_READ)


def _report(waiting: selectors.BaseSelector, child: int, reply: socket.socket, process: int) -> None:
    """Say how a fork has ended, in the form of `subprocess`, and how many seconds of processors it took with its own."""
    waiting.unregister(process)
    os.close(process)
    _, status, used = os.wait4(child, 0)
    with reply, contextlib.suppress(BrokenPipeError):  # its test may have gone
        reply.sendall(f"{os.waitstatus_to_exitcode(status)} {used.ru_utime + used.ru_stime}\n".encode())


def _become(request: dict, out: int, error: int) -> None:
    """Run the command in this fork."""
    null = os.open(os.devnull, os.O_RDONLY)
    for descriptor, place in ((null, 0), (out, 1), (error, 2)):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    sys.argv = request["arguments"]
    _show([sys.executable, *sys.argv])
    signal.set_wakeup_fd(-1)
    from dyff.cli.main import main as command

    command()


def _show(command: list[str]) -> None:
    """Let `/proc` show this command line, where that of the process began that it was forked from."""
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    first, last = int(fields[_ARGUMENTS - 2]), int(fields[_ARGUMENTS - 1])
    data = b"".join(each.encode(errors="surrogateescape") + b"\0" for each in command)[: last - first - 1]
    ctypes.memmove(first, data, len(data))
    ctypes.memset(first + len(data), 0, last - first - len(data))


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
