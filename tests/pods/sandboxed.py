"""The tiers in which tests run real pods, as the user who runs the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dyff.cluster.pods.isolation import bwrap, describing
from dyff.kernel import settings

IS_ROOT = os.getuid() == 0
BUBBLEWRAP = describing.Sandboxes(tier="bubblewrap", reason="a test", bwrap=bwrap.find(), own_users=IS_ROOT)
LANDLOCK = describing.Sandboxes(tier="landlock", reason="a test")
TIERS = pytest.mark.parametrize("sandboxes", [pytest.param(BUBBLEWRAP, id="bubblewrap"), pytest.param(LANDLOCK, id="landlock")])
PYTHON = "/usr/bin/python3"
"""The system's, which every sandbox shows. Tests that need it are skipped where it is missing."""
HAS_PYTHON = pytest.mark.skipif(not Path(PYTHON).exists(), reason="the system has no Python")
IMAGES = {
    "test/sh": settings.Image(command=("/bin/sh", "-c"), readiness_path=None),
    "test/python": settings.Image(command=(PYTHON, "-I", "-S", "-c"), readiness_path="/ready"),
}
