"""The template: a process with one thread that has imported the shim and our steps, and forks a shim for every request.

A forked shim needs milliseconds where a new interpreter needs a tenth of a second, and more than half a second with Arrow. It is a
child of the server, reads requests from a socket, and ends when the server does, which closes the socket. It holds no lock and no
state: if it is killed, its shims and their containers live on, and the server starts another one.

Run it as `python -P -m dyff.cluster.pods.shim.template SOCKET MODULE PADDING`. SOCKET: the number of the descriptor. MODULE: has a
function `prepare` that imports what steps need; empty for none. A request is one message: JSON with `directory` and `run`, and two
descriptors: the pipe for the reply of `main.serve`, and the file for what the shim writes to its standard error.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import socket
import sys
import traceback

from dyff.cluster.pods.shim import forked, main, output, processes, titles

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    from typing import NoReturn

MAX_REQUEST_BYTES = 64 * 1024
_DESCRIPTORS = 2
_USED_BY_SHIMS = ("ctypes", "resource", "struct", "dyff.cluster.pods.shim.outside", "dyff.cluster.pods.shim.sandbox")
"""What shims import only if they need it, which is in every sandbox."""


def serve(requests: socket.socket) -> None:
    """Fork a shim for each request, until the other end is closed."""
    awake = _wake_at_child_ends()
    poll = select.poll()
    poll.register(requests, select.POLLIN)
    poll.register(awake, select.POLLIN)
    while True:
        ready = dict(poll.poll())
        if awake in ready:
            os.read(awake, 512)
        _reap()
        if requests.fileno() in ready:
            message, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST_BYTES, _DESCRIPTORS)
            if not message:
                return
            if len(descriptors) == _DESCRIPTORS and os.fork() == 0:
                _be_shim(json.loads(message), *descriptors)
            for each in descriptors:
                os.close(each)


def _be_shim(request: dict[str, object], reply: int, errors: int) -> NoReturn:
    """Run the shim in a process that was forked for it."""
    code = 1
    try:
        directory, run = str(request["directory"]), int(str(request["run"]))
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(errors, 2)
        os.set_inheritable(reply, False)
        _close_all_but(reply)
        home = {"HOME": os.path.join(directory, "work")}
        # First of all it becomes recognizable as a process of this pod, also if the directory is lost.
        forked.replace_environment(home)
        titles.show(["dyff-shim", directory], home)
        processes.name_self("dyff-shim")
        main.serve(directory, run, reply)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _close_all_but(kept: int) -> None:
    os.closerange(3, kept)
    os.closerange(kept + 1, os.sysconf("SC_OPEN_MAX"))


def _wake_at_child_ends() -> int:
    awake, wake = os.pipe()
    for descriptor in (awake, wake):
        os.set_blocking(descriptor, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    return awake


def _reap() -> None:
    """Reap the shims that have ended, so that their CPU time is counted and their process IDs are free again."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def run(descriptor: int, module: str) -> None:
    """Prepare, then serve.

    Raises:
        SystemExit: this process cannot be a template; the message says why.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = socket.socket(fileno=descriptor)
    if min(titles.room()) < titles.COMMAND_BYTES:
        raise SystemExit("the template cannot rename its processes on this system; pods are started without it")
    if module:
        forked.prepare(module)
    # Imported now, since the first use of each would otherwise be in every shim.
    for name in _USED_BY_SHIMS:
        importlib.import_module(name)
    output.stamp(0)
    processes.boot()
    threads = os.listdir("/proc/self/task")
    if len(threads) > 1:
        # Only the forking thread exists in a forked process; what the others held or were doing would be lost.
        raise SystemExit(f"the template has {len(threads)} threads, so it cannot fork; pods are started without it")
    forked.replace_environment({"LANG": forked.LANGUAGE})
    titles.show(["dyff-template"], {})
    gc.collect()
    gc.freeze()  # otherwise a collection in a forked process would write to, and so copy, the memory that it shares
    serve(requests)


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2])
