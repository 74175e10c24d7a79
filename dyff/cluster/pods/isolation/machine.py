"""What a sandboxed program sees of the machine: the system's programs and libraries, a few files of `/etc`, and its own program.

Nothing of this is writable, and nothing of the server's own folders is in it.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import msgspec

from dyff.cluster.pods import confinement
from dyff.cluster.pods.confinement import Bind
from dyff.cluster.pods.shim import launcher as last_steps

_TOP = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
ETC = (
    "/etc/alternatives",
    "/etc/fonts",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/certs",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
)
"""Files of `/etc` without which programs do not start or cannot check a certificate. None of them names a user or a secret."""
RESERVED = ("/usr", *_TOP, "/etc", "/dev", "/proc", "/sys", "/opt/dyff", "/run", "/boot", "/root")
"""Paths that no volume can be mounted at, above or below, since the sandbox itself is made from them. `/dev/shm` is an exception."""


def system() -> list[Bind]:
    """`/usr`, and the folders and files above, as far as this machine has them."""
    folders = ["/usr", *(path for path in _TOP if os.path.isdir(path) and not os.path.islink(path))]
    return [Bind(path, path) for path in (*folders, *(each for each in ETC if os.path.exists(each)))]


def links() -> list[tuple[str, str]]:
    """The links at the top of a system whose programs are all below `/usr`, as (target, path)."""
    return [(os.readlink(path), path) for path in _TOP if os.path.islink(path)]


def python() -> str:
    """This interpreter's own program, not that of a virtual environment, as a path of the machine."""
    return os.path.realpath(getattr(sys, "_base_executable", sys.executable))


def inside(path: str) -> str:
    """The path in a sandbox of a file of the interpreter's installation."""
    base, place = os.path.realpath(sys.base_prefix), interpreter_at()
    return place + path.removeprefix(base)


def interpreter_at() -> str:
    """Where a sandbox shows the interpreter's installation: at a fixed path, unless it is the system's or finds its own library by its
    full path.
    """
    base = os.path.realpath(sys.base_prefix)
    return base if _below(base, "/usr") or sysconfig.get_config_var("Py_ENABLE_SHARED") else confinement.PYTHON


def interpreter() -> list[Bind]:
    """This interpreter's installation; nothing if it is the system's."""
    base = os.path.realpath(sys.base_prefix)
    return [] if _below(base, "/usr") else [Bind(base, interpreter_at())]


def own_code() -> list[Bind]:
    """This package, then the packages that it needs, at fixed paths."""
    package = Path(__file__).parents[3]
    packages = Path(msgspec.__file__).parents[1]
    return [Bind(str(package), f"{confinement.CODE}/dyff"), Bind(str(packages), confinement.PACKAGES)]


def launcher() -> list[Bind]:
    """The part of this package that makes the last steps inside the sandbox. Imported here, so that it is compiled before."""
    shim = Path(last_steps.__file__).parent
    return [Bind(str(shim), f"{confinement.CODE}/dyff/cluster/pods/shim")]


def plain(path: str) -> str:
    """The path without `..`, since the folders on such a way are not all there in a sandbox. The same if that would be another file."""
    short = os.path.normpath(path)
    try:
        return short if os.path.samefile(short, path) else path
    except OSError:
        return path


def of_program(program: str) -> list[Bind]:
    """What a program needs that is not listed in its image's `paths`: its own file and, in a virtual environment, all of that
    environment and the installation that it was made from.
    """
    program = plain(program)
    if not os.path.isabs(program) or is_of_system(program):
        return []
    environment = os.path.dirname(os.path.dirname(program))
    home = _home(Path(environment, "pyvenv.cfg"))
    if home is None:
        return [Bind(program, program)] if os.path.isfile(program) else []
    # A link to the interpreter can name its installation by another path than the environment's configuration does.
    found = (environment, home, os.path.realpath(home), os.path.dirname(os.path.dirname(os.path.realpath(program))))
    return [Bind(path, path) for path in dict.fromkeys(found) if not _below(path, "/usr")]


def is_of_system(path: str) -> bool:
    """Whether every sandbox has the path anyway."""
    return any(_below(path, folder) for folder in ("/usr", *_TOP))


def _home(config: Path) -> str | None:
    """The installation that a virtual environment was made from; None if there is no virtual environment."""
    try:
        lines = config.read_text(errors="replace").splitlines()
    except OSError:
        return None
    pairs = (line.partition("=") for line in lines)
    homes = [value.strip() for key, _, value in pairs if key.strip() == "home"]
    return os.path.dirname(homes[0]) if homes else None


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def without_inner(binds: Iterable[Bind]) -> list[Bind]:
    """The same without those that another one shows already, at the same path."""
    found: dict[str, Bind] = {}
    for each in binds:
        shown = any(_below(each.target, path) and each.source == other.source + each.target[len(path) :] for path, other in found.items())
        if not shown and not any(_below(each.target, path) for path in _TOP if os.path.islink(path)):
            found[each.target] = each
    return list(found.values())


def overlaps(path: str, folders: Iterable[str]) -> str | None:
    """The first of these folders that contains the path, or is contained in it; None if there is none."""
    return next((each for each in folders if _below(path, each) or _below(each, path)), None)


def above(path: str, folders: Iterable[str]) -> str | None:
    """The first of these folders that contains the path; None if there is none."""
    return next((each for each in folders if _below(path, each)), None)
