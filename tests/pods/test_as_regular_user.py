"""The same tests as another user, if these run as root: a regular user's sandboxes are made in another way."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.pods.sandboxed import PYTHON

USER = 54_321
"""Any number that is neither root's nor one of the pods'."""
CHECKOUT = Path(__file__).parents[2]
SAME_VERSION = "import sys; print(*sys.version_info[:2])"
FILES = ("test_sandboxed_pods.py", "test_door.py", "test_tiers.py", "hostile/test_attacks.py")


def is_possible() -> bool:
    """Whether another user could start the system's Python with the packages of these tests."""
    if os.getuid() != 0 or not os.path.exists(PYTHON):
        return False
    as_user: dict[str, Any] = {"user": USER, "group": USER, "extra_groups": [], "cwd": "/", "capture_output": True, "text": True}
    script = f"{SAME_VERSION}; import sys; sys.path += {paths()!r}; import msgspec, anyio, pytest"
    done = subprocess.run([PYTHON, "-I", "-c", script], check=False, **as_user)
    return done.returncode == 0 and done.stdout.split() == [str(each) for each in sys.version_info[:2]]


def paths() -> list[str]:
    return [str(CHECKOUT), str(Path(pytest.__file__).parents[1])]


@pytest.mark.skipif(not is_possible(), reason="not root, or another user cannot read the system's Python and this checkout")
@pytest.mark.slow
@pytest.mark.parametrize("file", FILES)
def test_it_holds_for_a_regular_user(file, tmp_path_factory):
    """Everything that these files test of sandboxes holds for a server that is not root, too."""
    home = Path("/tmp") / f"dyff-user-{os.getpid()}"
    home.mkdir(mode=0o700)
    os.chown(home, USER, USER)
    command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(CHECKOUT), "-c", str(CHECKOUT / "pyproject.toml")]
    environment = {"PYTHONPATH": os.pathsep.join(paths()), "HOME": str(home), "TMPDIR": str(home), "PATH": "/usr/bin:/bin"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    try:
        done = subprocess.run(
            [*command, "--basetemp", str(home / "t"), str(Path(__file__).parent / file)],
            user=USER, group=USER, extra_groups=[], cwd=home, env=environment, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
    finally:
        shutil.rmtree(home, ignore_errors=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
