"""Older releases of the published client pass the same suite, each in an environment of its own."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.conftest import DYFF

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
RELEASES = {"previous": ("0.26.3", "0.46.17"), "installed": ("0.26.1", "0.46.4")}
"""The releases of the client and of the schema in each environment. `installed`: what `pip install dyff` installs."""

SUITES = ("test_published_client.py", "test_published_analyses.py")


@pytest.mark.parametrize("environment", RELEASES)
def test_an_older_release_passes_the_suite_too(environment):
    """With the websockets release that suits it; made on demand from pinned requirements, and run against a server of its own."""
    client, schema = RELEASES[environment]
    folder = f".venv-client-{environment}"
    made = subprocess.run(["make", "--silent", f"{folder}/.ready"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    python = [str(ROOT / folder / "bin" / "python"), "-m"]
    installed = subprocess.run([*python, "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True).stdout
    assert {f"dyff-client=={client}", f"dyff-schema=={schema}"} <= set(installed.splitlines())
    assert re.search(r"^websockets==1[0-3]\.", installed, re.MULTILINE)
    suites = [str(Path(__file__).parent / name) for name in SUITES]
    run = subprocess.run(
        [*python, "pytest", "-q", "-p", "no:cacheprovider", "-m", "not engines", *suites],
        cwd=ROOT, env={**os.environ, "TESTED_DYFF": DYFF}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-8000:] + run.stderr[-2000:]
    assert "skipped" not in run.stdout.splitlines()[-1]
