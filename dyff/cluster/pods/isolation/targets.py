"""What the attacks of `shim.attacks` try to reach: a file, a folder, a process, ports and sockets, placed only for that.

A sandbox holds if nothing of it was reached: neither by what the attacks report, nor by what arrived at the sockets.
"""

from __future__ import annotations

import json
import os
import secrets
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from dyff.cluster.pods.shim import processes

BOOT = """
import sys, types
root, name = sys.argv.pop(1), ""
for part in ("dyff", "cluster", "pods", "shim"):
    name = f"{name}.{part}".lstrip(".")
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [root + "/" + name.replace(".", "/")]
from dyff.cluster.pods.shim.attacks import __main__
__main__.main()
"""
"""For `python -I -S -c`, followed by the folder that contains `dyff`, and by `Targets.arguments`. The program finds its modules even if it
can list no folder above `shim`.
"""
MAX_ANSWER_BYTES = 1 << 20
_VARIABLE = "DYFF_TARGET_WORD"
_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
_OUTSIDE_PORT = 80


class Targets:
    """The placed targets. `facts`: where they are, as the attacks get it."""

    def __init__(self, facts: dict[str, Any], arrivals: list[str]) -> None:
        self.facts, self._arrivals = facts, arrivals

    def arguments(self, *names: str) -> list[str]:
        """The arguments of the attacks' program. `names`: of the attacks; none for all."""
        return [json.dumps(self.facts), *names]

    def reached(self, output: str) -> dict[str, str]:
        """What was reached, by the name of the attack. Empty if the sandbox holds.

        `output`: of the attacks' program. If it is not what that program prints, the sandbox counts as not held, since the attacks were
        possibly never tried.
        """
        line = output.strip().rpartition("\n")[2]
        try:
            answer = json.loads(line) if len(line) <= MAX_ANSWER_BYTES else None
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or not answer:
            return {"attacks": f"the program with the attacks did not run to its end; its last words: {output[-500:]!r}"}
        found = {name: str(what) for name, what in answer.items() if what}
        return found | ({"arrivals": ", ".join(sorted(set(self._arrivals)))} if self._arrivals else {})


@contextmanager
def placed(*, outside: tuple[str, ...] = ()) -> Iterator[Targets]:
    """Place the targets, and remove them afterwards. Blocks on the disk; starts a process and a thread.

    `outside`: addresses of other machines, to which connections are tried.

    Raises:
        OSError: the machine refuses something that the server itself needs.
    """
    word = f"target-{secrets.token_hex(16)}"
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="dyff-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        secret = folder / "secret"
        secret.write_text(word)
        secret.chmod(0o600)
        (folder / "other").mkdir(mode=0o700)
        shared = _shared(word, stack)
        victim = _victim(word, stack)
        arrivals: list[str] = []
        listeners, where = _listeners(folder, stack)
        _watch(listeners, arrivals, stack)
        facts = {
            "word_backwards": word[::-1],
            "variable": _VARIABLE,
            "secret": str(secret),
            "secret_name": secret.name,
            "folder": str(folder / "other"),
            "shm_name": shared,
            "pid": victim,
            "ticks": processes.started(victim),
            "key": secrets.randbits(30) + 1,
            "ipc": _namespace("ipc"),
            "network": _namespace("net"),
            "outside": list(outside),
            "outside_port": _OUTSIDE_PORT,
            "unix_others": [
                path for path in ("/run/docker.sock", "/run/dbus/system_bus_socket", "/run/systemd/notify") if os.path.exists(path)
            ],
            **where,
        }
        yield Targets(facts, arrivals)


def _namespace(name: str) -> int:
    try:
        return os.stat(f"/proc/self/ns/{name}").st_ino
    except OSError:
        return 0


def _shared(word: str, stack: ExitStack) -> str:
    """A file in the machine's shared memory. Returns its name."""
    name = f"dyff-{secrets.token_hex(8)}"
    path = Path("/dev/shm", name)
    with suppress(OSError):
        path.write_text(word)
        path.chmod(0o666)
        stack.callback(path.unlink, missing_ok=True)
    return name


def _victim(word: str, stack: ExitStack) -> int:
    """A process with a secret in its environment. Returns its process ID."""
    waiting = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={_VARIABLE: word},
        cwd="/",
        start_new_session=True,
    )
    stack.callback(waiting.__exit__, None, None, None)
    stack.callback(waiting.kill)
    return waiting.pid


def _listeners(folder: Path, stack: ExitStack) -> tuple[dict[socket.socket, str], dict[str, Any]]:
    """Sockets at which an attack can arrive, with what they are, and where they are."""
    found: dict[socket.socket, str] = {}
    port = 0
    for family, address in _LOOPBACK:
        with suppress(OSError):
            listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.bind((address, port))
            listener.listen()
            port = listener.getsockname()[1]
            found[listener] = f"a TCP connection at {address}"
            receiver = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            receiver.bind((address, port))
            found[receiver] = f"a datagram at {address}"
    free = stack.enter_context(socket.socket())
    free.bind(("127.0.0.1", 0))
    free_port = free.getsockname()[1]
    free.close()
    stream = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    datagram = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    abstract = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    names = {stream: str(folder / "s"), datagram: str(folder / "d"), abstract: f"\0dyff-{secrets.token_hex(8)}"}
    for each, name in names.items():
        each.bind(name)
        if each.type == socket.SOCK_STREAM:
            each.listen()
        found[each] = "something at a Unix socket"
    where = {"unix": names[stream], "unix_datagram": names[datagram], "abstract": names[abstract][1:]}
    return found, {**where, "port": port, "free_port": free_port, "addresses": []}


def _watch(listeners: dict[socket.socket, str], arrivals: list[str], stack: ExitStack) -> None:
    """Note what arrives, in a thread, until the stack is closed."""
    stop, stopped = socket.socketpair()
    selector = stack.enter_context(selectors.DefaultSelector())
    for each, words in listeners.items():
        each.setblocking(False)
        selector.register(each, selectors.EVENT_READ, words)
    selector.register(stopped, selectors.EVENT_READ)

    def note() -> None:
        while True:
            for key, _ in selector.select():
                if key.data is None:
                    return
                arrivals.append(key.data)
                _take(key.fileobj)  # type: ignore[arg-type]

    thread = threading.Thread(target=note, name="targets", daemon=True)
    thread.start()
    stack.callback(stopped.close)
    stack.callback(thread.join)
    stack.callback(stop.close)


def _take(arrived: socket.socket) -> None:
    with suppress(OSError):
        if arrived.type == socket.SOCK_STREAM:
            arrived.accept()[0].close()
        else:
            arrived.recv(4096)
