"""Run a server and let nothing of it outlive its caller: `python supervise.py COMMAND`, with a pipe as standard input.

The runner holds the other end of the pipe. When that closes, because the runner wants it or because it was killed, the
server is killed with everything that it started: its data are thrown away, so there is nothing to end in order. This
program leads their process group. It needs the standard library only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Be killed when `parent` ends, however it ends; on Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _end_with_input() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


def main() -> None:
    """Start, wait, and leave with the whole group."""
    me = os.getpid()
    server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, preexec_fn=lambda: die_with(me))  # if this program is killed
    with open("server.pid", "w") as file:
        file.write(str(server.pid))
    threading.Thread(target=_end_with_input, daemon=True).start()
    sys.stdout.write(f"the server ended with {server.wait()}\n")
    sys.stdout.flush()
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
