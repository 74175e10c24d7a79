"""What a recipe is: how one server is built, configured, started and asked whether it truly answers."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.narrowing import sure


class EngineError(Exception):
    """A server could not be built or did not come up; the message says why and what to do."""


class Unavailable(EngineError):
    """This machine lacks something: a skip on a laptop, an error in CI."""


@dataclass(frozen=True)
class Place:
    """Where one run of a server lives."""

    built: Path
    """What `build` made; shared by all runs, never written to."""
    home: Path
    """A folder of its own, empty at first: configuration, data, log."""
    ports: Mapping[str, int]
    """Loopback ports, by the recipe's names for them."""
    secret: str
    """Random; for servers that want a password."""


class Recipe(ABC):
    """One server. All files of `folder` are its recipe: what is built is cached by their hash."""

    name: str
    variable: str
    """The environment variable that tells the tests where the server is."""
    adapters: tuple[str, ...]
    """Those whose contract suites it serves, as `<port>:<adapter>`, or how the names of several begin."""
    folder: Path
    ports: tuple[str, ...] = ("server",)
    programs: tuple[str, ...] = ()
    """What must be on the path to run it."""
    build_programs: tuple[str, ...] = ()
    """What must be there, too, to build it."""

    @property
    @abstractmethod
    def title(self) -> str:
        """The server and its version."""

    @abstractmethod
    def build(self, target: Path) -> None:
        """Make all that is needed in the folder `target`, which is moved afterwards: nothing in it may know where it is."""

    def prepare(self, place: Place) -> None:  # noqa: B027 (most servers need nothing)
        """Write configuration and format storage in the empty `place.home`, once."""

    def clean(self, place: Place) -> None:  # noqa: B027 (most servers leave nothing)
        """Remove what its processes, which were killed, left elsewhere on the machine."""

    @abstractmethod
    def command(self, place: Place) -> list[str]:
        """Start it, also again on the data that are there; `place.home` is the working directory."""

    @abstractmethod
    def address(self, place: Place) -> str:
        """The value of `variable`."""

    @abstractmethod
    def check(self, address: str) -> None:
        """Write something and read it. Raises whatever went wrong, within a few seconds."""

    def identity(self) -> bytes:
        """What the build depends on besides the recipe's files."""
        return b""

    def lacking(self, built: bool) -> str | None:
        """Why this machine cannot run it (or, if not `built`, build it); None: it can."""
        absent = [each for each in (*self.programs, *(() if built else self.build_programs)) if not shutil.which(each)]
        return f"{', '.join(absent)} not found; install {'it' if len(absent) == 1 else 'them'}" if absent else None


class PackagedRecipe(Recipe):
    """A server that comes as a Python package, in an environment of its own: nothing of it is ever imported here."""

    package: str
    label: str

    @property
    def title(self) -> str:
        found = re.search(rf"^{re.escape(self.package)}==(\S+)", (self.folder / "requirements.txt").read_text(), re.M)
        return f"{self.label} {sure(found)[1]}"

    def identity(self) -> bytes:
        return f"{sys.base_prefix} {sys.version}".encode()

    def build(self, target: Path) -> None:
        uv = str(Path(sys.executable).parent / "uv")
        run(uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(target))
        requirements = str(self.folder / "requirements.txt")
        run(
            uv, "pip", "sync", "--quiet", "--python", str(target / "bin/python"), "--require-hashes", "--only-binary", ":all:", requirements
        )


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a tool to its end and return what it printed. Raises EngineError with the end of that if it failed."""
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise EngineError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-3000:]}")
    return done.stdout
