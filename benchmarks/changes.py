"""A hundred open streams of changes, while nothing changes: the processor's time of the server, with and without them, in one run.

Run: `python benchmarks/changes.py [streams] [seconds]`. The figures are processor time, so a busy machine changes them little.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

DYFF = str(Path(sys.executable).parent / "dyff")
SETTLE_S = 3
"""What a start, or many new connections, cost is over then."""
GOAL = 0.10
"""Of one core."""


def main() -> None:
    """Measure and print."""
    streams = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 60.0
    with tempfile.TemporaryDirectory() as folder:
        command = [DYFF, "serve", "--role", "all", "--data-dir", folder, "--port", "0", "--log-level", "error"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"DYFF_LOGS__FORMAT": "text"})
        try:
            place = urlsplit(endpoint(server))
            account = output("account", "create", "--name", "bench", "--data-dir", folder)
            token = output("token", "create", "--account", account, "--data-dir", folder)
            time.sleep(SETTLE_S)
            idle = share(server.pid, seconds)
            request = f"GET /v0/changes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
            opened = [stream((str(place.hostname), int(place.port or 80)), request) for _ in range(streams)]
            time.sleep(SETTLE_S)
            busy = share(server.pid, seconds)
            received = sum(len(each.recv(2**16)) for each in opened)
            for each in opened:
                each.close()
        finally:
            server.terminate()
            server.wait()
    print(f"without streams: {idle:.2%} of a core; with {streams}: {busy:.2%} (goal: {GOAL:.0%} more); {received} bytes received")


def stream(address: tuple[str, int], request: bytes) -> socket.socket:
    """An open stream, of which the first event has arrived."""
    opened = socket.create_connection(address, timeout=20)
    opened.sendall(request)
    data = b""
    while b"event: open" not in data:
        piece = opened.recv(4096)
        if not piece:
            raise SystemExit(f"no stream, but {data!r}")
        data += piece
    return opened


def share(pid: int, seconds: float) -> float:
    """The part of one core that a process uses, measured for some seconds."""
    before, began = used(pid), time.monotonic()
    time.sleep(seconds)  # real time: what an idle server uses in it is what is measured
    return (used(pid) - before) / (time.monotonic() - began)


def used(pid: int) -> float:
    """The processor time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def endpoint(server: subprocess.Popen[str]) -> str:
    """The address of the server."""
    for line in server.stdout or ():
        if match := re.search(r"API\s+(\S+)", line):
            return match[1]
    raise SystemExit("the server did not start")


def output(*arguments: str) -> str:
    """What a command prints."""
    return subprocess.run([DYFF, *arguments], capture_output=True, text=True, check=True).stdout.strip()


main()
