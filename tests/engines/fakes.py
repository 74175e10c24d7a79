"""A recipe whose server is a few lines of Python."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path

from dyff.cluster.pods.shim import processes
from tests import waiting
from tests.engines.recipes import Place, Recipe

SERVER = """
import os, socket, subprocess, sys
child = subprocess.Popen(["sleep", "1000"])
open("child.pid", "w").write(str(child.pid))
print("a line of the log", flush=True)
if sys.argv[2] == "ends":
    sys.exit(3)
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
os.makedirs("data", exist_ok=True)
while True:
    connection, _ = listening.accept()
    with connection, open("data/visits", "a+") as file:
        file.write("visit.")
        file.seek(0)
        connection.sendall(b"no" if sys.argv[2] == "refuses" else file.read().encode())
"""


class FakeRecipe(Recipe):
    """Answers with one "visit." for each connection that its data directory has seen."""

    name = "fake"
    variable = "DYFF_TEST_FAKE"
    adapters = ("bus:fake",)
    title = "Fake 1.0"

    def __init__(self, folder: Path, behaviour: str = "answers") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "server.py").write_text(SERVER)
        self.folder = folder
        self.behaviour = behaviour
        self.builds = 0

    def build(self, target: Path) -> None:
        self.builds += 1
        (target / "server.py").write_bytes((self.folder / "server.py").read_bytes())

    def command(self, place: Place) -> list[str]:
        return [sys.executable, str(place.built / "server.py"), str(place.ports["server"]), self.behaviour]

    def address(self, place: Place) -> str:
        return f"127.0.0.1:{place.ports['server']}"

    def check(self, address: str) -> None:
        if not visits(address):
            raise ValueError("it says no")


def is_there(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for has ended all the same."""
    return processes.started(pid) is not None


def wait_until_gone(*pids: int) -> None:
    """Until none of these processes runs."""
    end = time.monotonic() + 20
    while any(is_there(pid) for pid in pids):
        assert time.monotonic() < end, f"still there: {[pid for pid in pids if is_there(pid)]}"
        waiting.a_blocking_moment()


def visits(address: str) -> int:
    """How many connections the server's data have seen, with this one."""
    host, _, port = address.partition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection, connection.makefile("rb") as file:
        return file.read().count(b"visit.")
