"""One running server: started, waited for, killed, started again on its data."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.engines import ports, supervise
from tests.engines.recipes import EngineError, Place, Recipe
from tests.narrowing import sure

DEADLINE_S = 90.0
_SUPERVISOR = str(Path(supervise.__file__))
_TAIL_BYTES = 3000


def wait(check: Callable[[], None], is_running: Callable[[], bool], deadline_s: float) -> str | None:
    """Ask until it answers. None: it does; otherwise why it does not."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            check()
        except Exception as error:  # whatever a client says of a server that is not up yet
            reason = f"{type(error).__name__}: {error}"
        else:
            if is_running():  # and so it was not somebody else's server that answered
                return None
        if not is_running():
            return "ended instead of answering"
        if time.monotonic() > end:
            return f"did not answer within {deadline_s:g} s ({reason})"
        # real time: between two questions to a server that starts
        time.sleep(0.05)


class Server:
    """A server in its place. Tests of faults make one of their own with `running`, kill it and start it again."""

    def __init__(self, recipe: Recipe, place: Place) -> None:
        self.address = recipe.address(place)
        self.home = place.home
        self.log = place.home / "server.log"
        self._recipe = recipe
        self._place = place
        self._supervisor: subprocess.Popen[bytes] | None = None

    def start(self, deadline_s: float = DEADLINE_S) -> None:
        """Start it, also again after `kill`, and wait until it truly answers.

        Raises:
            EngineError: It ended or did not answer in time; the message has the end of its log. It is not running then.
        """
        command = [sys.executable, "-I", _SUPERVISOR, *self._recipe.command(self._place)]
        with self.log.open("ab") as log:
            self._supervisor = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT, cwd=self.home, start_new_session=True
            )
        answers = False
        try:
            reason = wait(lambda: self._recipe.check(self.address), lambda: self.is_running, deadline_s)
            answers = reason is None
        finally:
            if not answers:
                self.kill()
        if reason:
            tail = self.log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
            raise EngineError(f"{self._recipe.title} {reason}. The end of {self.log}:\n{tail}")

    @property
    def is_running(self) -> bool:
        return self._supervisor is not None and self._supervisor.poll() is None

    @property
    def pid(self) -> int:
        """The server's own process, for instance to pause it with SIGSTOP or to end it with SIGTERM."""
        return int((self.home / "server.pid").read_text())

    def kill(self) -> None:
        """SIGKILL to the whole process group; the data stay."""
        if self._supervisor is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._supervisor.pid, signal.SIGKILL)
            sure(self._supervisor.stdin).close()
            self._supervisor.wait()
            self._supervisor = None
            self._recipe.clean(self._place)


@contextmanager
def running(recipe: Recipe, built: Path, home: Path, *, deadline_s: float = DEADLINE_S) -> Iterator[Server]:
    """A server of its own in the new folder `home`, up and answering; killed afterwards. Errors as `Server.start`."""
    home.mkdir(parents=True)
    with ports.reserved(recipe.ports) as numbers:
        place = Place(built=built, home=home, ports=numbers, secret=secrets.token_hex(16))
        recipe.prepare(place)
        server = Server(recipe, place)
        try:
            server.start(deadline_s)
            yield server
        finally:
            server.kill()
