"""A container in a sandbox: what the shim does before it forks, in the child, and while the sandbox is made."""

from __future__ import annotations

import json
import marshal
import os
import select
import socket
import time
from contextlib import suppress

from dyff.cluster.pods.shim import bubblewrap, door, folders, landlock, launcher, processes

TYPE_CHECKING = False  # see `files`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from dyff.cluster.pods.shim import files

MAKING_S = 30.0
"""The longest time in which a sandbox must be made, before its program starts."""
_HOST_NAME_BYTES = 63
PROXY_PORT = 3128
"""Of the loopback interface in a sandbox of the tier bubblewrap."""
ALIVE = b"+"
"""The launcher's first byte: the sandbox was made, and what follows is an error of the program."""
MADE_NOT = "its sandbox could not be made; shim.log in the pod's directory says why, and `dyff doctor isolation` what to do"
_BOOT = (
    "import os, sys; folder = sys.argv[1]; plan, report, out = map(int, sys.argv[2:]); os.dup2(out, 1); os.dup2(out, 2); "
    "os.write(report, b'+'); import marshal; given = marshal.load(open(plan, 'rb')); sys.path.append(folder); "
    "from dyff.cluster.pods.shim import launcher; launcher.become(given, report)"
)
"""Imports as little as possible: reading JSON would take longer than everything else.

The output of Bubblewrap itself, which names paths of the server, goes to shim.log; only that of the program is the container's."""
_CODE = "/opt/dyff/code"


def of(directory: str, spec: files.Json) -> Sandbox:
    """The sandbox of a container. `directory`: the pod's. `spec`: one entry of the intent's `containers`, with a confinement."""
    return Bubble(directory, spec) if spec["confinement"]["tier"] == "bubblewrap" else Sandbox(directory, spec)


class Sandbox:
    """The sandbox of one container. This class is that of the tier landlock, in which nothing is made: a process gives up what it can."""

    def __init__(self, directory: str, spec: files.Json) -> None:
        """Nothing is done yet."""
        self._directory, self._spec = directory, spec
        self._confinement: files.Json = spec["confinement"]
        self._proxy_port = 0

    def prepare(self) -> None:
        """Make the folders, and give them to the pod's user.

        Raises:
            OSError: the disk is full, or a program has put a link in the place of a folder.
        """
        for source in self._folders().values():
            folders.make(source)
        volumes = os.path.join(self._directory, "volumes")
        for bind in self._confinement["volumes"]:
            folders.make_below(volumes, os.path.relpath(bind["source"], volumes))
        self._make_mount_points()
        uid = self._confinement["uid"]
        if uid is not None:
            for source in (*self._folders().values(), *(bind["source"] for bind in self._confinement["volumes"])):
                folders.give(source, uid)

    def _make_mount_points(self) -> None:
        uid = self._confinement["uid"]
        if uid is not None:
            folders.open_way(self._directory, uid)
        if self._to_outside:
            with socket.create_server(("127.0.0.1", 0)) as entrance:
                self._proxy_port = entrance.getsockname()[1]
                self._fork_proxy(entrance)

    @property
    def _to_outside(self) -> bool:
        return self._confinement["network"] == "outside" or bool(self._connect)

    @property
    def _connect(self) -> list[str]:
        return list(self._confinement.get("connect", ()))  # an earlier release wrote none

    def _fork_proxy(self, entrance: socket.socket) -> None:
        from dyff.cluster.pods.shim import outside

        granted = outside.granted(self._confinement["network"], self._connect)
        outside.fork(entrance, self._confinement["uid"], granted)

    def become(self, out: int, report: int) -> NoReturn:
        """Turn the forked child into the confined program. `out`: the container's output. `report`: for errors.

        Raises:
            OSError: it cannot be confined.
        """
        os.dup2(out, 1)
        os.dup2(out, 2)
        launcher.become({**self._plan(), "landlock": self._rules(), "parent": os.getppid()}, report)

    def attend(self, join: Callable[[int], None]) -> None:
        """While the sandbox is made: do what only the shim can do. `join`: puts a process into the container's control groups.

        Raises:
            OSError: the sandbox could not be made.
        """

    def signal(self, number: int) -> bool:
        """Send a signal to the program's process group. Returns False if that is the container's own group."""
        return False

    def trouble(self, words: bytes) -> str:
        """What `words`, all that was reported until the program ran, say about a failure; an empty text if it runs."""
        return words.decode(errors="replace")

    def _folders(self) -> dict[str, str]:
        """The pod's writable folders, by path in a sandbox of the tier bubblewrap."""
        inside = {"work": bubblewrap.HOME, "tmp": "/tmp", "shm": "/dev/shm"}
        return {path: os.path.join(self._directory, name) for name, path in inside.items()}

    def _plan(self) -> files.Json:
        """What the launcher does."""
        confinement = self._confinement
        wanted = {name: self._spec[name] for name in ("argv", "env", "cwd")}
        if self._to_outside:
            from dyff.cluster.pods.shim import outside

            wanted["env"] = {**outside.environment(self._proxy_port), **wanted["env"]}
        return {**wanted, "uid": confinement["uid"], "limits": confinement["limits"], "filter": confinement["filter"]}

    def _rules(self) -> files.Json:
        confinement = self._confinement
        volumes = {each["source"]: each["read_only"] for each in confinement["volumes"]}
        system = [each["source"] for each in confinement["system"]]
        real = os.path.realpath(self._directory)

        def below(path: str) -> str:
            """Resolve links above the pod's own folder only: what is inside can come from a program."""
            return real + path.removeprefix(self._directory)

        return {
            "system": [*landlock.SYSTEM_FILES, *system],
            "read": [below(path) for path, read_only in volumes.items() if read_only],
            "write": [below(path) for path in (*self._folders().values(), *(path for path in volumes if not volumes[path]))],
            "devices": list(landlock.DEVICES),
            "bind": [confinement["port"]] if confinement["port"] is not None else [],
            "connect": [self._proxy_port] if self._to_outside else [],
        }


