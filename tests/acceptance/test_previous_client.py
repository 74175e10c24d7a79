"""The published client's previous minor release passes the same suite, in an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.conftest import DYFF

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ".venv-client-previous"


def test_the_previous_minor_release_passes_the_suite_too():
    """With the websockets release that suits it; made on demand from pinned requirements, and run against a server of its own."""
    made = subprocess.run(["make", "--silent", f"{ENVIRONMENT}/.ready"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    python = [str(ROOT / ENVIRONMENT / "bin" / "python"), "-m"]
    installed = subprocess.run([*python, "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True).stdout
    assert re.search(r"^dyff-client==0\.26\.", installed, re.MULTILINE)
    assert re.search(r"^websockets==1[0-3]\.", installed, re.MULTILINE)
    suite = str(Path(__file__).parent / "test_published_client.py")
    run = subprocess.run(
        [*python, "pytest", "-q", "-p", "no:cacheprovider", "-m", "not engines", suite],
        cwd=ROOT, env={**os.environ, "TESTED_DYFF": DYFF}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert "skipped" not in run.stdout.splitlines()[-1]
