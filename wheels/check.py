"""Check that everything that is locked has binary wheels: python -m wheels.check.

For each lock file, Python release and platform that it is for, uv selects the files that it would install, with `--only-binary :all:`, and
installs nothing. It asks the package index, which works for every platform from every machine. Where an interpreter of a release
is on this machine, the client is also imported with it, from its wheel. The report names what was not executed, and why.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from wheels.build import ROOT, build

PYTHONS = ("3.11", "3.12", "3.13")
LINUX = ("x86_64-manylinux_2_28", "aarch64-manylinux_2_28")
ELSEWHERE = ("x86_64-apple-darwin", "aarch64-apple-darwin", "x86_64-pc-windows-msvc")
"""macOS on Intel and on Apple's processors, and Windows, as uv calls them."""

PLATFORMS = {
    "requirements/sdk.txt": (*LINUX, *ELSEWHERE),
    "requirements/runtime.txt": LINUX,
    "requirements/all.txt": LINUX,
    "requirements/analysis.txt": LINUX,
}
"""The platforms that a lock file is for. The others are for developers and CI, on x86-64: `LINUX[0]`."""

SOURCES = {
    "forbiddenfruit": "pure Python, and only blockbuster needs it, which watches the tests",
    "jsonpath-rw": "pure Python, and only mlcroissant needs it, which reads exported datasets in the tests",
}
"""Packages that are accepted without a wheel, and why. The report names them."""

UNREACHABLE = 75
"""The exit code if nothing is missing, but the index does not answer."""

_IMPORTS = "import dyff.sdk, dyff.cli.main; dyff.sdk.Client(api_token='a.b.c'); print('imported')"
_NO_ANSWER = ("dns error", "Could not connect", "error sending request", "Connection refused", "timed out")
_TIMEOUT_S = 300


class Case(NamedTuple):
    """One lock file, on one release of Python and one platform."""

    lock: str
    python: str
    platform: str

    def __str__(self) -> str:
        return f"{self.lock} for Python {self.python} on {self.platform}"


class Outcome(NamedTuple):
    """`state`: `ok`, `missing` or `unreachable`. `detail`: what is missing, or why it could not be asked; empty if nothing is."""

    case: str
    state: str
    detail: str = ""


def locks(root: Path = ROOT) -> list[str]:
    """All lock files, relative to `root`."""
    found = [*root.glob("requirements/*.txt"), *root.glob("tests/engines/*/requirements.txt"), *root.glob("examples/*/requirements.txt")]
    return sorted(str(each.relative_to(root)) for each in found)


def cases() -> list[Case]:
    """All that must hold."""
    return [Case(lock, python, each) for lock in locks() for python in PYTHONS for each in PLATFORMS.get(lock, LINUX[:1])]


def select(case: Case, root: Path = ROOT) -> Outcome:
    """Ask which files would be installed. `root`: the folder that has the lock file."""
    with tempfile.TemporaryDirectory() as target:
        asked = ("pip", "install", "--dry-run", "--no-deps", "--require-hashes", "--only-binary", ":all:", "--target", target)
        sources = sorted(each for each in SOURCES if f"\n{each}==" in (root / case.lock).read_text())
        asked = (*asked, *(option for each in sources for option in ("--no-binary", each)))
        where = ("--python-version", case.python, "--python-platform", case.platform)
        done = _run(_uv(), *asked, *where, "-r", str(root / case.lock))
    if done.returncode == 0:
        return Outcome(str(case), "ok", "\n".join(f"{each} is built from its source: {SOURCES[each]}" for each in sources))
    said = done.stderr.strip()
    return Outcome(str(case), "unreachable" if any(each in said for each in _NO_ANSWER) else "missing", said[-2000:])


def execute(python: str, wheel: Path) -> Outcome:
    """Install the client for a release of Python and import it. The state is `not executed` where that release is not on this machine."""
    case = f"the client with Python {python} on this machine"
    found = interpreter(python)
    if found is None:
        return Outcome(case, "not executed", f"no interpreter of Python {python} was found: install it, or put it on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        environment, inside = str(Path(folder) / "env"), str(Path(folder) / "env/bin/python")
        for command in (
            (_uv(), "venv", "--quiet", "--python", found, environment),
            (_uv(), "pip", "install", "--quiet", "--python", inside, "--only-binary", ":all:", "-r", str(ROOT / "requirements/sdk.txt")),
            (_uv(), "pip", "install", "--quiet", "--python", inside, "--no-deps", str(wheel)),
            (inside, "-c", _IMPORTS),
        ):
            done = _run(*command, cwd=folder)
            if done.returncode:
                state = "unreachable" if any(each in done.stderr for each in _NO_ANSWER) else "missing"
                return Outcome(case, state, done.stderr.strip()[-2000:])
    return Outcome(case, "ok")


def interpreter(python: str) -> str | None:
    """The path of an interpreter of a release, such as 3.12; None if this machine has none."""
    done = _run(_uv(), "python", "find", "--no-python-downloads", "--no-project", "--system", python)
    if done.returncode == 0 and done.stdout.strip():
        return done.stdout.strip()
    kept = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"  # its commands work only for the chosen release
    return next((str(each) for each in sorted(kept.glob(f"{python}.*/bin/python")) if _run(str(each), "-V").returncode == 0), None)


def report(outcomes: Iterable[Outcome]) -> int:
    """Print them; returns the exit code: 0 if nothing is missing, 1 if something is, 75 if the index did not answer."""
    states: dict[str, int] = {}
    for each in outcomes:
        states[each.state] = states.get(each.state, 0) + 1
        sys.stdout.write(f"{each.state:<13} {each.case}\n")
        if each.detail:
            sys.stdout.write("".join(f"              {line}\n" for line in each.detail.splitlines()))
        sys.stdout.flush()
    sys.stdout.write(f"{', '.join(f'{count} {state}' for state, count in sorted(states.items()))}\n")
    return 1 if "missing" in states else UNREACHABLE if "unreachable" in states else 0


def main() -> None:
    """Check everything."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.parse_args()
    sys.exit(report(_all()))


def _all() -> Iterator[Outcome]:
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield from pool.map(select, cases())
    with tempfile.TemporaryDirectory() as folder:
        _, client = build(Path(folder))
        for python in PYTHONS:
            yield execute(python, client)


def _uv() -> str:
    beside = Path(sys.executable).with_name("uv")
    return str(beside) if beside.exists() else shutil.which("uv") or "uv"


def _run(*command: str, cwd: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S, cwd=cwd)


if __name__ == "__main__":
    main()