class Bubble(Sandbox):
    """The sandbox of one container in the tier bubblewrap."""

    def __init__(self, directory: str, spec: files.Json) -> None:
        super().__init__(directory, spec)
        self._info, self._info_out = os.pipe()
        self._blocked, self._unblock = os.pipe()
        self._first = 0
        self._proxy_port = PROXY_PORT

    def _make_mount_points(self) -> None:
        """Make the folders at which one mount is in another, since Bubblewrap would follow links on the way."""
        outer = dict(self._folders())
        for bind in self._confinement["volumes"]:
            above = bubblewrap.above(bind["target"], outer)
            if above is not None:
                folders.make_below(outer[above], bind["target"][len(above) + 1 :])
            outer[bind["target"]] = bind["source"]
        for bind in self._confinement["system"]:
            above = bubblewrap.above(bind["target"], outer)
            if above is not None:
                make = folders.make_below if os.path.isdir(bind["source"]) else folders.make_file_below
                make(outer[above], bind["target"][len(above) + 1 :])

    def become(self, out: int, report: int) -> NoReturn:
        os.close(self._info)
        os.close(self._unblock)
        texts = {path: _readable(text.encode()) for path, text in bubblewrap.texts(self._confinement["uid"]).items()}
        at = bubblewrap.Descriptors(self._info_out, self._blocked, texts)
        words = bubblewrap.arguments(self._confinement, self._folders(), _host_name(self._spec["env"]["HOSTNAME"]), at)
        given = _readable(b"".join(word.encode() + b"\0" for word in words))
        plan = _readable(marshal.dumps(self._plan()))
        for descriptor in (*texts.values(), self._info_out, self._blocked, given, plan, out, report):
            os.set_inheritable(descriptor, True)
        launch = [self._confinement["python"], "-I", "-S", "-c", _BOOT, _CODE, *map(str, (plan, report, out))]
        # Its own first argument and its empty environment are what the program inside can read of process 1.
        os.execve(self._confinement["bwrap"], ["bwrap", "--args", str(given), "--", *launch], {})
        raise AssertionError("unreachable")

    def attend(self, join: Callable[[int], None]) -> None:
        """While Bubblewrap waits: open the door to the program's network, then let Bubblewrap continue.

        Raises:
            OSError: Bubblewrap has failed, or the network cannot be entered.
        """
        os.close(self._info_out)
        os.close(self._blocked)
        try:
            self._first = _process_inside(self._info)
            join(self._first)
            if self._confinement["port"] is not None or self._to_outside:
                self._open_door()
            os.write(self._unblock, b"1")
        finally:
            os.close(self._info)
            os.close(self._unblock)

    def _open_door(self) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs, door.listen(self._directory) as listener:
            as_root = self._confinement["uid"] is not None
            door.fork(listener, self._first, as_root=as_root, ready=theirs, proxy_port=PROXY_PORT if self._to_outside else None)
            theirs.close()
            ours.settimeout(MAKING_S)
            ready, entrances, _, _ = socket.recv_fds(ours, 1, 1)
            if ready != b"1":
                raise OSError(MADE_NOT)
            for entrance in entrances:
                with socket.socket(fileno=entrance) as listening:
                    self._fork_proxy(listening)

    def trouble(self, words: bytes) -> str:
        if not words.startswith(ALIVE):
            return MADE_NOT
        return super().trouble(words.removeprefix(ALIVE))

    def signal(self, number: int) -> bool:
        for pid in processes.children(self._first) if self._first else ():
            group = processes.group(pid)
            if group:
                # Bubblewrap's own first process can be in this group, too. The kernel protects it from all signals but the last one.
                processes.kill_group(group, number)
                return True
        return False


def _host_name(wanted: str) -> str:
    """A name that the kernel accepts: an account can set the variable to anything."""
    return wanted.encode(errors="ignore")[:_HOST_NAME_BYTES].decode(errors="ignore") or "pod"


def _readable(data: bytes) -> int:
    """A descriptor from which this can be read once."""
    descriptor = os.memfd_create("dyff")
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _process_inside(info: int) -> int:
    """The process ID of the first process of the sandbox, from what Bubblewrap writes.

    Raises:
        OSError: it ended without having written that, or did not write it in time.
    """
    poll, data = select.poll(), b""
    poll.register(info, select.POLLIN)
    deadline = time.monotonic() + MAKING_S
    while (left_s := deadline - time.monotonic()) > 0 and poll.poll(left_s * 1000):
        piece = os.read(info, 4096)
        data += piece
        with suppress(ValueError):
            return int(json.loads(data)["child-pid"])
        if not piece:
            break
    raise OSError(MADE_NOT)
