"""Downloads Debian packages from the machine's own sources and unpacks them into a folder. Nothing is installed."""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

RELEASE = "bookworm"
_NOT_NEEDED = (
    "var/cache/apt/archives", "var/lib/apt/lists", "var/log", "usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info",
)  # fmt: skip
_SOURCES = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))


def unpack(names: Sequence[str], target: Path) -> None:
    """Unpack the named packages, without their dependencies.

    Raises:
        CalledProcessError: one cannot be downloaded.
    """
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        download = ("apt-get", "-o", "APT::Sandbox::User=root", "--quiet", "--quiet", "download", *names)
        if subprocess.run(download, cwd=folder, check=False, capture_output=True).returncode:
            update()
            run(*download, cwd=Path(folder))
        for each in sorted(Path(folder).glob("*.deb")):
            run("dpkg-deb", "-x", str(each), str(target))


def update() -> None:
    """Get the lists of packages, which may be old or missing. Waits for another of our processes that does: apt-get itself fails then.

    Raises:
        CalledProcessError: they cannot be downloaded.
    """
    with (Path(tempfile.gettempdir()) / "dyff-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        run("apt-get", "--quiet", "--quiet", "update")


def file_system(target: Path, include: Sequence[str], work: Path) -> None:
    """Create a small Debian with these packages in the folder `target`. Needs root; does not change the machine. `work`: for the tool.

    Raises:
        CalledProcessError, RuntimeError: it cannot be created.
    """
    unpack(["debootstrap"], work)
    tool = str(work / "usr/sbin/debootstrap")
    environment = {**os.environ, "DEBOOTSTRAP_DIR": str(work / "usr/share/debootstrap")}
    given = ["--variant=minbase", f"--include={','.join(include)}", RELEASE, str(target), _mirror()]
    run("unshare", "--mount", tool, *given, environment=environment)
    for each in _NOT_NEEDED:
        run("rm", "-rf", str(target / each))


def run(*command: str, cwd: Path | None = None, environment: dict[str, str] | None = None) -> None:
    """Run a tool and wait for it.

    Raises:
        CalledProcessError: it failed; the error has its output.
    """
    done = subprocess.run(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        error = subprocess.CalledProcessError(done.returncode, command)
        error.add_note((done.stdout + done.stderr)[-3000:])
        raise error


def _mirror() -> str:
    """The mirror from which this machine gets its packages."""
    for file in _SOURCES:
        for line in file.read_text().splitlines() if file.exists() else ():
            words = line.split()
            if words[:1] == ["URIs:"]:
                return words[1]
            if words[:1] == ["deb"]:
                return next(word for word in words[1:] if "://" in word)
    raise RuntimeError(f"none of {', '.join(map(str, _SOURCES))} names a source of packages")
