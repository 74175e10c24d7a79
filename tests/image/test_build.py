"""The image that is made without a container builder."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile

import pytest

from image import build
from tests.conftest import long_round, missing
from tests.narrowing import sure

pytestmark = [pytest.mark.engines, pytest.mark.slow, long_round]


def test_an_image_says_nothing_of_where_it_was_built(tmp_path):
    """Built twice, in different folders, it has the same bytes; it runs the command as a user without rights."""
    if os.geteuid() != 0:
        missing("making a root file system needs root")
    digests = set()
    for name in ("one", "two"):
        out = tmp_path / name / "dyff.tar"
        out.parent.mkdir()
        build.build(out, build.NAME)
        with out.open("rb") as file:
            digests.add(hashlib.file_digest(file, "sha256").hexdigest())
        with tarfile.open(out) as tar:
            manifest = json.load(sure(tar.extractfile("manifest.json")))[0]
            config = json.load(sure(tar.extractfile(manifest["Config"])))["config"]
        out.unlink()
    assert len(digests) == 1
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["dyff"]
